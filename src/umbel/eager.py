"""Calls that are run in place: ``apply``, and every call when ``task_always_eager`` is set.

The same steps as in a worker, without a broker and without waiting: retries follow at once, callbacks too.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.context import Request
from umbel.core.envelope import Envelope
from umbel.core.outcome import ResultMeta
from umbel.errors import Retry
from umbel.execution import Attempt, aattempt, attempt, takes_failure
from umbel.flow.signature import Signature
from umbel.result import EagerResult
from umbel.task import Task, setting_of

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["arun_eagerly", "run_eagerly"]

Runner = Callable[["Task[..., Any]", Request], Coroutine[Any, Any, Attempt]]


def run_eagerly(task: Task[..., Any], envelope: Envelope, *, throw: bool) -> EagerResult[Any]:
    """Run the call of `envelope` here. `throw`: raise what the task raises."""

    async def here(task: Task[..., Any], request: Request) -> Attempt:
        return attempt(task, request)

    coro = _run(task, envelope, here, throw)
    try:
        coro.send(None)
    except StopIteration as stop:
        result: EagerResult[Any] = stop.value
        return result
    raise RuntimeError("an eager run without an event loop has tried to wait")


async def arun_eagerly(task: Task[..., Any], envelope: Envelope, *, throw: bool) -> EagerResult[Any]:
    """``run_eagerly`` on the caller's event loop."""
    return await _run(task, envelope, aattempt, throw)


async def _run(task: Task[..., Any], envelope: Envelope, run_one: Runner, throw: bool) -> EagerResult[Any]:
    while True:
        request = _request(envelope)
        ended = await run_one(task, request)
        retry = ended.exc if isinstance(ended.exc, Retry) else request.pending_retry
        if retry is None:
            break
        envelope = _next_try(envelope, retry)
    result: EagerResult[Any] = EagerResult(
        envelope.id,
        ended.value if ended.exc is None or ended.ending == "ignored" else ended.exc,
        ended.state,
        name=task.name,
        app=task.app,
        traceback=None if ended.einfo is None else ended.einfo.traceback,
        children=request.children,
    )
    if ended.ending in ("success", "failure") and setting_of(task, "store_eager_result"):
        task.app.store_meta(
            ResultMeta(
                task_id=envelope.id, status=ended.state, result=result.result, traceback=result.traceback
            )
        )
    await _follow(task, request, ended, run_one)
    if throw and ended.ending in ("failure", "rejected") and ended.exc is not None:
        raise ended.exc
    return result


def _request(envelope: Envelope) -> Request:
    info = {"is_eager": True, "exchange": "", "routing_key": envelope.queue, "priority": envelope.priority}
    request = Request.from_envelope(envelope, hostname=socket.gethostname(), delivery_info=info)
    request.is_eager = True
    return request


def _next_try(envelope: Envelope, retry: Retry) -> Envelope:
    details = retry.options
    args, kwargs = details.get("args"), details.get("kwargs")
    return msgspec.structs.replace(
        envelope,
        args=envelope.args if args is None else tuple(args),
        kwargs=envelope.kwargs if kwargs is None else dict(kwargs),
        retries=details.get("retries", envelope.retries + 1),
        parent_id=envelope.id,
    )


async def _follow(task: Task[..., Any], request: Request, ended: Attempt, run_one: Runner) -> None:
    if ended.ending == "success":
        for form in request.callbacks or ():
            await _apply(
                task.app, Signature.from_dict(form, task.app).clone((ended.value,)), request, run_one
            )
    elif ended.ending == "failure":
        for form in request.errbacks or ():
            signature = Signature.from_dict(form, task.app)
            errback = task.app.tasks[signature.task]
            if takes_failure(errback, signature):
                failure = (request, ended.exc, None if ended.einfo is None else ended.einfo.traceback)
                errback(*signature.clone(failure).args, **signature.kwargs)
            else:
                await _apply(task.app, signature.clone((request.id,)), request, run_one)


async def _apply(app: Umbel, signature: Signature, parent: Request, run_one: Runner) -> None:
    if type(signature) is not Signature:
        signature.apply()
        return
    task = app.tasks[signature.task]
    options: Mapping[str, Any] = {
        "parent_id": parent.id,
        "root_id": parent.root_id,
        **signature.options,
    }
    args: Sequence[Any] = signature.args
    await _run(task, app.client.planner.envelope(task, args, signature.kwargs, options), run_one, False)
