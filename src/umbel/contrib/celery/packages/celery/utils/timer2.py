"""Functions that are called later."""

from __future__ import annotations

from umbel.contrib.celery.utils.timer2 import (
    Entry,
    Timer,
    to_timestamp,
)

__all__ = [
    "Entry",
    "Timer",
    "to_timestamp",
]
