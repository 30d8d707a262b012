"""What looks like a task."""

from __future__ import annotations

from umbel.contrib.celery.utils.abstract import (
    CallableSignature,
    CallableTask,
)

__all__ = [
    "CallableSignature",
    "CallableTask",
]
