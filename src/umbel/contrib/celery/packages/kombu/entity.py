"""Queues and exchanges."""

from __future__ import annotations

from umbel.contrib.celery.queues import Exchange, Queue

__all__ = ["Exchange", "Queue"]
