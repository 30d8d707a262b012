"""``kombu.serialization``: the registry of serializers, which is the one that tasks use.

What is registered here works for tasks too: ``task_serializer="mine"``, ``accept_content=["mine"]``.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from umbel.codecs import serializers
from umbel.contrib.celery.kombu_errors import SerializerNotInstalled, Undecodable, Unencodable
from umbel.errors import ConfigurationError, ContentDisallowed, DecodeError, EncodeError

__all__ = [
    "SerializerRegistry",
    "disable_insecure_serializers",
    "dumps",
    "enable_insecure_serializers",
    "loads",
    "prepare_accept_content",
    "raw_encode",
    "register",
    "registry",
    "unregister",
]

TRUSTED = frozenset({"application/data", "application/text"})
"""Never decoded, and so always accepted."""
_PLAIN = frozenset({"application/data", "text/plain", "application/text"})
_INSECURE = frozenset({"pickle", "yaml", "msgpack"})


class SerializerRegistry:
    """The serializers of this process. There is one, ``registry``."""

    def __init__(self) -> None:
        self._disabled: set[str] = set()

    @property
    def name_to_type(self) -> Mapping[str, str]:
        """Content types by name."""
        return {name: serializers.check_serializer(name).content_type for name in serializers.names()}

    @property
    def type_to_name(self) -> Mapping[str, str]:
        """Names by content type."""
        return {content_type: name for name, content_type in self.name_to_type.items()}

    def register(
        self,
        name: str,
        encoder: Callable[[Any], Any] | None,
        decoder: Callable[[Any], Any] | None,
        content_type: str,
        content_encoding: str = "utf-8",
    ) -> None:
        """Make a serializer known under `name`. `encoder` returns text or bytes; `decoder` gets bytes."""

        def dumps(value: Any) -> bytes:
            if encoder is None:
                raise TypeError(f"the serializer {name!r} was registered without an encoder")
            data = encoder(value)
            return data.encode("utf-8") if isinstance(data, str) else bytes(data)

        def loads(data: bytes) -> Any:
            if decoder is None:
                raise TypeError(f"the serializer {name!r} was registered without a decoder")
            return decoder(data)

        serializers.register(name, dumps, loads, content_type, content_encoding)

    def unregister(self, name: str) -> None:
        """Forget the serializer `name`."""
        try:
            serializers.unregister(name)
        except ConfigurationError:
            raise SerializerNotInstalled(f"No encoder/decoder installed for {name}") from None

    def enable(self, name: str) -> None:
        """Let ``loads`` read this name or content type again."""
        self._disabled.discard(self._type(name))

    def disable(self, name: str) -> None:
        """Let ``loads`` refuse this name or content type where no `accept` is given."""
        self._disabled.add(self._type(name))

    def _type(self, name: str) -> str:
        return name if "/" in name else serializers.check_serializer(name).content_type

    def dumps(self, data: Any, serializer: str | None = None) -> tuple[str, str, bytes]:
        """`data` as (content type, content encoding, bytes). Text and bytes stay as they are unless a serializer is named."""
        if serializer == "raw":
            return raw_encode(data)
        if not serializer and isinstance(data, bytes):
            return "application/data", "binary", data
        if not serializer and isinstance(data, str):
            return "text/plain", "utf-8", data.encode("utf-8")
        try:
            return serializers.encode(data, serializer or "json")
        except ConfigurationError as exc:
            raise SerializerNotInstalled(str(exc)) from None
        except EncodeError as exc:
            raise Unencodable(str(exc)) from exc

    def loads(
        self,
        data: Any,
        content_type: str | None,
        content_encoding: str | None,
        accept: Collection[str] | None = None,
        force: bool = False,
    ) -> Any:
        """The value that `data` holds. `accept`: content types; None: all that are not disabled."""
        content_type = content_type or "application/data"
        if accept is not None:
            if content_type not in TRUSTED and content_type not in accept:
                raise ContentDisallowed(self._refusal(content_type, "untrusted"))
        elif content_type in self._disabled and not force:
            raise ContentDisallowed(self._refusal(content_type, "disabled"))
        if not data:
            return data
        raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        if content_type not in _PLAIN and serializers.is_accepted(content_type, {content_type}):
            try:
                return serializers.decode(raw, content_type, accept={content_type})
            except DecodeError as exc:
                raise Undecodable(str(exc)) from exc
        encoding = (content_encoding or "utf-8").lower()
        if encoding in ("binary", "ascii-8bit") or isinstance(data, str):
            return data
        try:
            return codecs.decode(raw, encoding)
        except (LookupError, ValueError) as exc:
            raise Undecodable(f"The body is not {encoding}: {exc}") from exc

    def _refusal(self, content_type: str, why: str) -> str:
        name = self.type_to_name.get(content_type)
        shown = f"{name} ({content_type})" if name else content_type
        return f"Refusing to deserialize {why} content of type {shown}: add it to accept=[...]."


def raw_encode(data: Any) -> tuple[str, str, Any]:
    """`data` as it is."""
    if isinstance(data, str):
        return "application/data", "utf-8", data.encode("utf-8")
    return "application/data", "binary", data


registry = SerializerRegistry()
register = registry.register
unregister = registry.unregister
dumps = registry.dumps
loads = registry.loads


def enable_insecure_serializers(choices: Iterable[str] = _INSECURE) -> None:
    """Let consumers without `accept` read pickle, yaml and msgpack."""
    for name in choices:
        registry.enable(name)


def disable_insecure_serializers(allowed: Iterable[str] | None = ("json",)) -> None:
    """Let consumers without `accept` read only what is `allowed`."""
    for name in serializers.names():
        registry.disable(name)
    for name in allowed or ():
        registry.enable(name)


def prepare_accept_content(accept: Collection[str] | str | None) -> frozenset[str] | None:
    """`accept` as content types. Names that no serializer has raise SerializerNotInstalled."""
    if accept is None:
        return None
    try:
        return serializers.accepted_types({accept} if isinstance(accept, str) else accept)
    except ConfigurationError as exc:
        raise SerializerNotInstalled(str(exc)) from None


disable_insecure_serializers()
