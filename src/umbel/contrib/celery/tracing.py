"""Where packages that watch Celery take hold of it: its tracer, and the loop of its processes.

They replace ``celery.app.trace.build_tracer`` and ``billiard.pool.Worker.workloop`` by functions around them. Workers look there, and run
tasks and processes inside of what they find.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

__all__ = [
    "ExceptionWithTraceback",
    "Worker",
    "build_tracer",
    "run_traced",
    "task_has_custom",
    "trace_ok_t",
    "tracer_of",
]

_pending: ContextVar[Callable[[], Any] | None] = ContextVar("umbel_traced", default=None)
"""The run of a worker that goes through a tracer now."""


class trace_ok_t(NamedTuple):
    """What a tracer returns."""

    retval: Any
    info: Any
    runtime: float
    retstr: str


class ExceptionWithTraceback(Exception):
    """An exception that has travelled with its traceback. Umbel's need none."""

    def __init__(self, exc: BaseException, tb: Any = None) -> None:
        super().__init__(exc)
        self.exc = exc
        self.tb = tb


class Worker:
    """A process that runs tasks."""

    def workloop(self, serve: Callable[[], None]) -> None:
        """Run tasks until there are no more."""
        serve()


def task_has_custom(task: Any, attr: str) -> bool:
    """Whether the class of `task`, or one that it is derived from, has an `attr` of its own."""
    for cls in type(task).__mro__:
        if cls.__module__.startswith("umbel."):
            return False
        if attr in vars(cls):
            return True
    return False


def build_tracer(name: str, task: Any, *unused: Any, **options: Any) -> Callable[..., Any]:
    """A function that runs `task`: ``trace(id, args, kwargs, request)``."""

    def trace(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        run = _pending.get()
        if run is not None:
            return run()
        began = time.monotonic()
        result = task.apply(args, kwargs, task_id=uuid)
        return trace_ok_t(result.result, None, time.monotonic() - began, repr(result.result))

    return trace


def tracer_of(task: Any) -> Callable[..., Any] | None:
    """What another package has put around the runs of `task`; None: nobody has."""
    module = sys.modules.get("celery.app.trace")
    build = getattr(module, "build_tracer", build_tracer)
    return None if build is build_tracer else build(task.name, task, app=task.app)


def run_traced(tracer: Callable[..., Any], request: Any, run: Callable[[], Any]) -> Any:
    """What `run` returns, run inside of `tracer`."""
    told = {"id": request.id, "headers": dict(request.headers or {}), "delivery_info": request.delivery_info}
    token = _pending.set(run)
    try:
        return tracer(request.id, list(request.args or ()), dict(request.kwargs or {}), told)
    finally:
        _pending.reset(token)
