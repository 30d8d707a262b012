"""Attributes of tasks by settings."""

from __future__ import annotations

from umbel.contrib.celery.parts import MapAnnotation, prepare, resolve_all

__all__ = ["MapAnnotation", "prepare", "resolve_all"]
