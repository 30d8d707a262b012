"""For tests of programs: what tasks were sent, and running them here, one by one, on a clock that the test moves.

The queue is ``memory://``, the messages are real, and a run takes the steps that it takes in a worker; only the processes are
missing, and the waiting.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from umbel import integration, portal
from umbel.backends.memory.broker import MemoryBroker
from umbel.backends.memory.place import StoppedClock, forget_memory, named_place
from umbel.backends.memory.store import MemoryStore
from umbel.codecs.protocol import decode_call, encode_call
from umbel.core.envelope import Envelope
from umbel.errors import NotRegistered, TaskError
from umbel.ports import Delivery, Outgoing
from umbel.task import Task
from umbel.testing.steps import Steps
from umbel.testing.worker import InProcessWorker, start_worker

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["RanTask", "SentTask", "TaskRecorder", "record_tasks"]

Mode = Literal["manual", "inline"]
MOST_RUNS = 1000
"""Runs after which ``run()`` takes it that tasks send one another without end."""
_numbers = itertools.count(1)


class SentTask(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it was sent: its arguments have been through the message and back."""

    task: str
    id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    countdown: float | None
    """Seconds from the sending until it was due; None: at once."""
    headers: dict[str, Any]
    """Headers of one's own."""
    envelope: Envelope
    """Everything that the message says."""


class RanTask(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a call."""

    task: str
    id: str
    ending: str
    """``success``, ``failure``, ``retry``, ``ignored``, ``rejected``, ``revoked``, ``expired``, ``unknown`` and so on."""
    result: Any = None
    """What the function returned, after the way through the result store; None when no result is kept."""
    error: str = ""
    """Why it was no success: one line."""
    traceback: str = ""
    retries: int = 0
    """How many tries there were before this one."""
    countdown: float | None = None
    """Of a retry: seconds until the next try."""


class TaskRecorder:
    """See ``record_tasks``."""

    def __init__(self, app: Umbel, name: str, mode: Mode) -> None:
        self.app = app
        self.sent: list[SentTask] = []
        """Every call that was sent, in order, those by tasks included; retries are not among them."""
        self.ran: list[RanTask] = []
        """Every run by ``run``, ``advance`` and ``drain``, in order."""
        self._clock = StoppedClock()
        self._place = named_place(name)
        self._place.set_clock(self._clock)
        self._place.on_add = self._record
        self._broker = MemoryBroker(name)
        self._broker.adopt(MemoryStore(name))
        self._mode = mode
        self._running = False
        self._steps: Steps | None = None

    def _record(self, out: Outgoing, again: bool) -> None:
        if again:
            return
        call = decode_call(out.frame, [out.frame.content_type])
        self.sent.append(
            SentTask(
                task=call.task,
                id=call.id,
                args=call.args,
                kwargs=call.kwargs,
                queue=out.queue,
                priority=out.priority,
                countdown=out.due_in,
                headers=call.headers,
                envelope=call,
            )
        )

    # -- what was sent

    def of(self, task: Task[..., Any] | str) -> list[SentTask]:
        """The calls of one task."""
        name = _name(task)
        return [call for call in self.sent if call.task == name]

    def assert_sent(self, task: Task[..., Any] | str, /, *args: Any, **kwargs: Any) -> SentTask:
        """That `task` was sent; with arguments: with these, by position or by name. Returns the last such call.

        Queue, countdown and the like are attributes of what it returns.
        """
        calls = self.of(task)
        if args or kwargs:
            wanted = self._bound(_name(task), *self._travelled(args, kwargs))
            calls = [call for call in calls if self._bound(call.task, call.args, call.kwargs) == wanted]
        if not calls:
            what = _call(_name(task), args, kwargs) if args or kwargs else _name(task)
            raise AssertionError(f"{what} was not sent. {self._said()}")
        return calls[-1]

    def assert_not_sent(self, task: Task[..., Any] | str | None = None) -> None:
        """That `task` was not sent; without one: that nothing was."""
        calls = self.sent if task is None else self.of(task)
        if calls:
            what = "Something" if task is None else _name(task)
            raise AssertionError(f"{what} was sent. {self._said()}")

    def clear(self) -> None:
        """Forget what was sent and what ran, and delete what waits. The clock stays where it is."""
        portal.run(self._broker.purge(list(self._place.known_queues)))
        self.sent.clear()
        self.ran.clear()

    def _bound(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        task = self.app.tasks.get(name)
        if task is None or task.arguments is None:
            return args, kwargs
        try:
            bound = task.arguments.signature.bind(*args, **kwargs)
        except TypeError:
            return args, kwargs
        bound.apply_defaults()
        return dict(bound.arguments)

    def _travelled(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a message makes of arguments: tuples become lists, and so on."""
        envelope = Envelope(id="expected", task="expected", args=args, kwargs=kwargs)
        frame = encode_call(envelope, serializer=self.app.conf.task_serializer)
        call = decode_call(frame, [frame.content_type])
        return call.args, call.kwargs

    def _said(self) -> str:
        if not self.sent:
            return "Nothing was sent at all" + (
                ": this thread is in a transaction, and calls wait for its end. In a TestCase of Django's: with "
                "self.captureOnCommitCallbacks(execute=True)."
                if (framework := integration.active()) is not None and framework.in_transaction()
                else "."
            )
        lines = (f"  {_call(call.task, call.args, call.kwargs)}" for call in self.sent)
        return "Sent were:\n" + "\n".join(lines)

    # -- running

    def run(self, *, propagate: bool = True, limit: int = MOST_RUNS) -> list[RanTask]:
        """Run what is due, in the order of service, and what that sends, until nothing is due. Returns the runs.

        `propagate`: raise the exception of a task that has failed for good, as its caller would get it, at once.
        Raises RuntimeError after `limit` runs.
        """
        return list(self._run_due(propagate, limit))

    def advance(
        self, seconds: float | timedelta, *, propagate: bool = True, limit: int = MOST_RUNS
    ) -> list[RanTask]:
        """Let so much time have passed: run what is due now and what becomes due on the way, each at its time.

        Only the queue's clock is moved (countdown, eta, retries, expiry of messages and of results), not Python's.
        """
        left = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
        ran = self.run(propagate=propagate, limit=limit)
        while (due := self._next_due()) is not None and due <= left:
            self._move(due)
            left -= due
            ran += self.run(propagate=propagate, limit=limit)
        self._move(left)
        return ran + self.run(propagate=propagate, limit=limit)

    def drain(self, *, propagate: bool = True, limit: int = MOST_RUNS) -> list[RanTask]:
        """Run everything, however far in the future it is due, retries included."""
        ran = self.run(propagate=propagate, limit=limit)
        while (due := self._next_due()) is not None:
            if len(ran) >= limit:
                raise _endless(limit)
            ran += self.advance(due, propagate=propagate, limit=limit)
        return ran

    def _next_due(self) -> float | None:
        """Seconds until the next scheduled message is due."""
        with self._place.use() as place:
            return max(place.scheduled[0][0] - self._clock.now(), 0.0) if place.scheduled else None

    def _move(self, seconds: float) -> None:
        with self._place.use() as place:
            self._clock.advance(seconds)
            place.changed()

    def _run_due(self, propagate: bool, limit: int) -> Iterator[RanTask]:
        if self._running:
            raise RuntimeError("A task tries to run the queue that it is run by.")
        self._running = True
        try:
            for number in itertools.count(1):
                (delivery,) = self._reserve() or (None,)
                if delivery is None:
                    return
                if number > limit:
                    raise _endless(limit)
                ended = self._run_one(delivery)
                self.ran.append(ended)
                if propagate and ended.ending not in ("success", "retry", "ignored", "revoked", "expired"):
                    self._raise(ended)
                yield ended
        finally:
            self._running = False

    def _reserve(self) -> Collection[Delivery]:
        queues = sorted(self._place.known_queues)
        return portal.run(self._broker.reserve(queues, limit=1, lease=86400.0, wait=0.0))

    def _run_one(self, delivery: Delivery) -> RanTask:
        framework = integration.active()
        around: AbstractContextManager[None] = (
            nullcontext() if framework is None else framework.around_test_run()
        )
        self._steps = self._steps or Steps(self.app)
        outcome = self._steps.run(delivery, self._broker.now(), around)
        portal.run(self._broker.settle([outcome.settlement]))
        frame = delivery.frame
        known = self.app.AsyncResult(frame.task_id) if frame is not None and frame.task_id else None
        kept = outcome.ending == "success" and known is not None and known.exists()
        return RanTask(
            task=outcome.task,
            id=frame.task_id if frame is not None else "",
            ending=outcome.ending,
            result=known.result if kept and known is not None else None,
            error=outcome.error,
            traceback=outcome.traceback,
            retries=frame.headers.get("retries") or 0 if frame is not None else 0,
            countdown=outcome.countdown,
        )

    def _raise(self, ended: RanTask) -> None:
        if ended.ending == "unknown":
            raise NotRegistered(f"{ended.error} It was sent, and would be parked until a worker knows it.")
        known = self.app.AsyncResult(ended.id) if ended.id else None
        stored = known.result if known is not None and known.ready() else None
        error = stored if isinstance(stored, BaseException) else TaskError(f"{ended.task}: {ended.error}")
        error.add_note(
            f"It was raised by {ended.task}[{ended.id}], run by the test.\n{ended.traceback}".rstrip()
        )
        raise error

    def on_sent(self) -> None:
        """A batch was stored."""
        if self._mode == "inline" and not self._running:
            self.run()

    # -- a worker

    @contextmanager
    def worker(self, *, concurrency: int = 1, pool: str = "threads") -> Iterator[InProcessWorker]:
        """A real worker of this queue, in threads of this process, for the length of the block; see ``start_worker``.

        It waits for the clock as everything does: ``advance`` moves it.
        """
        framework = integration.active()
        if framework is not None and framework.in_transaction():
            raise RuntimeError(
                "This test runs in a transaction, and the threads of a worker would not see what it writes. Use "
                "TransactionTestCase, or @pytest.mark.django_db(transaction=True); or run the tasks here, with run()."
            )
        with start_worker(self.app, concurrency=concurrency, pool=pool) as worker:
            yield worker

    def close(self) -> None:
        """Let go of what runs had opened."""
        if self._steps is not None:
            self._steps.close()


@contextmanager
def record_tasks(app: Umbel, *, mode: Mode = "manual") -> Iterator[TaskRecorder]:
    """For the length of the block, calls of `app` go into a queue of the test's own, where it can look at them and run them::

        with record_tasks(app) as tasks:
            register("ada@example.org")
            tasks.assert_sent(send_welcome, "ada@example.org")
            tasks.run()

    `mode`: ``"manual"``, tasks run when the test says so; ``"inline"``, as soon as they are sent (what coroutines send, and
    what threads of others send, waits for ``run()``). Arguments and results go through their serializers in any case.
    """
    name = f"umbel-testing-{next(_numbers)}"
    settings = {
        "broker_url": f"memory://{name}",
        "result_backend": f"memory://{name}",
        "task_always_eager": False,
    }
    with app.conf.overridden(**settings):
        app.finalize()
        recorder = TaskRecorder(app, name, mode)
        before = app.client.on_sent
        app.client.on_sent = recorder.on_sent
        try:
            yield recorder
        finally:
            app.client.on_sent = before
            recorder.close()
            forget_memory(name)


def _name(task: Task[..., Any] | str) -> str:
    return task if isinstance(task, str) else task.name


def _call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    given = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"{name}({', '.join(given)})"


def _endless(limit: int) -> RuntimeError:
    return RuntimeError(
        f"{limit} tasks have run, and more are due: does a task send itself? If it is as it should be, give a larger limit."
    )
