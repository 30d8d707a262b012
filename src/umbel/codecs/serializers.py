"""Values to bytes and back, in the serializers that Celery knows: json (kombu's dialect), msgpack, yaml and pickle.

>>> encode([1, {"x": None}])
('application/json', 'utf-8', b'[1, {"x": null}]')
>>> decode(b'[1, {"x": null}]', "application/json")
[1, {'x': None}]
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from umbel.core import kombu_types
from umbel.errors import ConfigurationError, ContentDisallowed, DecodeError, EncodeError

__all__ = [
    "DEFAULT_ACCEPT",
    "PICKLE_PROTOCOL",
    "Serializer",
    "Unwritable",
    "accepted_types",
    "check_serializer",
    "decode",
    "encode",
    "find_unwritable",
    "is_accepted",
    "names",
    "register",
    "unregister",
]

DEFAULT_ACCEPT: frozenset[str] = frozenset({"json"})
"""What is decoded when nobody says otherwise. Never pickle: it lets whoever can write a message run any code."""

PICKLE_PROTOCOL = 4
"""kombu's. Every Python that Celery 5 runs on reads it."""


class Serializer(NamedTuple):
    """One way of writing values: `dumps` and `loads` may raise anything, which becomes an EncodeError or DecodeError."""

    name: str
    content_type: str
    content_encoding: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


class _DriverMissing(Exception):
    """The third-party module of a serializer is not installed; the text says how to install it."""


_by_name: dict[str, Serializer] = {}
_by_type: dict[str, Serializer] = {}


def register(
    name: str,
    dumps: Callable[[Any], bytes],
    loads: Callable[[bytes], Any],
    content_type: str,
    content_encoding: str = "utf-8",
) -> None:
    """Make a serializer known to this process under `name`, replacing one of the same name.

    It is used to write where ``serializer=name`` is asked for, and to read once ``accept_content`` lists it.
    """
    serializer = Serializer(name, content_type, content_encoding, dumps, loads)
    _by_name[name] = serializer
    _by_type[content_type] = serializer


def unregister(name: str) -> None:
    """Forget the serializer `name`. Raises ``ConfigurationError`` with the known names when there is none."""
    serializer = check_serializer(name)
    del _by_name[name]
    if _by_type.get(serializer.content_type) is serializer:
        del _by_type[serializer.content_type]


def names() -> list[str]:
    """The names that ``serializer=`` and ``accept_content`` take."""
    return sorted(_by_name)


def check_serializer(name: str) -> Serializer:
    """The serializer called `name`. Raises ``ConfigurationError`` with the known names when there is none."""
    try:
        return _by_name[name]
    except (KeyError, TypeError):
        raise ConfigurationError(
            f"There is no serializer {name!r}. Known serializers: {', '.join(names())}."
        ) from None


def accepted_types(accept: Collection[str]) -> frozenset[str]:
    """The content types that `accept` stands for; its elements are names or content types.

    Raises ``ConfigurationError`` for a name that no serializer has. A content type is taken as it is.

    >>> sorted(accepted_types({"json", "application/x-yaml"}))
    ['application/json', 'application/x-yaml']
    """
    return frozenset(item if "/" in item else check_serializer(item).content_type for item in accept)


# ------------------------------------------------------------------------------------------------- writing


def encode(value: Any, name: str = "json") -> tuple[str, str, bytes]:
    """`value` written by the serializer `name`, as content type, content encoding and bytes.

    Raises ``EncodeError`` that names the part of `value` which cannot be written, and ``ConfigurationError`` for a
    serializer that is unknown or whose driver is not installed.
    """
    serializer = _by_name.get(name) or check_serializer(name)
    try:
        return serializer.content_type, serializer.content_encoding, serializer.dumps(value)
    except _DriverMissing as exc:
        raise ConfigurationError(f"serializer={name!r}: {exc}") from None
    except Exception as exc:
        found = find_unwritable(value, name)
        raise EncodeError(
            found.explain("The value", name) if found else f"{name} cannot write the value: {exc}"
        ) from exc


class Unwritable(NamedTuple):
    """The part of a value that a serializer cannot write."""

    path: tuple[str | int, ...]
    """Keys and indices that lead to it; empty: the value as a whole."""
    problem: str
    """What it is: "is a set ({1, 2})"."""
    advice: str
    """What to pass instead, or ''."""

    def explain(self, subject: str, serializer: str) -> str:
        """One sentence about `subject`, which the path starts from, and the remedy."""
        place = "".join(f"[{step!r}]" for step in self.path)
        at = f" at {place}" if place else ""
        or_pickle = "" if serializer == "pickle" else "use serializer='pickle' where its readers accept it"
        remedy = "; or ".join(filter(None, (self.advice, or_pickle)))
        return f"{subject}{at} {self.problem}, which {serializer} cannot write" + (
            f": {remedy}." if remedy else "."
        )


def find_unwritable(value: Any, name: str) -> Unwritable | None:
    """The innermost part of `value` that the serializer `name` refuses; None when it can write all of it.

    It tries part after part and is meant for error messages only.
    """
    dumps = check_serializer(name).dumps
    if _refusal(dumps, value) is None:
        return None
    path: list[str | int] = []
    above: set[int] = set()
    while True:
        above.add(id(value))
        for step, part in _parts(value):
            if id(part) in above:
                return Unwritable((*path, step), "is contained in itself", "use data without cycles")
            if _refusal(dumps, part) is not None:
                path.append(step)
                value = part
                break
        else:
            return Unwritable(tuple(path), *_describe(dumps, value))


def _parts(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        yield from ((key if isinstance(key, int) else str(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def _refusal(dumps: Callable[[Any], bytes], value: Any) -> Exception | None:
    try:
        dumps(value)
    except Exception as exc:  # noqa: BLE001 - the answer is the exception: user code may raise any from __json__ or __reduce__
        return exc
    return None


def _describe(dumps: Callable[[Any], bytes], value: Any) -> tuple[str, str]:
    """The problem with a value whose parts can all be written, and what to pass instead."""
    if isinstance(value, Mapping):
        for key in value:
            if _refusal(dumps, {key: None}) is not None:
                return f"has the key {_short_repr(key)} of type {_type_name(key)}", "use strings for keys"
    name = _type_name(value)
    problem = f"is {'an' if name[0] in 'aeiouAEIOU' else 'a'} {name} ({_short_repr(value)})"
    refusal = _refusal(dumps, value)
    if refusal is not None and not isinstance(refusal, TypeError):
        problem += f" that raises {type(refusal).__name__}: {refusal}"
    return problem, _advice(value)


def _advice(value: Any) -> str:
    if isinstance(value, set | frozenset):
        return "use a list instead, for example sorted(...)"
    if hasattr(value, "total_seconds"):
        return "use its total_seconds() instead"
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        return (
            "use its primary key instead and load it where it is needed, or umbel.contrib.django.ref(...), with "
            "which the worker reads it"
        )
    if hasattr(value, "model") and hasattr(value, "query"):
        return "use a list of primary keys instead and load them where they are needed"
    if hasattr(value, "isoformat"):
        return "use its isoformat() instead"
    if hasattr(value, "tolist"):
        return "use its tolist() instead"
    if hasattr(value, "__dataclass_fields__"):
        return "use dataclasses.asdict(...) instead"
    return "use plain data instead"


def _type_name(value: Any) -> str:
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _short_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ must not hide the error that is being described
        return "..."
    return text if len(text) <= 60 else f"{text[:57]}..."


# ------------------------------------------------------------------------------------------------- reading


def decode(
    data: bytes,
    content_type: str,
    content_encoding: str = "utf-8",
    accept: Collection[str] = DEFAULT_ACCEPT,
) -> Any:
    """The value that `data` holds. `accept` lists the names or content types that may be read.

    Raises ``ContentDisallowed`` when the content type is not accepted, before a byte is looked at, and
    ``DecodeError`` when `data` is not what the content type says or its driver is not installed.
    `content_encoding` is not needed by any serializer here and is taken for the sake of the message's form.
    """
    serializer = _for_type(content_type)
    if serializer is None or not _accepts(accept, serializer):
        raise ContentDisallowed(_disallowed(content_type, serializer, accept))
    try:
        return serializer.loads(data)
    except _DriverMissing as exc:
        raise DecodeError(
            f"The message is {serializer.name} ({content_type}) and cannot be read here: {exc}"
        ) from None
    except Exception as exc:
        raise DecodeError(
            f"The bytes are not {serializer.name}, as their content type {content_type} says: "
            f"{type(exc).__name__}: {exc}. They begin with {data[:40]!r}."
        ) from exc


def is_accepted(content_type: str, accept: Collection[str]) -> bool:
    """Whether ``decode`` would read this content type."""
    serializer = _for_type(content_type)
    return serializer is not None and _accepts(accept, serializer)


def _for_type(content_type: str) -> Serializer | None:
    return _by_type.get(content_type) or _by_type.get(content_type.partition(";")[0].strip().lower())


def _accepts(accept: Collection[str], serializer: Serializer) -> bool:
    return serializer.name in accept or serializer.content_type in accept


def _disallowed(content_type: str, serializer: Serializer | None, accept: Collection[str]) -> str:
    accepted = ", ".join(sorted(accept)) or "nothing"
    if serializer is None:
        return f"Refused: the content type {content_type!r} belongs to no known serializer. Accepted here: {accepted}."
    risk = " (it lets whoever can write messages run any code here)" if serializer.name == "pickle" else ""
    return (
        f"Refused: the content is {serializer.name} ({content_type}). Accepted here: {accepted}. "
        f"To read it, add {serializer.name!r} to accept_content{risk}."
    )


# --------------------------------------------------------------------------------------------- serializers


def _driver(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise _DriverMissing(
            f"{module} is not installed. Install it with: pip install 'umbel[{extra}]'"
        ) from None


def _yaml_dumps(value: Any) -> bytes:
    text: str = _driver("yaml", "yaml").safe_dump(value)
    return text.encode("utf-8")


def _yaml_loads(data: bytes) -> Any:
    yaml = _driver("yaml", "yaml")
    return yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _msgpack_dumps(value: Any) -> bytes:
    packed: bytes = _driver("msgpack", "msgpack").packb(value, use_bin_type=True)
    return packed


def _msgpack_loads(data: bytes) -> Any:
    # strict_map_key=False: packb writes dicts with int keys, so they have to be readable too.
    return _driver("msgpack", "msgpack").unpackb(data, raw=False, strict_map_key=False)


def _pickle_dumps(value: Any) -> bytes:
    return pickle.dumps(value, protocol=PICKLE_PROTOCOL)


register("json", kombu_types.dumps, kombu_types.loads, "application/json")
register("yaml", _yaml_dumps, _yaml_loads, "application/x-yaml")
register("msgpack", _msgpack_dumps, _msgpack_loads, "application/x-msgpack", "binary")
register("pickle", _pickle_dumps, pickle.loads, "application/x-python-serialize", "binary")
