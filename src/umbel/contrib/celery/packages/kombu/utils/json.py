"""JSON."""

from __future__ import annotations

from json import loads
from typing import Any

from umbel.codecs import serializers

__all__ = ["dumps", "loads"]


def dumps(value: Any, **unused: Any) -> str:
    """`value` as a message would hold it: dates, decimals and ids in kombu's form."""
    return serializers.encode(value, "json")[2].decode()
