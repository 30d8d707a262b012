"""Warnings of what is old."""

from __future__ import annotations

from umbel.contrib.celery.utils.deprecated import (
    Callable,
    CDeprecationWarning,
    CPendingDeprecationWarning,
    Property,
    warn,
)

__all__ = [
    "CDeprecationWarning",
    "CPendingDeprecationWarning",
    "Callable",
    "Property",
    "warn",
]
