"""Tasks."""

from __future__ import annotations

from umbel.context import Request as Context
from umbel.contrib.celery.task import CeleryTask as Task

__all__ = ["Context", "Task"]
