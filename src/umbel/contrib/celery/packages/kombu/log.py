"""Logging."""

from __future__ import annotations

from umbel.contrib.celery.kombu_log import (
    LOG_LEVELS,
    Log,
    LogMixin,
    get_logger,
    get_loglevel,
    setup_logging,
)

__all__ = [
    "LOG_LEVELS",
    "Log",
    "LogMixin",
    "get_logger",
    "get_loglevel",
    "setup_logging",
]
