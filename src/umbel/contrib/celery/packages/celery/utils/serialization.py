"""Serializing."""

from __future__ import annotations

import base64
from typing import Any

__all__ = ["b64decode", "b64encode", "strtobool"]

_TRUE, _FALSE = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off"})


def b64encode(value: str | bytes) -> str:
    """As text."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def b64decode(value: str | bytes) -> bytes:
    """And back."""
    return base64.b64decode(value)


def strtobool(term: Any, table: dict[str, bool] | None = None) -> Any:
    """``"yes"``, ``"1"``, ``"on"`` are True, their opposites False; what is no text stays. Raises TypeError."""
    if not isinstance(term, str):
        return term
    known = table or {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
    if term.lower() not in known:
        raise TypeError(f"Cannot coerce {term!r} to type bool")
    return known[term.lower()]
