"""A debugger inside a task."""

from __future__ import annotations

from umbel.contrib.celery.rdb import (
    CELERY_RDB_HOST,
    CELERY_RDB_PORT,
    DEFAULT_PORT,
    Rdb,
    debugger,
    set_trace,
)

__all__ = [
    "CELERY_RDB_HOST",
    "CELERY_RDB_PORT",
    "DEFAULT_PORT",
    "Rdb",
    "debugger",
    "set_trace",
]
