"""Objects."""

from __future__ import annotations

from umbel.contrib.celery.kombu_functional import (
    cached_property,
)

__all__ = [
    "cached_property",
]
