"""Boot steps."""

from __future__ import annotations

from umbel.contrib.celery.bootsteps import ConsumerStep, StartStopStep, Step

__all__ = ["ConsumerStep", "StartStopStep", "Step"]
