"""A worker in a thread of the test."""

from __future__ import annotations

from umbel.contrib.celery.embedded import start_worker

__all__ = ["start_worker"]
