"""The processes that run tasks."""

from __future__ import annotations

from umbel.contrib.celery.tracing import Worker

__all__ = ["Worker"]
