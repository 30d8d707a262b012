"""What is asked of the store and the broker about calls, by their ids. Coroutines run on the portal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from typing import TYPE_CHECKING

from umbel.codecs.results import state_of
from umbel.core.outcome import READY_STATES
from umbel.ports import Located, Record, Signal

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["final_for", "find", "forget", "put", "revoke", "watch"]


def final_for(app: Umbel) -> Callable[[bytes], bool]:
    """Tells whether a payload is of a call that has ended."""
    serializer = app.conf.result_serializer
    accept = app.conf.result_accept_content
    accepted = app.conf.accept_content if accept is None else accept
    return lambda payload: state_of(payload, serializer, accepted) in READY_STATES


async def watch(app: Umbel, task_ids: set[str], timeout: float | None) -> dict[str, bytes]:
    """On the portal: the final payloads of `task_ids`, as far as they come within `timeout`."""
    final, store = final_for(app), app.store
    found: dict[str, bytes] = {}
    scope = asyncio.timeout(timeout)
    try:
        async with scope:
            await store.open()
            async with contextlib.aclosing(_generator(store.watch(task_ids))) as records:
                async for task_id, payload in records:
                    if final(payload):
                        found[task_id] = payload
                    if len(found) == len(task_ids):
                        break
    except TimeoutError:
        if not scope.expired():
            raise
    # That some are missing is for the caller to say, who knows which call it is about.
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


async def put(app: Umbel, record: Record) -> None:
    """Store one record."""
    await app.store.open()
    await app.store.put([record])
