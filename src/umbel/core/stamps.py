"""Stamps of messages, and how they are revoked: as marks, which stand beside ids where brokers remember what must not run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["MARK", "marks_of", "marks_on"]

MARK = "stamp:"
"""How a mark begins. No id that Umbel or Celery makes begins so."""


def marks_of(stamps: Mapping[str, Any]) -> list[str]:
    """The marks of stamps with one value each, or several.

    >>> marks_of({"user": ["ann", 3]})
    ['stamp:["user","ann"]', 'stamp:["user",3]']
    """
    return [
        MARK + json.dumps([name, value], separators=(",", ":"), default=str)
        for name, values in stamps.items()
        for value in (values if isinstance(values, list | tuple | set | frozenset) else [values])
    ]


def marks_on(headers: Mapping[str, Any]) -> Iterator[str]:
    """The marks of a message that has these headers. They may hold anything."""
    stamps, names = headers.get("stamps"), headers.get("stamped_headers")
    if isinstance(stamps, Mapping) and isinstance(names, list):
        yield from marks_of(
            {name: stamps[name] for name in names if isinstance(name, str) and name in stamps}
        )
