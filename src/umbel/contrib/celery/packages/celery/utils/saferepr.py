"""``repr()`` that ends."""

from __future__ import annotations

from umbel.contrib.celery.utils.saferepr import (
    saferepr,
)

__all__ = [
    "saferepr",
]
