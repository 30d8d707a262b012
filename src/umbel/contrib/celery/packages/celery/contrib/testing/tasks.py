"""The task that a worker for tests is asked for."""

from __future__ import annotations

from umbel.contrib.celery.embedded import ping

__all__ = ["ping"]
