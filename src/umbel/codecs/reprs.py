"""How arguments are shown in headers, events and logs: like ``repr``, but never long, deep or slow, and it never raises.

The output follows Celery's ``saferepr``: three levels of nesting, at most 1024 characters and a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["MAX_LENGTH", "MAX_LEVELS", "safe_repr"]

MAX_LENGTH = 1024
"""Celery's ``argsrepr_maxsize``."""
MAX_LEVELS = 3
"""Celery's ``task_repr_maxlevels``."""

_SHORT = 64
_ATOMS = frozenset({int, float, bool, type(None)})


def safe_repr(value: Any, max_length: int = MAX_LENGTH, max_levels: int = MAX_LEVELS) -> str:
    """`value` for people, cut after about `max_length` characters and below `max_levels` levels of nesting.

    >>> safe_repr((1, "a", [[["deep"]]]))
    "(1, 'a', [[[...]]])"
    """
    if _is_small(value):
        return repr(value)
    budget = max_length
    parts: list[str] = []
    closers: list[str] = []
    for text, closer in _tokens(value, max_levels, max_length):
        if budget <= 0 and closer != "":
            parts.append(", ...")
            parts.extend(reversed(closers))
            break
        parts.append(text)
        budget -= len(text)
        if closer:
            closers.append(closer)
        elif closer == "":
            closers.pop()
    return "".join(parts)


def _is_small(value: Any) -> bool:
    """Whether plain ``repr`` is short and shallow: a few atoms and short words."""
    cls = type(value)
    if cls is tuple:
        items = value
    elif cls is dict:
        for key in value:
            if type(key) is not str or len(key) > _SHORT:
                return False
        items = value.values()
    else:
        return False
    if len(value) > 12:
        return False
    for item in items:
        kind = type(item)
        if kind is str:
            if len(item) > _SHORT:
                return False
        elif kind not in _ATOMS or (kind is int and not -_HUGE < item < _HUGE):
            return False
    return True


_HUGE = 1 << 64


def _tokens(value: Any, levels: int, max_length: int) -> Iterator[tuple[str, str | None]]:
    """The text piece by piece. With a piece that opens a container comes what closes it, with the closing one ''."""
    if isinstance(value, str):
        yield "'" + _cut(value, max_length).replace("'", "\\'") + "'", None
    elif isinstance(value, bytes):
        yield _bytes_repr(value, max_length), None
    elif not isinstance(value, tuple | list | dict | set | frozenset):
        yield _cut(_repr(value), max_length), None
    elif not value and isinstance(value, set | frozenset):
        yield f"{type(value).__name__}()", None
    else:
        start, end = _brackets(value)
        if levels <= 0:
            yield f"{start}...{end}", None
            return
        yield start, end
        yield from _items(value, levels - 1, max_length)
        yield (",)" if isinstance(value, tuple) and len(value) == 1 else end), ""


def _items(value: Any, levels: int, max_length: int) -> Iterator[tuple[str, str | None]]:
    first = True
    for item in value.items() if isinstance(value, Mapping) else value:
        if not first:
            yield ", ", None
        first = False
        if isinstance(value, Mapping):
            key, item = item
            yield safe_repr(key, max_length, levels), None
            yield ": ", None
        yield from _tokens(item, levels, max_length)


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, tuple):
        return "(", ")"
    if isinstance(value, dict):
        return "{", "}"
    start, end = ("[", "]") if isinstance(value, list) else ("{", "}")
    if type(value) in (list, set):
        return start, end
    return f"{type(value).__name__}({start}", f"{end})"


def _bytes_repr(value: bytes, max_length: int) -> str:
    chunk, rest = value[:max_length], "..." if len(value) > max_length else ""
    try:
        text = chunk.decode("utf-8")
    except UnicodeDecodeError:
        text = chunk.hex()
    return f"b'{text}{rest}'"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001 - a broken __repr__ of an argument must not keep the call from being sent
        return f"<{type(value).__name__}: its repr raises {type(exc).__name__}>"


def _cut(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else text[: max_length - 3] + "..."
