"""``celery.utils.saferepr``: ``repr()`` that ends, however large the value is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["saferepr"]

_ENDS = {list: "[]", tuple: "()", set: "{}", frozenset: "{}", dict: "{}"}


class _Part(NamedTuple):
    text: str
    prefix: str = ""
    """For texts: what stands before them, a quote with the letter b or without."""
    opens: str = ""
    """The bracket that will close what begins here."""
    closes: bool = False
    value: bool = False
    """It may be cut."""


def saferepr(o: Any, maxlen: int | None = None, maxlevels: int = 3, seen: set[int] | None = None) -> str:
    """`o` in about `maxlen` characters and `maxlevels` levels, with ``...`` for what is left out."""
    written: list[str] = []
    ends: list[str] = []
    left = maxlen
    parts = _parts(o, maxlevels, 0, set() if seen is None else seen)
    for part in parts:
        if part.closes:
            ends.pop()
        text = part.text
        if left is not None and part.value and len(text) >= left:
            text = f"{text[: max(left, 0)]}..."
            left = -1
        written.append(f"{part.prefix}{text}{part.prefix[-1:]}")
        if part.opens:
            ends.append(part.opens)
        if left is not None:
            left -= len(part.text) + 2 * bool(part.prefix)
            if left <= 0 and (left < 0 or part.value):
                break
    if ends and not next(parts, _Part("")).closes:
        written.append(", ...")
    return "".join([*written, *reversed(ends)])


def _parts(o: Any, maxlevels: int, level: int, seen: set[int]) -> Iterator[_Part]:
    if isinstance(o, str):
        yield _Part(o.replace("'", "\\'"), "'", value=True)
        return
    if isinstance(o, bytes):
        yield _Part(_text_of(o), "b'", value=True)
        return
    kind = next((kind for kind in _ENDS if isinstance(o, kind) and type(o).__repr__ is kind.__repr__), None)
    if kind is None or (not o and kind in (set, frozenset)):
        yield _Part(repr(o), value=True)
        return
    if id(o) in seen:
        yield _Part(f"<Recursion on {type(o).__name__} with id={id(o)}>", value=True)
        return
    start, end = _ENDS[kind][0], _ENDS[kind][1]
    if kind is frozenset:
        start, end = "frozenset({", "})"
    if kind is tuple and len(o) == 1:
        end = ",)"
    yield _Part(start, opens=end)
    if level > maxlevels - 1 + (level == 0) and o:
        yield _Part("...")
    else:
        seen.add(id(o))
        yield from _members(o, maxlevels, level + 1, seen)
        seen.discard(id(o))
    yield _Part(end, closes=True)


def _members(o: Any, maxlevels: int, level: int, seen: set[int]) -> Iterator[_Part]:
    for position, member in enumerate(o):
        if position:
            yield _Part(", ")
        if isinstance(o, Mapping):
            yield _Part(repr(member))
            yield _Part(": ")
            member = o[member]
        yield from _parts(member, maxlevels, level, seen)


def _text_of(value: bytes) -> str:
    try:
        return value.decode().replace("'", "\\'")
    except UnicodeDecodeError:
        return value.hex()
