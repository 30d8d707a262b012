"""The app."""

from __future__ import annotations

from umbel.contrib.celery.app import Celery

__all__ = ["Celery"]
