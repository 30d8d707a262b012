"""What is asked of the store and the broker about calls, by their ids. Coroutines run on the portal."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from umbel import portal
from umbel.codecs.results import state_of
from umbel.core.outcome import READY_STATES, SUCCESS
from umbel.core.stamps import marks_of
from umbel.ports import Located, Record, Signal

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Feed", "final_for", "find", "forget", "put", "rerun", "revoke", "revoke_stamped", "watch"]

_ALL_DEAD = 1_000_000


def state_reader(app: Umbel) -> Callable[[bytes], str]:
    """Reads the state in a payload."""
    serializer = app.conf.result_serializer
    accept = app.conf.result_accept_content
    accepted = app.conf.accept_content if accept is None else accept
    return lambda payload: state_of(payload, serializer, accepted)


def final_for(app: Umbel) -> Callable[[bytes], bool]:
    """Tells whether a payload is of a call that has ended."""
    state = state_reader(app)
    return lambda payload: state(payload) in READY_STATES


async def watch(
    app: Umbel,
    task_ids: set[str],
    timeout: float | None,
    tell: Callable[[tuple[str, bytes]], None] = lambda record: None,
) -> dict[str, bytes]:
    """The final payloads of `task_ids`, as far as they come within `timeout`; `tell` gets each when it comes."""
    final, store = final_for(app), app.store
    found: dict[str, bytes] = {}

    def take(task_id: str, payload: bytes) -> None:
        if task_id not in found and final(payload):
            found[task_id] = payload
            tell((task_id, payload))

    scope = asyncio.timeout(timeout)
    try:
        async with scope:
            await store.open()
            async with contextlib.aclosing(_generator(store.watch(task_ids))) as records:
                async for task_id, payload in records:
                    take(task_id, payload)
                    if len(found) == len(task_ids):
                        return found
    except TimeoutError:
        if not scope.expired():
            raise
    # However short the time was: what is there is found. That some are missing is for the caller to say.
    await store.open()
    for task_id, payload in (await store.get([i for i in task_ids if i not in found])).items():
        take(task_id, payload)
    return found


async def _generator(records: AsyncIterator[tuple[str, bytes]]) -> AsyncGenerator[tuple[str, bytes], None]:
    """`records` with an ``aclose`` in any case."""
    try:
        async for record in records:
            yield record
    finally:
        close = getattr(records, "aclose", None)
        if close is not None:
            await close()


class Feed:
    """``watch`` for synchronous callers who want each record when it comes: iterate it within ``with``."""

    def __init__(self, app: Umbel, task_ids: set[str], timeout: float | None) -> None:
        self._news: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._watching = portal.submit(watch(app, task_ids, timeout, self._news.put)) if task_ids else None

    def __enter__(self) -> Self:
        if self._watching is not None:
            self._watching.add_done_callback(lambda _: self._news.put(None))
        return self

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        if self._watching is None:
            return
        while (record := self._news.get()) is not None:
            yield record
        self._watching.result()  # raises what went wrong

    def __exit__(self, *_exc: object) -> None:
        if self._watching is not None:
            self._watching.cancel()


async def find(app: Umbel, task_id: str) -> Located | None:
    """Where the message of a call is."""
    await app.broker.open()
    return await app.broker.find(task_id)


async def forget(app: Umbel, task_ids: Collection[str]) -> None:
    """Delete records."""
    await app.store.open()
    await app.store.forget(task_ids)


async def revoke(app: Umbel, task_ids: Sequence[str], terminate: bool, signal: str | int | None) -> None:
    """Calls must not run; nodes are told at once, and may `terminate` those that do."""
    broker = app.broker
    await broker.open()
    await broker.revoke(task_ids)
    options = {"terminate": terminate, "signal": signal}
    await broker.publish(Signal(kind="revoke", ids=list(task_ids), options=options))


async def revoke_stamped(app: Umbel, stamps: Mapping[str, Any], terminate: bool) -> None:
    """``revoke`` for all calls that have one of these stamps, those that are sent later included."""
    broker, marks = app.broker, marks_of(stamps)
    await broker.open()
    await broker.revoke(marks)
    await broker.publish(Signal(kind="revoke-stamped", ids=marks, options={"terminate": terminate}))


async def rerun(app: Umbel, task_ids: Collection[str]) -> int:
    """Put those of these calls that are dead letters back into their queues. Returns how many there were.

    The records of those that have not succeeded are deleted before: they are pending again, and so is what comes after them.
    """
    await app.broker.open()
    dead = await app.broker.browse("dead", limit=_ALL_DEAD)
    keys = [entry.key for entry in dead if entry.task_id in task_ids]
    if keys:
        await app.store.open()
        stored = await app.store.get(list(task_ids))
        state = state_reader(app)
        await app.store.forget([i for i, payload in stored.items() if state(payload) != SUCCESS])
    return await app.broker.requeue("dead", keys)


async def put(app: Umbel, record: Record) -> None:
    """Store one record."""
    await app.store.open()
    await app.store.put([record])
