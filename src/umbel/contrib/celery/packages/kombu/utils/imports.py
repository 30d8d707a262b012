"""Imports by name."""

from __future__ import annotations

from umbel.contrib.celery.kombu_functional import (
    symbol_by_name,
)

__all__ = [
    "symbol_by_name",
]
