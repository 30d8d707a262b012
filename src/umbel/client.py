"""Sends calls: the batch, the deadline, and who is told."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from umbel import faults, portal
from umbel.calls import Planner, Prepared, published
from umbel.context import current_run, state
from umbel.core.envelope import Envelope
from umbel.errors import BrokerUnavailable, CallError, Retry
from umbel.flow.launch import Launch
from umbel.flow.signature import Signature
from umbel.groups import result_of
from umbel.ports import Outgoing
from umbel.receiving import tell_sent
from umbel.result import AsyncResult
from umbel.signals import after_task_publish

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.config import Config
    from umbel.task import Task

__all__ = ["Client"]

Options = Mapping[str, Any]


class Client:
    """Sends the calls of one app. Safe in threads, in coroutines and in forked children."""

    def __init__(self, app: Umbel) -> None:
        self._app = app
        self.planner = Planner(app)
        self.prepare = self.planner.prepare
        self._senders = _Senders()
        self.on_sent: Callable[[], None] | None = None
        """Called in the sender's thread when a batch has been stored; for tests."""

    # -- one call

    def call(
        self, task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], options: Options | None
    ) -> AsyncResult[Any]:
        """Send one call of `task`; behind ``delay`` and ``apply_async``. Errors: see ``Task.delay``."""
        if self._app.conf.task_always_eager:
            return self._app.run_eagerly(task, args, kwargs, options or {}, travelled=True)
        prepared = self.prepare(task.name, args, kwargs, options, task)
        self.send([prepared.outgoing], options)
        return _sent(prepared, options)

    async def acall(
        self, task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], options: Options | None
    ) -> AsyncResult[Any]:
        """``call`` for coroutines."""
        if self._app.conf.task_always_eager:
            return await self._app.arun_eagerly(task, args, kwargs, options or {})
        prepared = self.prepare(task.name, args, kwargs, options, task)
        await self.asend([prepared.outgoing], options)
        return _sent(prepared, options)

    # -- many

    def call_many(
        self, task: Task[..., Any], calls: Iterable[Sequence[Any]], options: Options
    ) -> list[AsyncResult[Any]]:
        """Send a call of `task` for each of `calls`, in one batch."""
        if self._app.conf.task_always_eager:
            return [self._app.run_eagerly(task, args, {}, options, travelled=True) for args in calls]
        return self.send_prepared(self._prepare_many(task, calls, options), options)

    async def acall_many(
        self, task: Task[..., Any], calls: Iterable[Sequence[Any]], options: Options
    ) -> list[AsyncResult[Any]]:
        """``call_many`` for coroutines."""
        if self._app.conf.task_always_eager:
            return [await self._app.arun_eagerly(task, args, {}, options) for args in calls]
        return await self.asend_prepared(self._prepare_many(task, calls, options), options)

    def _prepare_many(
        self, task: Task[..., Any], calls: Iterable[Sequence[Any]], options: Options
    ) -> list[Prepared]:
        if options.get("task_id"):
            raise CallError("task_id names one call; a bulk send makes an id for each of its calls.")
        return [self.prepare(task.name, args, {}, options, task) for args in calls]

    # -- by name

    def send_task(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> AsyncResult[Any]:
        """Behind ``app.send_task``."""
        return self.send_prepared([self._prepare_by_name(name, args, kwargs, options)], options)[0]

    async def asend_task(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> AsyncResult[Any]:
        """``send_task`` for coroutines."""
        return (await self.asend_prepared([self._prepare_by_name(name, args, kwargs, options)], options))[0]

    def _prepare_by_name(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> Prepared:
        return self.prepare(name, args, kwargs, options, self._app.tasks.get(name))

    def prepare_signature(self, signature: Signature) -> Prepared:
        """``prepare`` for a signature. The name of a task that is not registered here is enough."""
        task = self._app.tasks.get(signature.task)
        return self.prepare(signature.task, signature.args, signature.kwargs, signature.options, task)

    def send_prepared(
        self, batch: Sequence[Prepared], options: Options | None = None
    ) -> list[AsyncResult[Any]]:
        """Store calls that are ready, all of them or none."""
        if batch:
            self.send([prepared.outgoing for prepared in batch], options)
        return [_sent(prepared, options) for prepared in batch]

    async def asend_prepared(
        self, batch: Sequence[Prepared], options: Options | None = None
    ) -> list[AsyncResult[Any]]:
        """``send_prepared`` for coroutines."""
        if batch:
            await self.asend([prepared.outgoing for prepared in batch], options)
        return [_sent(prepared, options) for prepared in batch]

    # -- workflows

    def send_launch(self, begun: Launch, options: Options | None = None) -> Any:
        """Send what a workflow begins with, in one batch. Returns its result."""
        ready, apart = self._ready(begun)
        result = result_of(begun.promise, self._app)
        self.open_joins(begun)
        if ready:
            self.send([prepared.outgoing for prepared in ready], options)
        for prepared in ready:
            _told(prepared)
        for task, call in apart:
            task.apply_async(call.args, call.kwargs, **call.options, add_to_parent=False)
        return _trailed(result, options)

    def open_joins(self, begun: Launch) -> None:
        """Let the calls of `begun` meet where they are to meet."""
        if begun.joins:
            self._app.store.open_joins_now(begun.joins, ttl=self._app.conf.result_expires)
        for promise in begun.nested:
            result_of(promise, self._app).save()

    async def asend_launch(self, begun: Launch, options: Options | None = None) -> Any:
        """``send_launch`` for coroutines."""
        ready, apart = self._ready(begun)
        result = result_of(begun.promise, self._app)
        if begun.joins:
            await asyncio.to_thread(self.open_joins, begun)
        if ready:
            await self.asend([prepared.outgoing for prepared in ready], options)
        for prepared in ready:
            _told(prepared)
        for task, call in apart:
            await task.aapply_async(call.args, call.kwargs, **call.options, add_to_parent=False)
        return _trailed(result, options)

    def _ready(self, begun: Launch) -> tuple[list[Prepared], list[tuple[Task[..., Any], Signature]]]:
        """The calls that can go in one batch; those whose tasks have a way of their own to be sent."""
        ready, apart = [], []
        for call in begun.calls:
            task = self._app.tasks.get(call.task)
            if task is not None and task.sends_itself:
                apart.append((task, call))
            else:
                ready.append(self.prepare(call.task, call.args, call.kwargs, call.options, task))
        return ready, apart

    # -- to the broker

    def send(self, batch: Sequence[Outgoing], options: Options | None = None) -> None:
        """``send_now``, unless the web framework takes the batch over, for the end of its transaction."""
        framework = state.integration
        if framework is None or not framework.take_over(self._app, batch, options):
            self.send_now(batch, options)

    def send_now(self, batch: Sequence[Outgoing], options: Options | None = None) -> None:
        """Store `batch`. Raises BrokerUnavailable when that has not worked within ``broker_send_timeout`` seconds."""
        left = self._app.conf.broker_send_timeout
        begun, deadline = time.monotonic(), None
        while True:
            try:
                faults.point("client.prepared")
                self._app.broker.send_now(batch, timeout=left or None)
                faults.point("client.sent")
                break
            except BrokerUnavailable as exc:
                deadline = deadline or _Deadline(self._app.conf, options, begun)
                time.sleep(deadline.pause_after(exc))
                left = deadline.left()
        if self.on_sent is not None:
            self.on_sent()
        if self._app.conf.task_send_sent_event:
            portal.run(tell_sent(self._app, batch))

    async def asend(self, batch: Sequence[Outgoing], options: Options | None = None) -> None:
        """``send`` for coroutines, on any event loop."""
        framework = state.integration
        if framework is None or not await framework.atake_over(self._app, batch, options):
            await self.asend_now(batch, options)

    async def asend_now(
        self, batch: Sequence[Outgoing], options: Options | None = None, *, apart: bool = False
    ) -> None:
        """``send_now`` for coroutines, on any event loop. `apart`: on the broker's own connection, not on one of a thread."""
        left = self._app.conf.broker_send_timeout
        begun, deadline = time.monotonic(), None
        while True:
            try:
                if not apart and self._senders.take():
                    await self._senders.run(partial(self._app.broker.send_now, batch, timeout=left or None))
                else:
                    await portal.arun(self._send_on_portal(batch, left or None))
                break
            except BrokerUnavailable as exc:
                deadline = deadline or _Deadline(self._app.conf, options, begun)
                await asyncio.sleep(deadline.pause_after(exc))
                left = deadline.left()
        if self._app.conf.task_send_sent_event:
            await portal.arun(tell_sent(self._app, batch))

    async def _send_on_portal(self, batch: Sequence[Outgoing], timeout: float | None) -> None:
        broker, begun = self._app.broker, time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                await broker.open()
        except TimeoutError:
            raise BrokerUnavailable(f"{broker.url} did not answer within {timeout:.3g} s.") from None
        if timeout is not None:
            timeout = max(timeout - (time.monotonic() - begun), 0.001)
        await broker.send(batch, timeout=timeout)

    # -- what workers send

    def next_try(self, envelope: Envelope, retry: Retry) -> Outgoing:
        """The message that replaces the one of `envelope`, whose run has asked for `retry`.

        It keeps the id, the root and what follows the call; its ``parent_id`` is its own id, as Celery has it.
        """
        details = retry.options
        args, kwargs = details.get("args"), details.get("kwargs")
        options = {**_options_of(envelope), **(details.get("options") or {})}
        if isinstance(retry.when, datetime):
            options["eta"] = retry.when
        else:
            options["countdown"] = retry.when
        if args is None and kwargs is None:
            # What was shown of the arguments, perhaps without their secrets, still fits.
            options = {"argsrepr": envelope.argsrepr, "kwargsrepr": envelope.kwargsrepr, **options}
        prepared = self.prepare(
            envelope.task,
            envelope.args if args is None else args,
            envelope.kwargs if kwargs is None else kwargs,
            options,
            self._app.tasks.get(envelope.task),
            retries=details.get("retries", envelope.retries + 1),
        )
        return prepared.outgoing


def _options_of(envelope: Envelope) -> dict[str, Any]:
    """The options under which a call like `envelope` is made again."""
    return {
        "task_id": envelope.id,
        "queue": envelope.queue,
        "priority": envelope.priority,
        "expires": envelope.expires,
        "headers": envelope.headers,
        "ignore_result": envelope.ignore_result,
        "time_limit": envelope.time_limit,
        "soft_time_limit": envelope.soft_time_limit,
        "root_id": envelope.root_id or envelope.id,
        "parent_id": envelope.id,
        "group_id": envelope.group_id,
        "group_index": envelope.group_index,
        "shadow": envelope.shadow,
        "reply_to": envelope.reply_to,
        "replaced_task_nesting": envelope.replaced_task_nesting,
        "stamps": envelope.stamps,
        "stamped_headers": envelope.stamped_headers,
        "link": envelope.embed.callbacks,
        "link_error": envelope.embed.errbacks,
        "chain": envelope.embed.chain,
        "chord": envelope.embed.chord,
    }


def _told(prepared: Prepared) -> None:
    """Tell whoever listens that a call has been sent."""
    if after_task_publish.receivers:
        told = published(prepared.envelope, prepared.outgoing.frame)
        after_task_publish.send(prepared.envelope.task, **told)


def _sent(prepared: Prepared, options: Options | None) -> AsyncResult[Any]:
    """The result of a call that has been sent."""
    _told(prepared)
    _trailed(prepared.result, options)
    return prepared.result


def _trailed(result: Any, options: Options | None) -> Any:
    """`result`; the run that made the call, if any, gets it among its children."""
    run = current_run()
    if run is not None and run.task.trail and not (options and options.get("add_to_parent") is False):
        run.request.children.append(result)
    return result


class _Senders:
    """A few threads that send for coroutines.

    For one coroutine that is three times as quick as the portal's loop, whose connection many at a time share with
    less effort: who finds all threads in use goes there.
    """

    _THREADS = 4

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._pool = ThreadPoolExecutor(self._THREADS, thread_name_prefix="umbel-send")
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._THREADS):
            self._free.put(None)

    def take(self) -> bool:
        """Whether one is free; it is the caller's then, who must ``run`` something."""
        if self._pid != os.getpid():  # the threads of the parent are not here
            self._begin()
        try:
            self._free.get_nowait()
        except Empty:
            return False
        return True

    async def run(self, send: Callable[[], None]) -> None:
        """Have ``send()`` called in the thread that was taken. When this is cancelled, it is sent all the same."""
        free = self._free
        try:
            sending = self._pool.submit(send)
        except BaseException:  # the interpreter is about to end, or there is no room for a thread
            free.put(None)
            raise
        sending.add_done_callback(lambda _: free.put(None))
        await asyncio.wrap_future(sending)


class _Deadline:
    """Decides after each failure to send: how long to pause, or that it is over."""

    def __init__(self, conf: Config, options: Options | None, begun: float) -> None:
        options = options or {}
        policy = {**conf.task_publish_retry_policy, **(options.get("retry_policy") or {})}
        self._most = policy.get("max_retries") if options.get("retry", conf.task_publish_retry) else 0
        self._step = float(policy.get("interval_step") or 0.0)
        self._longest = float(policy.get("interval_max") or 0.0)
        self._pause = float(policy.get("interval_start") or 0.0)
        self._tries = 0
        self._until: float = begun + conf.broker_send_timeout

    def pause_after(self, exc: BrokerUnavailable) -> float:
        """Seconds to wait before the next try. Raises BrokerUnavailable when there is none.

        There is none after a try whose answer was lost: the message may lie in its queue, or be running already, and a
        second copy of it would run too.
        """
        self._tries += 1
        if exc.in_doubt:
            error = BrokerUnavailable(
                f"The message may have been sent, or not: {exc} It is not sent again, because its task might run twice; "
                "with a task_id of your own, app.AsyncResult(task_id).known() tells."
            )
            error.in_doubt = True
            raise error from exc
        pause = min(self._pause, self._longest) if self._longest else self._pause
        spent = self._most is not None and self._tries > self._most
        if exc.refused or spent or time.monotonic() + pause >= self._until:
            tries = "1 try" if self._tries == 1 else f"{self._tries} tries"
            error = BrokerUnavailable(f"Nothing was sent, after {tries}: {exc}")
            error.refused = exc.refused
            raise error from exc
        self._pause += self._step
        return pause

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(self._until - time.monotonic(), 0.001)
