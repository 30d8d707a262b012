"""``celery.app.trace``: a function that runs one call of a task.

Umbel's workers do not run tasks by it. It is here for programs and tools that call it, or put something in its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from umbel.context import Request
from umbel.contrib.celery.tracing import pending
from umbel.contrib.celery.utils.saferepr import saferepr
from umbel.core.outcome import FAILURE, IGNORED, REJECTED, RETRY, SUCCESS, ResultMeta
from umbel.execution import Attempt, ExceptionInfo, attempt

__all__ = [
    "EXCEPTION_STATES",
    "FAILURE",
    "IGNORED",
    "IGNORE_STATES",
    "LOG_FAILURE",
    "LOG_IGNORED",
    "LOG_INTERNAL_ERROR",
    "LOG_RECEIVED",
    "LOG_REJECTED",
    "LOG_RETRY",
    "LOG_SUCCESS",
    "REJECTED",
    "RETRY",
    "STARTED",
    "SUCCESS",
    "TraceInfo",
    "build_tracer",
    "get_task_name",
    "reset_worker_optimizations",
    "setup_worker_optimizations",
    "task_has_custom",
    "trace_ok_t",
    "trace_task",
]

STARTED = "STARTED"
IGNORE_STATES = frozenset({IGNORED, RETRY, REJECTED})
EXCEPTION_STATES = frozenset({FAILURE, RETRY, "REVOKED"})
_NAMED = "Task %(name)s[%(id)s] "
LOG_RECEIVED = _NAMED + "received"
LOG_SUCCESS = _NAMED + "succeeded in %(runtime)ss: %(return_value)s"
LOG_FAILURE = _NAMED + "%(description)s: %(exc)s"
LOG_INTERNAL_ERROR = LOG_FAILURE
LOG_IGNORED = _NAMED + "%(description)s"
LOG_REJECTED = _NAMED + "%(exc)s"
LOG_RETRY = _NAMED + "retry: %(exc)s"


class trace_ok_t(NamedTuple):
    """How a run ended: its value (or an ``ExceptionInfo``), a ``TraceInfo`` unless it succeeded, seconds, and the value as text."""

    retval: Any
    info: Any
    runtime: float
    retstr: str | None


class TraceInfo:
    """State and exception of a run that did not succeed."""

    __slots__ = ("retval", "state")

    def __init__(self, state: str, retval: Any = None) -> None:
        self.state, self.retval = state, retval


def build_tracer(
    name: str,
    task: Any,
    loader: Any = None,
    hostname: str | None = None,
    store_errors: bool = True,
    eager: bool = False,
    **options: Any,
) -> Callable[..., Any]:
    """A function of ``(uuid, args, kwargs, request=None)`` that runs `task` once, with its hooks and signals.

    `request`: a dict of fields of ``self.request``. Unless `eager`, value or exception are stored when the app keeps results.
    `propagate` (an option): raise what the task raises. A retry is reported and not sent; callbacks are not called.
    """
    propagate = bool(options.get("propagate"))

    def trace(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        run = pending.get()
        if run is not None:  # of a worker, which does the rest
            return run()
        fields = {
            "hostname": hostname,
            **dict(request or {}),
            "args": tuple(args or ()),
            "kwargs": dict(kwargs or {}),
        }
        asked = _request(name, {"id": uuid, "is_eager": eager, **fields})
        began = time.monotonic()
        ended = attempt(task, asked)
        runtime = time.monotonic() - began
        if not eager:
            _store(task, asked, ended, store_errors)
        if ended.exc is None:
            return trace_ok_t(ended.value, None, runtime, saferepr(ended.value, task.resultrepr_maxsize))
        if propagate and ended.ending == "failure":
            raise ended.exc
        return trace_ok_t(
            ended.einfo or ExceptionInfo(ended.exc), TraceInfo(ended.state, ended.exc), runtime, None
        )

    return trace


def _request(name: str, fields: dict[str, Any]) -> Request:
    known = set(Request.__struct_fields__)
    request = Request(
        **{"task": name, "called_directly": False, **{k: v for k, v in fields.items() if k in known}}
    )
    for key in fields.keys() - known:
        if not hasattr(Request, key):
            setattr(request, key, fields[key])
    return request


def _store(task: Any, request: Request, ended: Attempt, store_errors: bool) -> None:
    if not task.app.has_store or request.ignore_result or task.ignore_result:
        return
    if ended.ending == "success" or (ended.ending == "failure" and store_errors):
        traceback = None if ended.einfo is None else ended.einfo.traceback
        value = ended.value if ended.exc is None else ended.exc
        meta = ResultMeta(task_id=request.id or "", status=ended.state, result=value, traceback=traceback)
        task.app.store_meta(meta)


def trace_task(task: Any, uuid: str, args: Any, kwargs: Any, request: Any = None, **opts: Any) -> Any:
    """Run `task` once by the function that ``build_tracer()`` makes."""
    return build_tracer(task.name, task, **opts)(uuid, args, kwargs, request)


def get_task_name(request: Any, default: str) -> str:
    """The name to show for a call: its shadow, or the task's."""
    return getattr(request, "shadow", None) or default


def task_has_custom(task: Any, attr: str) -> bool:
    """Whether the class of a task defines `attr` itself."""
    own = next((cls for cls in type(task).__mro__ if attr in vars(cls)), object)
    return not own.__module__.startswith("umbel.") and own is not object


def setup_worker_optimizations(app: Any, hostname: str | None = None) -> None:
    """For Celery's sake: Umbel's workers need none."""


def reset_worker_optimizations(app: Any = None) -> None:
    """For Celery's sake too."""
