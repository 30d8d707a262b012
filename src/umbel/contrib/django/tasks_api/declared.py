"""Tasks of Django's as they are declared, and the tasks of Umbel that stand for them.

``@task`` keeps no list, but each task is shown to its backend when it is made. So the tasks of every module that a worker
imports are known to it before it fetches. Those of other modules are found by their names when they are first called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed

from umbel import context
from umbel.app import Umbel
from umbel.contrib.django.tasks_api import options as task_options
from umbel.contrib.django.tasks_api.library import Task, task_backends
from umbel.contrib.django.tasks_api.running import DjangoTask, umbel_task
from umbel.errors import ConfigurationError, NotRegistered

__all__ = ["Finder", "TaskWithOptions", "declare", "declared", "umbel_backends"]

_FIELDS = frozenset(each.name for each in fields(Task))


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class TaskWithOptions(Task):  # type: ignore[type-arg]
    """A task of Django's that takes options of Umbel as keywords of ``@task`` (from Django 6.1 on)."""

    options: Mapping[str, Any] = field(hash=False)
    """See ``umbel.options.TaskOptions``."""

    def __init__(self, *, options: Mapping[str, Any] | None = None, **given: Any) -> None:
        """Raises TypeError for an option that nobody knows, and ConfigurationError for a value that cannot be."""
        extra = {**(options or {}), **{name: value for name, value in given.items() if name not in _FIELDS}}
        if extra:
            task_options.check(extra, f"The task {getattr(given.get('func'), '__name__', '')!r}")
        object.__setattr__(self, "options", extra)
        Task.__init__(self, **{name: value for name, value in given.items() if name in _FIELDS})


# ---------------------------------------------------------------------------------------------- what is known

_declared: dict[str, Task[..., Any]] = {}
"""By the path of the function: the first task that was made of it, which is the one that its module holds."""


def declare(task: Task[..., Any]) -> None:
    """Let every app of this process, those to come included, have a task of the name of `task`."""
    known = _declared.get(task.module_path)
    if known is None or known.func is not task.func:
        _declared[task.module_path] = task
        context.state.shared.append(partial(_register, task=task))


def _register(app: Umbel, task: Task[..., Any]) -> DjangoTask:
    made = umbel_task(task, {**_options_of_backend(task.backend), **getattr(task, "options", {})})
    app.register_task(made)
    return made


def _declare_again(*, setting: str, **_: Any) -> None:
    """Tests change settings, and with them the options of the backends."""
    app = context.state.local.get() or context.state.default
    if setting == "TASKS" and app is not None:
        for task in _declared.values():
            _register(app, task)


setting_changed.connect(_declare_again, dispatch_uid=__name__)


def _options_of_backend(alias: str) -> Mapping[str, Any]:
    """``OPTIONS`` of the backend with which a task was declared; nothing when that is not one of ours, or has wrong options: it
    says so in ``manage.py check``, and sends nothing."""
    backend = umbel_backends().get(alias)
    if backend is None:
        return {}
    try:
        task_options.check(backend.options, alias)
    except (TypeError, ConfigurationError):
        return {}
    options: Mapping[str, Any] = backend.options
    return options


def umbel_backends() -> dict[str, Any]:
    """The backends of ``TASKS`` that are Umbel's, by alias."""
    return {
        alias: backend
        for alias in task_backends
        if issubclass((backend := task_backends[alias]).task_class, TaskWithOptions)
    }


def declared(path: str) -> Task[..., Any] | None:
    """The task that is declared at `path`, whose module is imported for that if ``may_import`` allows it; None: there is none."""
    if path not in _declared:
        if not may_import(path):
            return None
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name, None)
        if not isinstance(found, Task) or found.module_path != path:
            return None
        declare(found)  # it may have been declared for a backend that is not ours
    return _declared[path]


def may_import(path: str) -> bool:
    """Whether `path`, which came with a message or a record, can be looked for: no module is imported for it that does not belong
    to an installed application or to the project."""
    module, _, function = path.rpartition(".")
    return bool(module) and function.isidentifier() and (module in sys.modules or _is_of_project(module))


class Finder:
    """Finds tasks of Django's by name; see ``umbel.registry.TaskFinder``."""

    def stand_in(self, app: Umbel) -> DjangoTask:
        task = DjangoTask()
        task.app = app
        for alias in umbel_backends():
            for name, value in task_options.attributes(_options_of_backend(alias)).items():
                setattr(task, name, value)
            break
        return task

    def may_find(self, name: str) -> bool:
        return may_import(name)

    def find(self, app: Umbel, name: str) -> DjangoTask | None:
        try:
            if declared(name) is None:
                return None
        except ModuleNotFoundError as exc:
            if exc.name is not None and name.startswith(f"{exc.name}."):
                return None
            raise NotRegistered(f"The module of the task {name!r} cannot be imported: {exc}.") from exc
        except Exception as exc:
            raise NotRegistered(
                f"The module of the task {name!r} cannot be imported: {type(exc).__name__}: {exc}"
            ) from exc
        found = app.tasks.get(name)  # known by now
        return found if isinstance(found, DjangoTask) else None


def _is_of_project(module: str) -> bool:
    packages = [config.name for config in apps.get_app_configs()] if apps.apps_ready else []
    project = (getattr(settings, "SETTINGS_MODULE", None) or "").rpartition(".")[0]
    return any(
        module == package or module.startswith(f"{package}.") for package in (*packages, project) if package
    )


context.state.finders.append(Finder())
