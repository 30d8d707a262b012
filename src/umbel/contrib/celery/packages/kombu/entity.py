"""Queues and exchanges."""

from __future__ import annotations

from umbel.contrib.celery.queues import (
    PERSISTENT_DELIVERY_MODE,
    TRANSIENT_DELIVERY_MODE,
    Exchange,
    Queue,
    binding,
)

__all__ = [
    "PERSISTENT_DELIVERY_MODE",
    "TRANSIENT_DELIVERY_MODE",
    "Exchange",
    "Queue",
    "binding",
]
