"""Colours."""

from __future__ import annotations

from umbel.contrib.celery.utils.term import (
    colored,
)

__all__ = [
    "colored",
]
