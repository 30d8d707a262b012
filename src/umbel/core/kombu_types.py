"""kombu's dialect of JSON, in which bodies, results and Redis entries are written: what JSON lacks travels as a tagged object.

::

    {"__type__": "datetime", "__value__": "2026-01-02T03:04:05+00:00"}

Tags: ``datetime``, ``date``, ``time`` (ISO text), ``decimal`` (text), ``uuid`` (``{"hex": ...}``), ``bytes`` (UTF-8 text)
and ``base64`` (other bytes). An object with a ``__json__`` method is written as what that returns. Tuples become
lists, keys that are numbers, booleans or None become strings, and NaN and Infinity are written as those words,
which is not JSON but is what every Celery reads and writes. Sets, durations and everything else are refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from json import encoder as _json_encoder
from typing import Any
from uuid import UUID

import msgspec

__all__ = ["TYPE_KEY", "VALUE_KEY", "dumps", "loads", "plain", "register_type", "restore"]

TYPE_KEY, VALUE_KEY = "__type__", "__value__"

_encoders: dict[type, tuple[str | None, Callable[[Any], Any]]] = {}
_decoders: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda value: value.encode("utf-8"),
    "base64": lambda value: base64.b64decode(value.encode("utf-8")),
}


def register_type(
    cls: type,
    marker: str | None,
    encoder: Callable[[Any], Any],
    decoder: Callable[[Any], Any] = lambda value: value,
) -> None:
    """Teach the dialect a class, for this process, as ``kombu.utils.json.register_type`` does.

    Instances are written as `marker` with the value that `encoder` returns, and `decoder` turns that value back.
    With ``marker=None`` the value is written bare and read as it stands.
    """
    _encoders[cls] = (marker, encoder)
    if marker is not None:
        _decoders[marker] = decoder


# datetime comes before date: every datetime is a date too, and the first match counts.
register_type(datetime, "datetime", datetime.isoformat, datetime.fromisoformat)
register_type(date, "date", date.isoformat, lambda value: datetime.fromisoformat(value).date())
register_type(time, "time", time.isoformat, time.fromisoformat)
register_type(Decimal, "decimal", str, Decimal)
register_type(UUID, "uuid", lambda value: {"hex": value.hex}, lambda value: UUID(**value))


def plain(value: Any) -> Any:
    """What stands in JSON for a value that it lacks. Raises ``TypeError`` when nothing does."""
    reducer = getattr(value, "__json__", None)
    if reducer is not None:
        return reducer()
    for cls, (marker, encoder) in _encoders.items():
        if isinstance(value, cls):
            return encoder(value) if marker is None else {TYPE_KEY: marker, VALUE_KEY: encoder(value)}
    if isinstance(value, bytes):
        try:
            return {TYPE_KEY: "bytes", VALUE_KEY: value.decode("utf-8")}
        except UnicodeDecodeError:
            return {TYPE_KEY: "base64", VALUE_KEY: base64.b64encode(value).decode("ascii")}
    if _is_lazy_text(value):
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _is_lazy_text(value: object) -> bool:
    """Whether `value` is a promise of Django's (``gettext_lazy``), told by name: the core imports no Django."""
    return any(
        cls.__name__ == "Promise" and cls.__module__ == "django.utils.functional"
        for cls in type(value).__mro__
    )


def _make_encode() -> Callable[[Any], str]:
    # json.dumps builds a new C encoder at every call, which takes longer than encoding a small body.
    make_encoder: Any = getattr(_json_encoder, "c_make_encoder", None)
    if make_encoder is None:
        return json.JSONEncoder(default=plain).encode
    escape: Any = _json_encoder.encode_basestring_ascii
    chunks = make_encoder(None, plain, escape, None, ": ", ", ", False, False, True)
    return lambda value: "".join(chunks(value, 0))


_encode = _make_encode()
_decode = msgspec.json.Decoder().decode


def dumps(value: Any) -> bytes:
    """`value` as kombu would write it, byte for byte: ASCII, with a space after every comma and colon.

    Raises ``TypeError`` for a value or a key that the dialect cannot hold, ``RecursionError`` for one that contains
    itself, and whatever a ``__json__`` method raises.
    """
    return _encode(value).encode("ascii")


def loads(data: bytes) -> Any:
    """The value that kombu would read out of `data`. Raises ``ValueError`` when it is not of this dialect."""
    if b'"__type__"' not in data:
        try:
            return _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # NaN, Infinity, numbers beyond a double and lone surrogates: Python's own reader takes them
    try:
        return json.loads(data.decode("utf-8"), object_hook=restore)
    except RecursionError as exc:
        raise ValueError("the JSON is nested too deeply") from exc


def restore(value: dict[str, Any]) -> Any:
    """What a tagged object stands for; any other as it is."""
    if len(value) != 2 or TYPE_KEY not in value or VALUE_KEY not in value:
        return value
    marker = value[TYPE_KEY]
    decoder = _decoders.get(marker) if isinstance(marker, str) else None
    if decoder is None:
        raise ValueError(
            f"the JSON holds a value of type {marker!r}, which is not one of {', '.join(_decoders)}"
        )
    try:
        return decoder(value[VALUE_KEY])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        raise ValueError(
            f"the JSON holds a {marker} that cannot be read: {value[VALUE_KEY]!r:.100} ({exc})"
        ) from exc
