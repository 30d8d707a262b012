"""Loggers."""

from __future__ import annotations

import logging

from umbel.contrib.celery.logs import (
    LOG_LEVELS,
    ColorFormatter,
    LoggingProxy,
    base_logger,
    get_multiprocessing_logger,
    in_sighandler,
    mlevel,
    reset_multiprocessing_logger,
    set_in_sighandler,
    task_logger,
    worker_logger,
)
from umbel.log import get_task_logger

__all__ = [
    "LOG_LEVELS",
    "ColorFormatter",
    "LoggingProxy",
    "base_logger",
    "get_logger",
    "get_multiprocessing_logger",
    "get_task_logger",
    "in_sighandler",
    "mlevel",
    "reset_multiprocessing_logger",
    "set_in_sighandler",
    "task_logger",
    "worker_logger",
]


def get_logger(name: str | logging.Logger) -> logging.Logger:
    """The logger of that name."""
    return logging.getLogger(name) if isinstance(name, str) else name
