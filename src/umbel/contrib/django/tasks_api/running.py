"""A task of Django's as a worker runs it: with its context, its signals, and a result in the types of JSON."""

from __future__ import annotations

import asyncio
import inspect
import traceback
import types
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from umbel.arguments import ArgumentCheck
from umbel.contrib.django.tasks_api import options as task_options
from umbel.contrib.django.tasks_api import results
from umbel.contrib.django.tasks_api.library import (
    BaseTaskBackend,
    Task,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_backends,
    task_finished,
    task_started,
)
from umbel.errors import Retry, TaskPredicate
from umbel.task import Task as UmbelTask

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["DjangoTask", "result_in_place", "umbel_task"]

result_in_place: ContextVar[TaskResult[..., Any] | None] = ContextVar("umbel_django_result", default=None)
"""The result to be filled in by a run in the process of the caller (``task_always_eager``)."""


class DjangoTask(UmbelTask[..., Any]):
    """The task of Umbel that stands for a task of Django's, under the path of its function."""

    declared: Task[..., Any]
    track_started = True
    """A result tells when it was started."""

    def on_bound(self, app: Umbel) -> None:
        """Check the arguments of calls against those of the function."""
        self.is_async = inspect.iscoroutinefunction(self.run)
        if self.typing:
            function = self.declared.func
            self.arguments = ArgumentCheck(
                partial(function, None) if self.declared.takes_context else function
            )

    # -- one run

    def _begin(self) -> TaskResult[..., Any]:
        request = self.request
        result = result_in_place.get()
        if result is None or result.id != request.id:
            return results.of_run(self.declared, request)
        now = timezone.now()
        if result.started_at is None:
            results.fill(result, started_at=now)
        results.fill(result, status=TaskResultStatus.RUNNING, last_attempted_at=now)
        result.worker_ids.append(request.hostname or "")
        return result

    def _arguments(self, result: TaskResult[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (TaskContext(task_result=result), *args) if self.declared.takes_context else args

    def _succeeded(self, result: TaskResult[..., Any], value: Any) -> None:
        results.fill(
            result, _return_value=value, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now()
        )

    def _failed(self, result: TaskResult[..., Any], exc: BaseException) -> BaseException:
        """What `exc` amounts to: itself, and the result has failed, or a ``Retry``."""
        step = exc.__traceback__
        exc = exc.with_traceback(step.tb_next if step is not None else None)  # from the task's own frame on
        cause, exc = exc, self.autoretry(exc)
        cls = type(cause)
        result.errors.append(
            TaskError(
                exception_class_path=f"{cls.__module__}.{cls.__qualname__}",
                traceback="".join(traceback.format_exception(cause)),
            )
        )
        if isinstance(exc, Retry):
            results.fill(result, status=TaskResultStatus.READY)
        else:
            results.fill(result, status=TaskResultStatus.FAILED, finished_at=timezone.now())
        return exc

    def _passes(self, exc: BaseException) -> bool:
        """Whether `exc` is none of the task's own endings: the worker handles it, and nobody is told."""
        if isinstance(exc, TaskPredicate | asyncio.CancelledError):
            return True
        # In the caller's process it is the user who wants to stop. In a worker only the task can have raised it.
        return isinstance(exc, KeyboardInterrupt) and self.request.is_eager


class _Synchronous(DjangoTask):
    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function."""
        result = self._begin()
        sender = _sender(result)
        task_started.send_robust(sender=sender, task_result=result)
        try:
            value = normalize_json(self.declared.func(*self._arguments(result, args), **kwargs))
        except BaseException as exc:
            if self._passes(exc):
                raise
            ending = self._failed(result, exc)
            if isinstance(ending, Retry):
                raise ending from exc
            task_finished.send_robust(sender=sender, task_result=result)
            raise
        self._succeeded(result, value)
        task_finished.send_robust(sender=sender, task_result=result)
        return value


class _Asynchronous(DjangoTask):
    async def run(self, *args: Any, **kwargs: Any) -> Any:
        """Await the function."""
        result = self._begin()
        sender = _sender(result)
        await task_started.asend_robust(sender=sender, task_result=result)
        try:
            value = normalize_json(await self.declared.func(*self._arguments(result, args), **kwargs))
        except BaseException as exc:
            if self._passes(exc):
                raise
            ending = self._failed(result, exc)
            if isinstance(ending, Retry):
                raise ending from exc
            await task_finished.asend_robust(sender=sender, task_result=result)
            raise
        self._succeeded(result, value)
        await task_finished.asend_robust(sender=sender, task_result=result)
        return value


def _sender(result: TaskResult[..., Any]) -> type[BaseTaskBackend]:
    """The class of the backend with which it was sent; an alias that is gone has none."""
    alias = result.backend
    return type(task_backends[alias]) if alias in task_backends.settings else BaseTaskBackend


def umbel_task(task: Task[..., Any], options: Mapping[str, Any]) -> DjangoTask:
    """The task of Umbel for `task`. Raises ConfigurationError when `options` cannot be."""
    func = task.func
    body = {
        "__module__": func.__module__,
        "__qualname__": func.__qualname__,
        "__doc__": func.__doc__,
        "__wrapped__": staticmethod(func),
        "name": task.module_path,
        "declared": task,
        **task_options.attributes(options),
    }
    base = _Asynchronous if inspect.iscoroutinefunction(func) else _Synchronous
    cls: Callable[[], DjangoTask] = types.new_class(
        func.__name__, (base,), exec_body=lambda made: made.update(body)
    )
    return cls()
