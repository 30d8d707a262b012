"""The broker behind ``sqlite:///``: the asynchronous face of ``messages`` and ``presence``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Literal

from umbel.backends._common_thread import DatabaseThread
from umbel.backends._common_wakeup import Wakeup
from umbel.backends.sqlite import messages, presence
from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.location import Location
from umbel.backends.sqlite.messages import Taken
from umbel.backends.sqlite.pulse import pulse_of
from umbel.backends.sqlite.store import SQLiteStore
from umbel.errors import BrokerUnavailable, OperationalError
from umbel.ports import (
    Capabilities,
    Delivery,
    Depth,
    Frame,
    Located,
    NodeInfo,
    Outgoing,
    Receipt,
    Release,
    ResultStore,
    Settlement,
    Shelf,
    Shelved,
    Signal,
)

__all__ = ["SQLiteBroker"]

LONGEST_PAUSE = 5.0
"""Seconds. A waiting ``reserve`` looks at least so often, whatever it believes: somebody may have set the clock."""


class SQLiteBroker:
    """Queues in a file, shared by the processes of one machine. See the package for its promises."""

    caps = Capabilities(name="SQLite")

    def __init__(self, location: Location) -> None:
        self.location = location
        self.url = location.url
        # Each of a node's loops may have a job before ours on the thread, and each job may wait for another writer.
        self.patience = 6 * location.busy_timeout
        self.on_step: Callable[[], None] = lambda: None
        self._thread = DatabaseThread(Database(location, BrokerUnavailable), location.path.name)
        self._direct = Database(location, BrokerUnavailable)
        """For ``send_now``, in whichever thread calls it."""
        self._adopted = False

    async def open(self) -> None:
        self._thread.join(self)
        await self._thread.run(messages.queues, self._thread.database)

    async def close(self) -> None:
        await asyncio.wrap_future(self._thread.leave(self))
        self._direct.close()
        pulse_of(self.location).rest()

    def adopt(self, store: ResultStore) -> bool:
        self._adopted = isinstance(store, SQLiteStore) and store.location.path == self.location.path
        if isinstance(store, SQLiteStore) and self._adopted:
            store.use_thread(self._thread)
        return self._adopted

    def now(self) -> float:
        return time.time()

    # -- moving messages

    async def send(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        await self._thread.run(messages.send, self._thread.database, batch, _until(timeout))

    def send_now(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        messages.send(self._direct, batch, _until(timeout))

    async def reserve(
        self, queues: Sequence[str], *, limit: int, lease: float, wait: float, holder: str = ""
    ) -> Sequence[Delivery]:
        deadline = time.monotonic() + wait
        taken = await self._reserve_once(queues, limit, lease, holder)
        if taken.deliveries or wait <= 0:
            return taken.deliveries
        wakeup = Wakeup()
        # Listening begins before the next look, so that nothing falls in between.
        with pulse_of(self.location).listening(lambda _: wakeup.set()):
            while True:
                taken = await self._reserve_once(queues, limit, lease, holder)
                left = deadline - time.monotonic()
                if taken.deliveries or left <= 0:
                    return taken.deliveries
                await wakeup.wait(max(0.0, min(left, taken.pause, LONGEST_PAUSE)))

    async def _reserve_once(self, queues: Sequence[str], limit: int, lease: float, holder: str) -> Taken:
        job = self._thread.submit(messages.reserve, self._thread.database, queues, limit, lease, holder)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.add_done_callback(self._give_back)
            raise

    def _give_back(self, job: Future[Taken]) -> None:
        """Nobody is there any more to take what `job` leased."""
        if job.cancelled() or job.exception() is not None:
            return
        unseen = [Release(receipt=delivery.receipt) for delivery in job.result().deliveries]
        with suppress(OperationalError):  # then the leases bring it back
            messages.settle(self._thread.database, unseen, adopted=False)

    async def settle(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        return await self._thread.run(messages.settle, self._thread.database, batch, adopted=self._adopted)

    async def extend(self, receipts: Collection[Receipt], *, lease: float) -> Collection[Receipt]:
        return await self._thread.run(messages.extend, self._thread.database, receipts, lease)

    async def reclaim(self, holder: str) -> int:
        return await self._thread.run(messages.reclaim, self._thread.database, holder)

    # -- inspection and repair

    async def depth(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        return await self._thread.run(messages.depth, self._thread.database, queues)

    async def queues(self) -> Sequence[str]:
        return await self._thread.run(messages.queues, self._thread.database)

    async def browse(
        self, shelf: Shelf, queues: Sequence[str] = (), *, limit: int = 100
    ) -> Sequence[Shelved]:
        return await self._thread.run(messages.browse, self._thread.database, shelf, queues, limit)

    async def find(self, task_id: str) -> Located | None:
        return await self._thread.run(messages.find, self._thread.database, task_id)

    async def purge(self, queues: Sequence[str]) -> int:
        return await self._thread.run(messages.purge, self._thread.database, queues)

    async def requeue(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        return await self._thread.run(messages.requeue, self._thread.database, shelf, keys)

    async def discard(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        return await self._thread.run(messages.discard, self._thread.database, shelf, keys)

    async def rewrite(self, key: str, frame: Frame) -> bool:
        return await self._thread.run(messages.rewrite, self._thread.database, key, frame)

    async def prune_dead(self, *, age: float | None, most: int | None, limit: int) -> int:
        return await self._thread.run(messages.prune_dead, self._thread.database, age, most, limit)

    async def unpark(self, tasks: Collection[str]) -> int:
        return await self._thread.run(messages.unpark, self._thread.database, tasks)

    async def revoke(self, task_ids: Collection[str], *, window: float = 86400.0) -> None:
        await self._thread.run(messages.revoke, self._thread.database, task_ids, window)

    async def revoked(self, among: Collection[str] | None = None) -> Collection[str]:
        return await self._thread.run(messages.revoked, self._thread.database, among)

    # -- who is there, and hints

    async def announce(self, node: NodeInfo, *, ttl: float) -> None:
        await self._thread.run(presence.announce, self._thread.database, node, ttl)

    async def nodes(self) -> Sequence[NodeInfo]:
        return await self._thread.run(presence.nodes, self._thread.database)

    async def publish(self, signal: Signal) -> None:
        await self._thread.run(presence.publish, self._thread.database, signal)

    async def signals(self) -> AsyncIterator[Signal]:
        wakeup = Wakeup()
        last = await self._thread.run(presence.last_signal, self._thread.database)
        feed = presence.SignalFeed(last, wakeup.set)
        with pulse_of(self.location).listening(feed):
            while True:
                await wakeup.wait(float("inf"))
                for signal in feed.take():
                    yield signal


def _until(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
