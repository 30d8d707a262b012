"""The parts of kombu that programs for Celery import."""

from __future__ import annotations

from umbel.contrib.celery.queues import Exchange, Queue

__all__ = ["Exchange", "Queue"]

__version__ = "5.7.0"
