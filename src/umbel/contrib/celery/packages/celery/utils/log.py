"""Loggers."""

from __future__ import annotations

from umbel.log import get_task_logger

__all__ = ["get_logger", "get_task_logger"]

import logging


def get_logger(name: str) -> logging.Logger:
    """The logger of that name."""
    return logging.getLogger(name)
