"""Simple queues."""

from __future__ import annotations

from umbel.contrib.celery.simple import (
    Empty,
    SimpleBuffer,
    SimpleQueue,
)

__all__ = [
    "Empty",
    "SimpleBuffer",
    "SimpleQueue",
]
