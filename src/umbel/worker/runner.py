"""``run_call``: from a message to an ending, in the child. Never raises; everything that can go wrong is an ending.

The values live here, so here they are encoded: the result, the next calls of a chain, the message of a retry. What
goes back to the node is bytes and a decision.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.codecs.protocol import decode_call
from umbel.codecs.reprs import safe_repr
from umbel.context import Request, running
from umbel.core.envelope import Envelope
from umbel.core.policy import Decision, Rules, decide
from umbel.errors import Ignore, MessageError, NotRegistered, Reject, Retry
from umbel.task import Task, setting_of
from umbel.worker import limits
from umbel.worker.follow import FollowUps
from umbel.worker.ipc import Begun, Done, Handed, Progress, Report
from umbel.worker.outcomes import ErrorInfo, Records, error_line, traceback_text

if TYPE_CHECKING:
    from umbel.app import Umbel

logger = logging.getLogger("umbel.worker")

SoftLimit = Callable[[float], AbstractContextManager[None]]


class Execution(msgspec.Struct, kw_only=True):
    """One run, from message to ending: the record that walks through the steps below."""

    call: Handed
    envelope: Envelope
    task: Task[..., Any]
    request: Request
    rules: Rules
    soft_limit: float | None
    hard_limit: float | None
    started: float
    ending: str = "success"
    value: Any = None
    error: BaseException | None = None


class Runner:
    """Runs calls for one child.

    `soft_limit` raises SoftTimeLimitExceeded in the thread that runs the task (see ``limits``). `report` reaches the
    node while a run goes on. `describe` says whether anybody will log the results.
    """

    def __init__(
        self,
        app: Umbel,
        *,
        hostname: str,
        report: Callable[[Report], None],
        soft_limit: SoftLimit,
        describe: bool = True,
    ) -> None:
        self._app = app
        self._hostname = hostname
        self._report = report
        self._soft_limit = soft_limit
        self._describe = describe
        self._accept = app.conf.accept_content
        self._records = Records(app, hostname)
        self._follow = FollowUps(app)
        self._loops = _ThreadLoops()

    # -- the two entrances -----------------------------------------------------------------------------

    def run(self, call: Handed) -> Done:
        """Run `call` in this thread; a coroutine function runs in a loop that belongs to the thread."""
        prepared = self._prepare(call)
        if isinstance(prepared, Done):
            return prepared
        execution = prepared
        with running(execution.task, execution.request):
            try:
                self._begin(execution)
                execution.value = self._call(execution)
            except BaseException as exc:  # noqa: BLE001 - every way out of a task is an ending
                self._classify(execution, exc)
            return self._finish(execution)

    async def arun(self, call: Handed) -> Done:
        """Run `call` in this loop; a plain function runs in a thread."""
        prepared = self._prepare(call)
        if isinstance(prepared, Done):
            return prepared
        execution = prepared
        with running(execution.task, execution.request):
            try:
                self._begin(execution)
                execution.value = await self._acall(execution)
            except BaseException as exc:  # noqa: BLE001 - every way out of a task is an ending
                self._classify(execution, exc)
            return self._finish(execution)

    # -- step by step ----------------------------------------------------------------------------------

    def _prepare(self, call: Handed) -> Execution | Done:
        started = time.perf_counter()
        frame = call.frame
        try:
            envelope = decode_call(frame, self._accept)
        except MessageError as exc:
            return self._refuse(call, exc)
        try:
            task = self._app.tasks[envelope.task]
        except NotRegistered:
            reason = f"No worker here knows the task {envelope.task!r}."
            return Done(
                call.seq, "unknown", settle="park", reason=reason, name=envelope.task, task_id=envelope.id
            )
        request = Request.from_envelope(
            envelope, hostname=self._hostname, delivery_info=frame.properties.get("delivery_info")
        )
        request.deliveries = call.deliveries
        request.properties = frame.properties
        request.reporter = self._reporter(call.seq, envelope.id)
        ignore = envelope.ignore_result
        if ignore is None:
            ignore = setting_of(task, "ignore_result")
        return Execution(
            call=call,
            envelope=envelope,
            task=task,
            request=request,
            rules=Rules(
                ignore_result=bool(ignore),
                store_errors_even_if_ignored=bool(setting_of(task, "store_errors_even_if_ignored")),
            ),
            soft_limit=envelope.soft_time_limit or setting_of(task, "soft_time_limit"),
            hard_limit=envelope.time_limit or setting_of(task, "time_limit"),
            started=started,
        )

    def _refuse(self, call: Handed, exc: MessageError) -> Done:
        frame = call.frame
        decision = decide("refused", Rules())
        done = Done(
            call.seq,
            "refused",
            settle=decision.settle,
            reason=error_line(exc),
            name=frame.task_name,
            task_id=frame.task_id,
        )
        if frame.task_id:
            done.state = decision.state
            done.payload, done.ttl = self._records.failure_of(frame.task_id, exc)
        return done

    def _reporter(self, seq: int, task_id: str) -> Callable[[str, Any, str | None], None]:
        def report(state: str, meta: Any, other_id: str | None) -> None:
            payload, ttl = self._records.state(other_id or task_id, state, meta)
            self._report(Progress(seq, other_id or task_id, state, payload, ttl))

        return report

    def _begin(self, execution: Execution) -> None:
        call, task, request = execution.call, execution.task, execution.request
        if call.report_begin:
            payload = ttl = None
            if setting_of(task, "track_started") and not execution.rules.ignore_result:
                payload, ttl = self._records.started(execution.envelope)
            self._report(Begun(call.seq, payload, ttl, execution.hard_limit))
        task.before_start(request.id or "", list(execution.envelope.args), execution.envelope.kwargs)

    def _call(self, execution: Execution) -> Any:
        task, envelope = execution.task, execution.envelope
        if task.is_async:
            return self._loops.run(self._awaited(execution))
        seconds = execution.soft_limit
        with self._soft_limit(seconds) if seconds else nullcontext():
            return task(*envelope.args, **envelope.kwargs)

    async def _acall(self, execution: Execution) -> Any:
        task = execution.task
        if task.is_async:
            return await self._awaited(execution)
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            None, lambda: context.run(self._call, execution)
        )

    async def _awaited(self, execution: Execution) -> Any:
        envelope = execution.envelope
        made = execution.task(*envelope.args, **envelope.kwargs)
        if not inspect.isawaitable(made):
            return made
        if execution.soft_limit and inspect.iscoroutine(made):
            return await limits.in_coroutine(made, execution.soft_limit)
        return await made

    def _classify(self, execution: Execution, exc: BaseException) -> None:
        if execution.task.autoretry_for and not isinstance(exc, (Retry, Ignore, Reject)):
            exc = execution.task.autoretry(exc)
        execution.error = exc
        if isinstance(exc, Retry):
            execution.ending = "retry"
        elif isinstance(exc, Ignore):
            execution.ending = "ignored"
        elif isinstance(exc, Reject):
            execution.ending = "rejected"
        else:
            execution.ending = "failure"

    def _finish(self, execution: Execution) -> Done:
        try:
            if execution.ending == "success" and execution.request.pending_retry is not None:
                self._classify(execution, execution.request.pending_retry)
            done = self._encode(execution)
        except BaseException as exc:  # noqa: BLE001
            # The value cannot be written, a hook raised, a callback could not be sent: the run has failed by it.
            execution.value = None
            self._classify(execution, exc)
            execution.ending = "failure"
            done = self._encode(execution, hooks=False)
        self._after(execution, done)
        done.runtime = time.perf_counter() - execution.started
        return done

    def _encode(self, execution: Execution, *, hooks: bool = True) -> Done:
        envelope, task, error = execution.envelope, execution.task, execution.error
        requeue = isinstance(error, Reject) and error.requeue
        decision = decide(execution.ending, execution.rules, requeue=requeue)  # type: ignore[arg-type]
        done = Done(
            execution.call.seq,
            execution.ending,
            settle=decision.settle,
            counted=decision.counted,
            name=envelope.task,
            task_id=envelope.id,
        )
        if execution.ending == "success":
            self._succeed(execution, decision, done, hooks=hooks)
        elif execution.ending == "retry" and isinstance(error, Retry):
            done.replacement = self._follow.retry(envelope, error)
            done.reason = str(error)
            if decision.state:
                done.state = decision.state
                done.payload, done.ttl = self._records.retry(envelope, error, execution.request)
            if hooks:
                cause = error.exc or error
                task.on_retry(cause, envelope.id, list(envelope.args), envelope.kwargs, ErrorInfo(cause))
        elif error is not None and execution.ending != "ignored":
            self._fail(execution, decision, done, error, hooks=hooks)
        return done

    def _succeed(self, execution: Execution, decision: Decision, done: Done, *, hooks: bool) -> None:
        envelope, task = execution.envelope, execution.task
        if decision.state:
            done.state = decision.state
            done.payload, done.ttl = self._records.success(envelope, execution.value, execution.request)
        embed = envelope.embed
        if embed.callbacks or embed.chain:
            done.then = self._follow.success(envelope, execution.value)
        if self._describe:
            done.summary = safe_repr(execution.value)
        if hooks:
            task.on_success(execution.value, envelope.id, list(envelope.args), envelope.kwargs)

    def _fail(
        self, execution: Execution, decision: Decision, done: Done, error: BaseException, *, hooks: bool
    ) -> None:
        envelope, task = execution.envelope, execution.task
        done.reason = error_line(error)
        if not isinstance(error, Reject):
            done.traceback = "" if isinstance(error, tuple(task.throws)) else traceback_text(error)
        if decision.state:
            done.state = decision.state
            done.payload, done.ttl = self._records.failure(envelope, error, execution.request)
        if decision.follow == "errbacks" and envelope.embed.errbacks:
            done.then = self._follow.failure(envelope)
        if hooks and not isinstance(error, Reject):
            task.on_failure(error, envelope.id, list(envelope.args), envelope.kwargs, ErrorInfo(error))

    def _after(self, execution: Execution, done: Done) -> None:
        envelope = execution.envelope
        outcome = execution.value if execution.error is None else execution.error
        info = None if execution.error is None else ErrorInfo(execution.error)
        state = done.state or {"success": "SUCCESS", "failure": "FAILURE", "retry": "RETRY"}.get(
            done.ending, "IGNORED"
        )
        try:
            execution.task.after_return(
                state, outcome, envelope.id, list(envelope.args), envelope.kwargs, info
            )
        except Exception:
            logger.exception("after_return of %s[%s] raised; the outcome stands.", envelope.task, envelope.id)


class _ThreadLoops:
    """One event loop for each thread that runs coroutine functions, so that what they keep open survives the call."""

    def __init__(self) -> None:
        self._runners: dict[int, asyncio.Runner] = {}

    def run(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run `coro` to its end in this thread's loop, in a copy of the current context."""
        thread = threading.get_ident()
        runner = self._runners.get(thread)
        if runner is None:
            runner = self._runners[thread] = asyncio.Runner()
        return runner.run(coro, context=contextvars.copy_context())
