"""``run_call``: from a message to an ending, in the child. Never raises; everything that can go wrong is an ending.

The values live here, so here they are encoded: the result, the next calls of a chain, the message of a retry. What
goes back to the node is bytes and a decision.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from umbel import integration
from umbel.codecs.protocol import decode_call
from umbel.codecs.reprs import safe_repr
from umbel.context import Request, running
from umbel.core.account import Account
from umbel.core.envelope import Envelope
from umbel.core.frame import FLOW_HEADER
from umbel.core.outcome import FAILURE
from umbel.core.policy import Decision, Rules, decide
from umbel.errors import (
    EncodeError,
    MessageError,
    NotRegistered,
    OperationalError,
    Reject,
    Retry,
    TaskRevokedError,
)
from umbel.execution import Attempt, begin, internal_error, raised, returned
from umbel.ports import Frame, Outgoing
from umbel.replacing import Replaced
from umbel.task import setting_of
from umbel.worker import limits
from umbel.worker.executions import Execution, Facts
from umbel.worker.follow import Failed, Following, FollowUps
from umbel.worker.ipc import Begun, Done, Handed, Progress, Report, text
from umbel.worker.joining import Joining, asks_the_store, is_in_workflow
from umbel.worker.outcomes import Records, close_account, error_line, traceback_text, utc_now
from umbel.worker.threads import Box, ThreadLoops

if TYPE_CHECKING:
    from umbel.app import Umbel

logger = logging.getLogger("umbel.worker")

SoftLimit = Callable[[float], AbstractContextManager[None]]


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
        self._joining = Joining(app, self._follow, self._records, in_child=True)
        self._loops = ThreadLoops()
        self.run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any] = self._loops.run
        """Runs an asynchronous task to its end in a thread of its own."""
        self._facts: dict[str, Facts] = {}
        self._coroutines: dict[int, asyncio.Task[Any]] = {}
        self.framework = integration.active()
        """Surrounds the runs."""

    # -- the two entrances -----------------------------------------------------------------------------

    def run(self, call: Handed) -> Done:
        """Run `call` in this thread; a coroutine function runs in a loop that belongs to the thread."""
        try:
            if self.framework is None:
                return self._run(call)
            with self.framework.around_task():
                return self._run(call)
        except BaseException as exc:  # noqa: BLE001 - a limit that strikes late, an exit in an odd place
            return self._broken(call, exc)

    def _run(self, call: Handed) -> Done:
        prepared = self._prepare(call)
        if isinstance(prepared, Done):
            return prepared
        if (around := prepared.facts.around) is not None:
            return around(prepared.request, partial(self._carry_out, prepared))
        return self._carry_out(prepared)

    def _carry_out(self, execution: Execution) -> Done:
        task, request = execution.task, execution.request
        with running(task, request):
            try:
                self._begin(execution)
                value = self._call(execution)
            except BaseException as exc:  # noqa: BLE001 - every way out of a task is an ending
                ended = raised(task, request, _from_the_task_on(exc))
            else:
                ended = returned(task, request, value)
            return self._finish(execution, ended)

    async def arun(self, call: Handed) -> Done:
        """Run `call` in this loop; a plain function runs in a thread."""
        try:
            return await self._arun(call)
        except asyncio.CancelledError:
            raise  # the child shuts down
        except BaseException as exc:  # noqa: BLE001
            return self._broken(call, exc)

    async def _arun(self, call: Handed) -> Done:
        prepared = self._prepare(call)
        if isinstance(prepared, Done):
            return prepared
        execution = prepared
        task, request = execution.task, execution.request
        with running(task, request):
            try:
                self._begin(execution)
                value = (
                    await self._cancellable(execution)
                    if task.is_async
                    else (await self._in_thread(execution)).open()
                )
            except BaseException as exc:  # noqa: BLE001 - every way out of a task is an ending
                ended = raised(task, request, _from_the_task_on(exc))
            else:
                ended = returned(task, request, value)
            if asks_the_store(execution.envelope.embed):
                # Which takes its time: this loop has others to run.
                return await asyncio.to_thread(self._finish, execution, ended)
            return self._finish(execution, ended)

    def leave(self) -> None:
        """This thread runs nothing more: close the loop in which it ran coroutine functions."""
        self._loops.close_mine()

    def _broken(self, call: Handed, exc: BaseException) -> Done:
        """The ending of a run that went wrong outside of its task: a failure like any other, and not silence."""
        frame = call.frame
        logger.error("Task %s[%s] ended in an odd place.", frame.task_name, frame.task_id, exc_info=exc)
        internal_error(self._app.tasks.get(frame.task_name), frame.task_id, exc)
        done = Done(call.seq, "failure", reason=error_line(exc), name=frame.task_name, task_id=frame.task_id)
        if frame.task_id:
            done.state = FAILURE
            done.payload, done.ttl = self._records.failure_of(frame.task_id, exc)
        return done

    # -- step by step ----------------------------------------------------------------------------------

    def _prepare(self, call: Handed) -> Execution | Done:
        started = time.perf_counter()
        frame = call.frame
        try:
            envelope = decode_call(frame, self._accept)
        except MessageError as exc:
            return self._refuse(call, exc)
        try:
            facts = self._facts_of(envelope.task)
        except NotRegistered as exc:
            why = f" {exc}" if exc.__cause__ is not None else ""
            return _parked(call, envelope, f"No worker here knows the task {envelope.task!r}.{why}")
        if call.queue and envelope.queue != call.queue:
            # Where Celery names exchange and routing key, the header is not the queue that a retry has to go back to.
            envelope = msgspec.structs.replace(envelope, queue=call.queue)
        request = Request.from_envelope(
            envelope, hostname=self._hostname, delivery_info=_delivery_info(frame, call)
        )
        request.deliveries = call.deliveries
        request.properties = frame.properties
        request.reporter = self._reporter(call.seq, envelope, request.account)
        ignore = envelope.ignore_result
        rules = facts.ignored if (facts.ignore_result if ignore is None else ignore) else facts.stored
        if not frame.task_name and (untimely := self._untimely(call, envelope, rules)) is not None:
            return untimely
        return Execution(
            call=call,
            envelope=envelope,
            facts=facts,
            task=facts.task,
            request=request,
            rules=rules,
            soft_limit=envelope.soft_time_limit or facts.soft_limit,
            hard_limit=envelope.time_limit or facts.hard_limit,
            started=started,
        )

    def _facts_of(self, name: str) -> Facts:
        """Raises NotRegistered."""
        task = self._app.tasks[name]
        facts = self._facts.get(name)
        if facts is None or facts.task is not task:
            stored = Rules(
                store_errors_even_if_ignored=bool(setting_of(task, "store_errors_even_if_ignored")),
            )
            facts = self._facts[name] = Facts(
                task=task,
                around=self._app.around_run(task),
                ignore_result=bool(setting_of(task, "ignore_result")),
                track_started=bool(setting_of(task, "track_started")),
                soft_limit=setting_of(task, "soft_time_limit"),
                hard_limit=setting_of(task, "time_limit"),
                stored=stored,
                ignored=msgspec.structs.replace(stored, ignore_result=True),
            )
        return facts

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

    def _untimely(self, call: Handed, envelope: Envelope, rules: Rules) -> Done | None:
        """The ending of a protocol 1 call that is not to run now: its times are in the body, which only we may read."""
        now = utc_now()
        if envelope.expires is not None and _aware(envelope.expires) <= now:
            decision = decide("expired", rules)
            done = Done(call.seq, "expired", settle=decision.settle, name=envelope.task, task_id=envelope.id)
            done.reason = f"expired at {envelope.expires.isoformat()}"
            if decision.state:
                done.state = decision.state
                error = TaskRevokedError("expired")
                done.payload, done.ttl = self._records.ended(envelope, decision.state, error)
            return done
        if envelope.eta is not None and (wait := (_aware(envelope.eta) - now).total_seconds()) > 0:
            done = Done(call.seq, "scheduled", settle="retry", name=envelope.task, task_id=envelope.id)
            done.reason = f"due at {envelope.eta.isoformat()}"
            done.replacement = Outgoing(
                frame=call.frame, queue=envelope.queue, priority=envelope.priority, due_in=wait
            )
            return done
        return None

    def _reporter(
        self, seq: int, envelope: Envelope, account: Account | None
    ) -> Callable[[str, Any, str | None], None]:
        def report(state: str, meta: Any, other_id: str | None) -> None:
            if not isinstance(state, str):
                raise TypeError(f"The state of a task is a string, not {type(state).__name__} {state!r}.")
            if other_id is None:
                payload, ttl = self._records.own_state(envelope, state, meta, account)
            else:
                payload, ttl = self._records.state(other_id, state, meta)
            self._report(Progress(seq, other_id or envelope.id, state, payload, ttl))

        return report

    def _begin(self, execution: Execution) -> None:
        call, task, request = execution.call, execution.task, execution.request
        if request.account is not None:
            request.account.catch_up(call.deliveries)
            request.account.begin(self._hostname, utc_now().isoformat())
        if call.report_begin:
            payload = ttl = None
            if execution.facts.track_started and not execution.rules.ignore_result:
                payload, ttl = self._records.started(execution.envelope, request.account)
            self._report(Begun(call.seq, payload, ttl, execution.hard_limit))
        begin(task, request)

    def _call(self, execution: Execution) -> Any:
        task, envelope = execution.task, execution.envelope
        if task.is_async:
            return self.run_coroutine(self._awaited(execution))
        if not execution.soft_limit:
            return task(*envelope.args, **envelope.kwargs)
        with self._soft_limit(execution.soft_limit):
            return task(*envelope.args, **envelope.kwargs)

    async def _in_thread(self, execution: Execution) -> Box:
        def run() -> Box:
            try:
                if self.framework is None:
                    return Box(self._call(execution))
                with self.framework.around_task():
                    return Box(self._call(execution))
            except BaseException as exc:  # noqa: BLE001 - raised again by open()
                return Box(error=exc)

        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(None, context.run, run)

    def cancel(self, seq: int) -> None:
        """Cancel the call `seq` if it is a coroutine that ``arun`` awaits. A function in a thread goes on."""
        task = self._coroutines.get(seq)
        if task is not None:
            task.cancel()

    async def _cancellable(self, execution: Execution) -> Any:
        task, seq = asyncio.current_task(), execution.call.seq
        assert task is not None
        self._coroutines[seq] = task
        try:
            return await self._awaited(execution)
        finally:
            del self._coroutines[seq]

    async def _awaited(self, execution: Execution) -> Any:
        if self.framework is None:
            return await self._result_of(execution)
        async with self.framework.around_coroutine():
            return await self._result_of(execution)

    async def _result_of(self, execution: Execution) -> Any:
        envelope = execution.envelope
        made = execution.task(*envelope.args, **envelope.kwargs)
        if not inspect.isawaitable(made):
            return made
        if execution.soft_limit and inspect.iscoroutine(made):
            return await limits.in_coroutine(made, execution.soft_limit)
        return await made

    def _finish(self, execution: Execution, ended: Attempt) -> Done:
        try:
            done = self._encode(execution, ended)
        except OperationalError as exc:
            done = self._unstored(execution, exc)
        except Exception as exc:  # noqa: BLE001
            # The value cannot be written, or what follows from it cannot: the run has failed by that.
            execution.request.pending_retry = None
            done = self._failed_to_say(execution, exc)
        done.runtime = time.perf_counter() - execution.started
        return done

    def _failed_to_say(self, execution: Execution, exc: Exception) -> Done:
        try:
            return self._encode(execution, Attempt("failure", exc=exc))
        except OperationalError as unstored:
            return self._unstored(execution, unstored)

    def _unstored(self, execution: Execution, exc: OperationalError) -> Done:
        """The run has ended, and what follows from it cannot be stored: it is delivered again."""
        envelope = execution.envelope
        return Done(
            execution.call.seq,
            "interrupted",
            settle="release",
            counted=True,
            reason=f"its ending could not be stored: {exc}",
            name=envelope.task,
            task_id=envelope.id,
        )

    def _encode(self, execution: Execution, ended: Attempt) -> Done:
        envelope, request, error = execution.envelope, execution.request, ended.exc
        if request.pending_retry is not None and ended.ending in ("success", "failure"):
            ended = Attempt("retry", exc=request.pending_retry)
            error = ended.exc
        if request.account is not None:
            close_account(request.account, error)
            envelope = msgspec.structs.replace(envelope, headers=request.account.in_headers(envelope.headers))
        requeue = isinstance(error, Reject) and error.requeue
        decision = decide(ended.ending, execution.rules, requeue=requeue)
        done = Done(
            execution.call.seq,
            ended.ending,
            settle=decision.settle,
            counted=decision.counted,
            name=envelope.task,
            task_id=envelope.id,
        )
        if ended.ending == "success":
            self._succeed(execution, decision, done, ended.value)
        elif isinstance(error, Retry):
            done.replacement = self._follow.retry(envelope, error)
            if FLOW_HEADER in execution.call.frame.headers:
                done.replacement.frame.headers[FLOW_HEADER] = 1
            done.reason = _said(error)
            if decision.state:
                done.state = decision.state
                done.payload, done.ttl = self._records.retry(envelope, error, request)
        elif isinstance(error, Replaced):
            kept = FLOW_HEADER in execution.call.frame.headers
            self._add(execution, done, self._follow.begin(error.begun, keep=kept))
        elif error is not None and ended.ending != "ignored":
            self._fail(execution, decision, done, error)
        return done

    def _add(self, execution: Execution, done: Done, following: Following) -> None:
        """Let `following` travel with `done`."""
        done.then += following.messages
        done.records += [(r.task_id, r.state, r.payload, r.ttl) for r in following.records]
        done.joined = following.joined or done.joined
        if execution.task.trail:
            execution.request.children += following.results

    def _succeed(self, execution: Execution, decision: Decision, done: Done, value: Any) -> None:
        envelope = execution.envelope
        embed = envelope.embed
        if embed.callbacks or embed.chain:
            self._add(execution, done, self._follow.success(envelope, value))
        if embed.chord is not None:
            self._add(execution, done, self._joining.succeeded(envelope, value))
        if decision.state:
            done.state = decision.state
            done.payload, done.ttl = self._records.success(envelope, value, execution.request)
        if self._describe:
            done.summary = text(safe_repr(value))

    def _fail(self, execution: Execution, decision: Decision, done: Done, error: BaseException) -> None:
        envelope = execution.envelope
        # An EncodeError says in its one line what is wrong with the result; its traceback shows only our own frames.
        expected: tuple[type[BaseException], ...] = (Reject, EncodeError, *execution.task.throws)
        done.reason = error_line(error)
        done.traceback = "" if isinstance(error, expected) else traceback_text(error)
        if decision.state:
            done.state = decision.state
            done.payload, done.ttl = self._records.failure(envelope, error, execution.request)
        if decision.follow == "errbacks" and envelope.embed.errbacks:
            failed = Failed(execution.request, error, traceback_text(error))
            self._add(execution, done, self._follow.failure(envelope, failed))
        if envelope.embed.chord is not None or envelope.embed.chain:
            self._add(execution, done, self._joining.failed(envelope, FAILURE, error))
        if (
            done.settle == "ack"
            and self._app.conf.flow_keep_failed
            and is_in_workflow(execution.envelope, execution.call.frame)
        ):
            done.settle, done.reason = "bury", f"failure: {done.reason}"


_OWN_CODE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _from_the_task_on(exc: BaseException) -> BaseException:
    """`exc` without the frames of the worker above the task's own: nobody looks for their error there."""
    step = exc.__traceback__
    while step is not None and step.tb_frame.f_code.co_filename.startswith(_OWN_CODE):
        step = step.tb_next
    return exc.with_traceback(step) if step is not None else exc


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _delivery_info(frame: Frame, call: Handed) -> dict[str, Any]:
    told = frame.properties.get("delivery_info")
    return {
        **(told if isinstance(told, dict) else {}),
        "priority": frame.properties.get("priority", 0),
        "redelivered": call.deliveries > 1,
    }


def _parked(call: Handed, envelope: Envelope, reason: str) -> Done:
    return Done(call.seq, "unknown", settle="park", reason=reason, name=envelope.task, task_id=envelope.id)


def _said(retry: Retry) -> str:
    """What a retry says of itself, whatever the error behind it does when it is asked for its repr."""
    try:
        return text(str(retry))
    except Exception:  # noqa: BLE001 - the code of the task's own exception
        return f"Retry: {type(retry.exc).__name__}"
