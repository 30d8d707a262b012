"""One run of a task, in the order in which a worker runs it, for eager calls; and the pieces that workers share.

``attempt`` never raises what the task raises: an ending is data.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import itertools
import logging
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from umbel.codecs.failures import failure_from_exception
from umbel.context import Request, running
from umbel.core.outcome import FAILURE, IGNORED, REJECTED, RETRY, SUCCESS
from umbel.errors import Ignore, Reject, Retry
from umbel.signals import (
    task_failure,
    task_internal_error,
    task_postrun,
    task_prerun,
    task_retry,
    task_success,
)

if TYPE_CHECKING:
    from umbel.flow.signature import Signature
    from umbel.task import Task

__all__ = [
    "Attempt",
    "ExceptionInfo",
    "aattempt",
    "attempt",
    "begin",
    "internal_error",
    "raised",
    "returned",
    "run_coroutine",
    "takes_failure",
]

log = logging.getLogger("umbel.task")

Ending = Literal["success", "failure", "retry", "ignored", "rejected"]
_STATES: dict[str, str] = {
    "success": SUCCESS,
    "failure": FAILURE,
    "retry": RETRY,
    "ignored": IGNORED,
    "rejected": REJECTED,
}


class ExceptionInfo:
    """What hooks are told of an exception: Celery's ``einfo``."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        self.type = type(exception)
        self.tb = exception.__traceback__

    @property
    def traceback(self) -> str:
        """The traceback as text, causes included."""
        return failure_from_exception(self.exception).traceback or ""

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


class Attempt(msgspec.Struct):
    """How one run ended."""

    ending: Ending
    value: Any = None
    """What the function returned."""
    exc: BaseException | None = None
    """The error; of a retry the ``Retry``."""
    einfo: ExceptionInfo | None = None

    @property
    def state(self) -> str:
        """The state that the world sees."""
        return _STATES[self.ending]


def attempt(task: Task[..., Any], request: Request) -> Attempt:
    """Run `task` once under `request`, with its hooks. An asynchronous task runs on an event loop of its own."""
    args, kwargs = request.args or (), request.kwargs or {}
    with running(task, request):
        try:
            begin(task, request)
            value: Any = task(*args, **kwargs)
            if inspect.iscoroutine(value):
                value = run_coroutine(value)
        except Exception as exc:  # noqa: BLE001 - every ending is data
            return raised(task, request, exc)
        return returned(task, request, value)


async def aattempt(task: Task[..., Any], request: Request) -> Attempt:
    """``attempt`` on the caller's event loop. A synchronous task blocks it."""
    args, kwargs = request.args or (), request.kwargs or {}
    with running(task, request):
        try:
            begin(task, request)
            value: Any = task(*args, **kwargs)
            if inspect.iscoroutine(value):
                value = await value
        except Exception as exc:  # noqa: BLE001 - every ending is data
            return raised(task, request, exc)
        return returned(task, request, value)


def run_coroutine(coro: Coroutine[Any, Any, Any]) -> Any:
    """Run `coro` to its end from synchronous code, in this thread, or in another where a loop runs in this one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coro)
    box: list[Attempt] = []

    def work() -> None:
        try:
            box.append(Attempt("success", asyncio.run(coro)))
        except BaseException as exc:  # noqa: BLE001 - raised again in the caller's thread
            box.append(Attempt("failure", exc=exc))

    # In a copy of the context, so that the coroutine knows its task.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="umbel-eager")
    thread.start()
    thread.join()
    if box[0].exc is not None:
        raise box[0].exc
    return box[0].value


def begin(task: Task[..., Any], request: Request) -> None:
    """What happens before the function of a run is called: ``task_prerun``, and the hook ``before_start``."""
    args, kwargs = request.args or (), request.kwargs or {}
    if task_prerun.receivers:
        task_prerun.send(task, task_id=request.id, task=task, args=args, kwargs=kwargs)
    task.before_start(request.id or "", args, kwargs)


def _ended(task: Task[..., Any], request: Request, state: str, value: Any) -> None:
    if task_postrun.receivers:
        args, kwargs = request.args or (), request.kwargs or {}
        task_postrun.send(
            task, task_id=request.id, task=task, args=args, kwargs=kwargs, retval=value, state=state
        )


def returned(task: Task[..., Any], request: Request, value: Any) -> Attempt:
    """The ending of a run whose function returned `value`; runs the hooks."""
    args, kwargs = request.args or (), request.kwargs or {}
    _hook(task, "on_success", value, request.id, args, kwargs)
    if task_success.receivers:
        task_success.send(task, result=value)
    _hook(task, "after_return", SUCCESS, value, request.id, args, kwargs, None)
    _ended(task, request, SUCCESS, value)
    return Attempt("success", value)


def raised(task: Task[..., Any], request: Request, exc: BaseException) -> Attempt:
    """The ending of a run that raised `exc`; runs the hooks."""
    args, kwargs = request.args or (), request.kwargs or {}
    if isinstance(exc, Ignore):
        _ended(task, request, IGNORED, exc)
        return Attempt("ignored", exc=exc)
    if isinstance(exc, Reject):
        _ended(task, request, REJECTED, exc)
        return Attempt("rejected", exc=exc)
    if not isinstance(exc, Retry):
        exc = task.autoretry(exc)
    if isinstance(exc, Retry):
        reason = exc.exc or exc
        einfo = ExceptionInfo(reason)
        _hook(task, "on_retry", reason, request.id, args, kwargs, einfo)
        if task_retry.receivers:
            task_retry.send(task, request=request, reason=exc, einfo=einfo)
        _ended(task, request, RETRY, exc)
        return Attempt("retry", exc=exc, einfo=einfo)
    einfo = ExceptionInfo(exc)
    _hook(task, "on_failure", exc, request.id, args, kwargs, einfo)
    if task_failure.receivers:
        told = {"args": args, "kwargs": kwargs, "traceback": exc.__traceback__, "einfo": einfo}
        task_failure.send(task, task_id=request.id, exception=exc, **told)
    _hook(task, "after_return", FAILURE, exc, request.id, args, kwargs, einfo)
    _ended(task, request, FAILURE, exc)
    return Attempt("failure", exc=exc, einfo=einfo)


def internal_error(task: Task[..., Any] | None, task_id: str, exc: BaseException) -> None:
    """Tell those who listen that a run went wrong outside of its task."""
    if task_internal_error.receivers:
        einfo = ExceptionInfo(exc)
        told = {"args": (), "kwargs": {}, "request": {"id": task_id}, "einfo": einfo}
        task_internal_error.send(task, task_id=task_id, exception=exc, traceback=exc.__traceback__, **told)


def _hook(task: Task[..., Any], name: str, *args: Any) -> None:
    """Call a hook. What it raises is logged: the task has ended, and stays as it ended."""
    try:
        getattr(task, name)(*args)
    except BaseException:
        log.exception(
            "The hook %s of task %s raised; the ending of the task is not changed by it", name, task.name
        )


def takes_failure(task: Task[..., Any], signature: Signature | None = None) -> bool:
    """Whether `task`, as an errback, wants ``(request, exc, traceback)`` and is called in place, as in Celery.

    Others, bound tasks among them, are sent with the id of the failed call as their argument. Arguments that its
    `signature` brings along are not counted: ``on_error.s("mail")`` of ``on_error(task_id, topic)`` is one of the others.
    """
    if inspect.ismethod(task.run) or task.arguments is None:
        return False
    names = task.arguments.names
    if task.arguments.most > len(names):
        return True
    if signature is not None and not signature.immutable:
        names = names[len(signature.args) :]
        names = tuple(itertools.takewhile(lambda name: name not in signature.kwargs, names))
    return len(names) > 1
