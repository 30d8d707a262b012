"""Compression."""

from __future__ import annotations

from typing import Any

from umbel.codecs import compression
from umbel.codecs.compression import (
    decompress,
)

__all__ = [
    "compress",
    "decompress",
    "encoders",
]


def compress(body: Any, content_type: str) -> tuple[bytes, str]:
    """The compressed body and its content type."""
    kind, data = compression.compress(body.encode() if isinstance(body, str) else body, content_type)
    return data, kind


def encoders() -> list[str]:
    """Names of the methods."""
    return compression.names()
