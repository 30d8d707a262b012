"""Limits."""

from __future__ import annotations

from umbel.contrib.celery.kombu_functional import (
    TokenBucket,
)

__all__ = [
    "TokenBucket",
]
