"""Loggers for tasks."""

from __future__ import annotations

import logging

__all__ = ["get_task_logger"]


def get_task_logger(name: str) -> logging.Logger:
    """A logger for the tasks of module `name`: a child of ``umbel.task``, whose lines the worker marks with task and id.

    >>> get_task_logger("shop.tasks").name
    'umbel.task.shop.tasks'
    """
    return logging.getLogger(f"umbel.task.{name}")
