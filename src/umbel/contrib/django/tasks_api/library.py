"""The library whose tasks are meant: ``django.tasks`` of Django 6.0 and later, before that its backport ``django-tasks``.

Both have the same names for the same things, with few exceptions, which end here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import django

from umbel.errors import ConfigurationError

__all__ = [
    "LIBRARY",
    "BaseTaskBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultMismatch",
    "TaskResultStatus",
    "normalize_json",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]

LIBRARY = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
"""Where tasks are imported from."""


def _find(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name != "django_tasks":
            raise
        raise ConfigurationError(
            f"umbel.contrib.django.TaskBackend is a backend of django.tasks, which Django {django.get_version()} has not. "
            'Install its backport, and add "django_tasks" to INSTALLED_APPS: pip install django-tasks. Or use Django 6.'
        ) from exc


if TYPE_CHECKING:
    from django.tasks import task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
    from django.tasks.signals import task_enqueued, task_finished, task_started

    def normalize_json(obj: Any) -> Any:
        """`obj` in the types of JSON; raises TypeError or ValueError."""
else:
    task_backends = _find(LIBRARY).task_backends
    BaseTaskBackend = _find(f"{LIBRARY}.backends.base").BaseTaskBackend
    _base = _find(f"{LIBRARY}.base")
    Task, TaskContext, TaskError = _base.Task, _base.TaskContext, _base.TaskError
    TaskResult, TaskResultStatus = _base.TaskResult, _base.TaskResultStatus
    _exceptions = _find(f"{LIBRARY}.exceptions")
    InvalidTask = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError
    TaskResultDoesNotExist = _exceptions.TaskResultDoesNotExist
    TaskResultMismatch = _exceptions.TaskResultMismatch
    _signals = _find(f"{LIBRARY}.signals")
    task_enqueued, task_started, task_finished = (
        _signals.task_enqueued,
        _signals.task_started,
        _signals.task_finished,
    )
    normalize_json = _find(
        "django.utils.json" if LIBRARY == "django.tasks" else "django_tasks.utils"
    ).normalize_json
