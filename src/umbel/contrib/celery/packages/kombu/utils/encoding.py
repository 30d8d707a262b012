"""Text and bytes."""

from __future__ import annotations

from umbel.contrib.celery.kombu_functional import (
    bytes_to_str,
    default_encode,
    default_encoding,
    ensure_bytes,
    safe_repr,
    safe_str,
    str_to_bytes,
)

__all__ = [
    "bytes_to_str",
    "default_encode",
    "default_encoding",
    "ensure_bytes",
    "safe_repr",
    "safe_str",
    "str_to_bytes",
]
