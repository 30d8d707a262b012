"""The asynchronous face of ``messages`` and ``presence``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Literal

from umbel.backends._common_wakeup import Wakeup
from umbel.backends._sql import messages, presence
from umbel.backends._sql.database import Database, Taken
from umbel.backends._sql.ear import News
from umbel.backends._sql.place import Jobs, Place
from umbel.backends._sql.store import SQLStore
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

__all__ = ["SQLBroker"]

LONGEST_PAUSE = 5.0
"""Seconds. A waiting ``reserve`` looks at least so often, whatever it believes: somebody may have set the clock."""
FIRST_PAUSE = 0.02
"""… and begins with this, doubled each time: a message stored in the same moment as a look may not have been announced."""
UNTOLD_PAUSE = 0.04
"""At most so long where nobody tells of what was sent."""
CONTENDED_PAUSE = 0.002
"""The first one while something waits that another worker has its hands on."""


class SQLBroker:
    """Queues in tables."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.caps = Capabilities(name=place.dialect.name, pushes=place.pushes)
        self.url = place.url
        self.patience = place.patience
        self.on_step: Callable[[], None] = lambda: None
        self._jobs = Jobs(place, BrokerUnavailable)
        self._adopted = False
        self._known: set[str] = set()
        self._doubts = messages.Doubts()

    async def open(self) -> None:
        self._jobs.thread.join(self)
        await self._jobs.run(messages.queues)

    async def close(self) -> None:
        await asyncio.wrap_future(self._jobs.thread.leave(self))
        self.place.ear.rest()

    def adopt(self, store: ResultStore) -> bool:
        self._adopted = isinstance(store, SQLStore) and store.place.name == self.place.name
        if isinstance(store, SQLStore) and self._adopted:
            store.use(self._jobs)
        return self._adopted

    def now(self) -> float:
        return self.place.now()

    # -- moving messages

    async def send(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        await self._jobs.run(messages.send, batch, _until(timeout))

    def send_now(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        self._jobs.call(messages.send, batch, _until(timeout))

    async def reserve(
        self, queues: Sequence[str], *, limit: int, lease: float, wait: float, holder: str = ""
    ) -> Sequence[Delivery]:
        deadline = time.monotonic() + wait
        await self._know(queues)
        taken = await self._reserve_once(queues, limit, lease, holder)
        if taken.deliveries or wait <= 0:
            return taken.deliveries
        wakeup = Wakeup()
        mine = frozenset(queues)

        def hear(_: Database, news: News) -> None:
            if news.queues is None or not mine.isdisjoint(news.queues):
                wakeup.set()

        looks = Looks(self.place)
        # Listening begins before the next look, so that nothing falls in between.
        with self.place.ear.listening("messages", hear):
            while True:
                taken = await self._reserve_once(queues, limit, lease, holder)
                left = deadline - time.monotonic()
                if taken.deliveries or left <= 0:
                    return taken.deliveries
                await wakeup.wait(max(0.0, min(left, looks.pause_after(taken))))

    async def _know(self, queues: Sequence[str]) -> None:
        """The queues that somebody works on have a name even while they are empty."""
        if not self._known.issuperset(queues):
            await self._jobs.run(messages.know, queues)
            self._known.update(queues)
            self.on_step()

    async def _reserve_once(self, queues: Sequence[str], limit: int, lease: float, holder: str) -> Taken:
        job = self._jobs.submit(messages.reserve, queues, limit, lease, holder, self._doubts)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.add_done_callback(self._give_back)
            raise

    def _give_back(self, job: Future[Taken]) -> None:
        """Nobody is there any more to take what `job` leased."""
        if job.cancelled() or job.exception() is not None or not job.result().deliveries:
            return
        unseen = [Release(receipt=delivery.receipt) for delivery in job.result().deliveries]

        def release(database: Database) -> None:
            with suppress(OperationalError):  # then the leases bring it back
                messages.settle(database, unseen, self._doubts, adopted=False)

        self._jobs.submit(release)

    async def settle(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        return await self._jobs.run(messages.settle, batch, self._doubts, adopted=self._adopted)

    async def extend(self, receipts: Collection[Receipt], *, lease: float) -> Collection[Receipt]:
        return await self._jobs.run(messages.extend, receipts, lease)

    async def reclaim(self, holder: str) -> int:
        return await self._jobs.run(messages.reclaim, holder)

    # -- inspection and repair

    async def depth(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        return await self._jobs.run(messages.depth, queues)

    async def queues(self) -> Sequence[str]:
        return await self._jobs.run(messages.queues)

    async def browse(
        self, shelf: Shelf, queues: Sequence[str] = (), *, limit: int = 100
    ) -> Sequence[Shelved]:
        return await self._jobs.run(messages.browse, shelf, queues, limit)

    async def find(self, task_id: str) -> Located | None:
        return await self._jobs.run(messages.find, task_id)

    async def purge(self, queues: Sequence[str]) -> int:
        return await self._jobs.run(messages.purge, queues)

    async def requeue(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        return await self._jobs.run(messages.requeue, shelf, keys)

    async def discard(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        return await self._jobs.run(messages.discard, shelf, keys)

    async def rewrite(self, key: str, frame: Frame) -> bool:
        return await self._jobs.run(messages.rewrite, key, frame)

    async def prune_dead(self, *, age: float | None, most: int | None, limit: int) -> int:
        return await self._jobs.run(messages.prune_dead, age, most, limit)

    async def unpark(self, tasks: Collection[str]) -> int:
        return await self._jobs.run(messages.unpark, tasks)

    async def revoke(self, task_ids: Collection[str], *, window: float = 86400.0) -> None:
        await self._jobs.run(messages.revoke, task_ids, window)

    async def revoked(self, among: Collection[str] | None = None) -> Collection[str]:
        return await self._jobs.run(messages.revoked, among)

    # -- who is there, and hints

    async def announce(self, node: NodeInfo, *, ttl: float) -> None:
        await self._jobs.run(presence.announce, node, ttl)

    async def nodes(self) -> Sequence[NodeInfo]:
        return await self._jobs.run(presence.nodes)

    async def publish(self, signal: Signal) -> None:
        await self._jobs.run(presence.publish, signal)

    async def signals(self) -> AsyncIterator[Signal]:
        wakeup = Wakeup()
        earlier = await self._jobs.run(presence.signal_ids)
        feed = presence.SignalFeed(earlier, wakeup.set)
        with self.place.ear.listening("signals", feed):
            while True:
                await wakeup.wait(float("inf"))
                for signal in feed.take():
                    yield signal


class Looks:
    """How long a waiting ``reserve`` pauses between its looks, unless it is told."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._usual = FIRST_PAUSE
        self._contended = CONTENDED_PAUSE

    def pause_after(self, taken: Taken) -> float:
        """Seconds; at most until something is due."""
        if taken.contended:
            pause = self._contended
            self._contended = min(2 * self._contended, UNTOLD_PAUSE)
        else:
            pause = self._usual
            self._usual = min(2 * self._usual, LONGEST_PAUSE)
            self._contended = CONTENDED_PAUSE
        longest = self._place.ear.trusted or UNTOLD_PAUSE
        return min(pause, longest, taken.pause)


def _until(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
