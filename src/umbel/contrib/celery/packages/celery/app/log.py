"""Setting up loggers."""

from __future__ import annotations

from umbel.contrib.celery.logs import Logging, TaskFormatter

__all__ = ["Logging", "TaskFormatter"]
