"""The asynchronous face of ``records`` and ``feeds``."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from umbel.backends._common_wakeup import Wakeup
from umbel.backends._sql import joins, records
from umbel.backends._sql.feeds import Feed
from umbel.backends._sql.place import Jobs, Place
from umbel.errors import StoreUnavailable
from umbel.ports import Arrival, Join, Record

__all__ = ["SQLStore"]

CHECK_SECONDS = 5.0
"""Whoever waits for a record looks for himself now and then, so that a lost word costs time only."""


class SQLStore:
    """Results in a table."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.url = place.url
        self._jobs = Jobs(place, StoreUnavailable)
        self._is_open = False

    def use(self, jobs: Jobs) -> None:
        """Work on the thread and the connection of the broker that adopted this store."""
        old, self._jobs = self._jobs, jobs
        if self._is_open and old is not jobs:
            jobs.thread.join(self)
            old.thread.leave(self)

    async def open(self) -> None:
        self._is_open = True
        self._jobs.thread.join(self)
        await self._jobs.run(records.last_write)

    async def close(self) -> None:
        self._is_open = False
        await asyncio.wrap_future(self._jobs.thread.leave(self))
        self.place.ear.rest()

    async def put(self, batch: Sequence[Record]) -> None:
        await self._jobs.run(records.put, batch)

    def put_now(self, batch: Sequence[Record]) -> None:
        self._jobs.call(records.put, batch)

    async def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return await self._jobs.run(records.get, task_ids)

    async def recent(self, *, limit: int) -> Sequence[tuple[str, bytes]]:
        return await self._jobs.run(records.recent, limit)

    def get_now(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return self._jobs.call(records.get, task_ids)

    async def watch(self, task_ids: Collection[str]) -> AsyncIterator[tuple[str, bytes]]:
        wakeup = Wakeup()
        last = await self._jobs.run(records.last_write)
        feed = Feed(task_ids, wakeup.set)
        with self.place.feeds.joined(feed, last):
            seen: dict[str, bytes] = {}
            while True:
                # At first, and now and then: nobody may have been told.
                current = await self._jobs.run(records.get, feed.task_ids)
                news = [item for item in current.items() if seen.get(item[0]) != item[1]]
                checked_at = time.monotonic()
                while True:
                    for item in news:
                        seen[item[0]] = item[1]
                        yield item
                    if time.monotonic() - checked_at >= CHECK_SECONDS:
                        break
                    await wakeup.wait(CHECK_SECONDS)
                    news = feed.take()

    def wait_now(
        self, task_ids: Collection[str], timeout: float | None, final: Callable[[bytes], bool]
    ) -> dict[str, bytes]:
        deadline = None if timeout is None else time.monotonic() + timeout
        found = self._jobs.call(records.get, task_ids)
        if all(task_id in found and final(found[task_id]) for task_id in task_ids):
            return found
        woken = threading.Event()
        last = self._jobs.call(records.last_write)
        feed = Feed(task_ids, woken.set)
        with self.place.feeds.joined(feed, last):
            found = self._jobs.call(records.get, feed.task_ids)
            missing = {id for id in feed.task_ids if not (id in found and final(found[id]))}
            while missing:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                told = woken.wait(CHECK_SECONDS if left is None else min(left, CHECK_SECONDS))
                woken.clear()
                news = dict(feed.take()) if told else self._jobs.call(records.get, missing)
                found.update(news)
                missing.difference_update(id for id, payload in news.items() if final(payload))
        return found

    async def forget(self, task_ids: Collection[str]) -> None:
        await self._jobs.run(records.forget, task_ids)

    def open_joins_now(self, batch: Sequence[Join], *, ttl: float | None) -> None:
        self._jobs.call(joins.open_joins, batch, ttl)

    def widen_join_now(self, join_id: str, by: int, *, ttl: float | None) -> None:
        self._jobs.call(joins.widen, join_id, by)

    def arrive_now(self, arrival: Arrival, *, ttl: float | None) -> Sequence[bytes] | None:
        return self._jobs.call(joins.arrive, arrival, ttl)

    async def close_joins(self, join_ids: Collection[str]) -> None:
        await self._jobs.run(joins.close, join_ids)

    async def prune(self) -> int:
        await self._jobs.run(joins.prune)
        return await self._jobs.run(records.prune)
