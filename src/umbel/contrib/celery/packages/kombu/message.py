"""Messages."""

from __future__ import annotations

from umbel.contrib.celery.message import (
    Message,
)

__all__ = [
    "Message",
]
