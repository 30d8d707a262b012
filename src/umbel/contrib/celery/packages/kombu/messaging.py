"""Producers and consumers."""

from __future__ import annotations

from umbel.contrib.celery.messaging import (
    Consumer,
    Producer,
)
from umbel.contrib.celery.queues import (
    Exchange,
    Queue,
)

__all__ = [
    "Consumer",
    "Exchange",
    "Producer",
    "Queue",
]
