"""Abortable tasks."""

from __future__ import annotations

from umbel.contrib.celery.abortable import ABORTED, AbortableAsyncResult, AbortableTask

__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]
