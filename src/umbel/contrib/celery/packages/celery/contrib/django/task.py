"""Django."""

from __future__ import annotations

from umbel.contrib.celery.task import CeleryTask as DjangoTask

__all__ = ["DjangoTask"]
