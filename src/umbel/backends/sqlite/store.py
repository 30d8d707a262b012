"""The result store behind ``sqlite:///``: the face of ``records`` and ``feeds``."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from umbel.backends._common_thread import DatabaseThread
from umbel.backends._common_wakeup import Wakeup
from umbel.backends.sqlite import joins, records
from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.feeds import Feed, feeds_of
from umbel.backends.sqlite.location import Location
from umbel.backends.sqlite.pulse import pulse_of
from umbel.errors import StoreUnavailable
from umbel.ports import Arrival, Join, Record

__all__ = ["SQLiteStore"]


class SQLiteStore:
    """Results in a file, shared by the processes of one machine. See the package for its promises."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.url = location.url
        self._thread = DatabaseThread(Database(location, StoreUnavailable), location.path.name)
        self._direct = Database(location, StoreUnavailable)
        """For the ``_now`` methods, in whichever thread calls them."""
        self._is_open = False

    def use_thread(self, thread: DatabaseThread[Database]) -> None:
        """Work on the thread and the connection of the broker that adopted this store."""
        old, self._thread = self._thread, thread
        if self._is_open and old is not thread:
            thread.join(self)
            old.leave(self)

    async def open(self) -> None:
        self._is_open = True
        self._thread.join(self)
        await self._thread.run(records.last_write, self._thread.database)

    async def close(self) -> None:
        self._is_open = False
        await asyncio.wrap_future(self._thread.leave(self))
        self._direct.close()
        pulse_of(self.location).rest()

    async def put(self, batch: Sequence[Record]) -> None:
        await self._thread.run(records.put, self._thread.database, batch)

    def put_now(self, batch: Sequence[Record]) -> None:
        records.put(self._direct, batch)

    async def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return await self._thread.run(records.get, self._thread.database, task_ids)

    def get_now(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return records.get(self._direct, task_ids)

    async def watch(self, task_ids: Collection[str]) -> AsyncIterator[tuple[str, bytes]]:
        wakeup = Wakeup()
        last = await self._thread.run(records.last_write, self._thread.database)
        with self._feed(task_ids, last, wakeup.set) as feed:
            current = await self._thread.run(records.get, self._thread.database, feed.task_ids)
            for item in current.items():
                yield item
            while True:
                await wakeup.wait(float("inf"))
                for item in feed.take():
                    yield item

    def wait_now(
        self, task_ids: Collection[str], timeout: float | None, final: Callable[[bytes], bool]
    ) -> dict[str, bytes]:
        deadline = None if timeout is None else time.monotonic() + timeout
        found = records.get(self._direct, task_ids)
        if all(task_id in found and final(found[task_id]) for task_id in task_ids):
            return found
        woken = threading.Event()
        with self._feed(task_ids, records.last_write(self._direct), woken.set) as feed:
            found = records.get(self._direct, feed.task_ids)
            missing = {
                task_id for task_id in feed.task_ids if not (task_id in found and final(found[task_id]))
            }
            while missing:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                woken.wait(left)
                woken.clear()
                news = dict(feed.take())
                found.update(news)
                missing.difference_update(task_id for task_id, payload in news.items() if final(payload))
        return found

    @contextmanager
    def _feed(self, task_ids: Collection[str], last: int, wake: Callable[[], None]) -> Iterator[Feed]:
        feed, feeds = Feed(task_ids, wake), feeds_of(self.location)
        feeds.join(feed, last)
        try:
            yield feed
        finally:
            feeds.leave(feed)

    async def forget(self, task_ids: Collection[str]) -> None:
        await self._thread.run(records.forget, self._thread.database, task_ids)

    async def recent(self, *, limit: int) -> Sequence[tuple[str, bytes]]:
        return await self._thread.run(records.recent, self._thread.database, limit)

    def open_joins_now(self, batch: Sequence[Join], *, ttl: float | None) -> None:
        joins.open_joins(self._direct, batch, ttl)

    def widen_join_now(self, join_id: str, by: int, *, ttl: float | None) -> None:
        joins.widen(self._direct, join_id, by)

    def arrive_now(self, arrival: Arrival, *, ttl: float | None) -> Sequence[bytes] | None:
        return joins.arrive(self._direct, arrival, ttl)

    async def close_joins(self, join_ids: Collection[str]) -> None:
        await self._thread.run(joins.close, self._thread.database, join_ids)

    async def prune(self) -> int:
        await self._thread.run(joins.prune, self._thread.database)
        return await self._thread.run(records.prune, self._thread.database)
