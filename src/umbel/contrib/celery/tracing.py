"""Where packages that watch Celery take hold of it: its tracer, and the loop of its processes.

They replace ``celery.app.trace.build_tracer`` and ``billiard.pool.Worker.workloop`` by functions around them. Workers look there, and run
tasks and processes inside of what they find.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = [
    "ExceptionWithTraceback",
    "Worker",
    "pending",
    "run_traced",
    "tracer_of",
]

pending: ContextVar[Callable[[], Any] | None] = ContextVar("umbel_traced", default=None)
"""The run of a worker that goes through a tracer now."""


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


def tracer_of(task: Any) -> Callable[..., Any] | None:
    """What another package has put around the runs of `task`; None: nobody has."""
    module = sys.modules.get("celery.app.trace")
    build = getattr(module, "build_tracer", None)
    if build is None or getattr(build, "__module__", "").startswith("umbel."):
        return None
    return build(task.name, task, app=task.app)  # type: ignore[no-any-return]


def run_traced(tracer: Callable[..., Any], request: Any, run: Callable[[], Any]) -> Any:
    """What `run` returns, run inside of `tracer`."""
    told = {"id": request.id, "headers": dict(request.headers or {}), "delivery_info": request.delivery_info}
    token = pending.set(run)
    try:
        return tracer(request.id, list(request.args or ()), dict(request.kwargs or {}), told)
    finally:
        pending.reset(token)
