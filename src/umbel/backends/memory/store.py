"""The result store behind ``memory://name``."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from umbel.backends._common_wakeup import Wakeup
from umbel.backends.memory.place import Place, ResultFeed, named_place
from umbel.ports import Arrival, Join, Record

__all__ = ["MemoryStore"]


class MemoryStore:
    """The result store behind ``memory://name``."""

    def __init__(self, name: str = "") -> None:
        self.url = f"memory://{name}"
        self._place = named_place(name)

    def is_in(self, place: Place) -> bool:
        """Whether its records are kept there."""
        return self._place is place

    async def open(self) -> None:
        with self._place.use():
            pass

    async def close(self) -> None:
        pass

    async def put(self, records: Sequence[Record]) -> None:
        self.put_now(records)

    def put_now(self, records: Sequence[Record]) -> None:
        with self._place.use() as place:
            for record in records:
                place.keep(record)

    async def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return self.get_now(task_ids)

    def get_now(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        with self._place.use() as place:
            return place.payloads(task_ids)

    async def watch(self, task_ids: Collection[str]) -> AsyncIterator[tuple[str, bytes]]:
        wakeup = Wakeup()
        with self._feed(task_ids, wakeup.set) as feed:
            while True:
                with self._place.use():
                    news, feed.news = feed.news, []
                for item in news:
                    yield item
                await wakeup.wait(float("inf"))

    def wait_now(
        self, task_ids: Collection[str], timeout: float | None, final: Callable[[bytes], bool]
    ) -> dict[str, bytes]:
        deadline = None if timeout is None else time.monotonic() + timeout
        missing = set(task_ids)
        woken = threading.Event()
        with self._feed(task_ids, woken.set) as feed:
            while True:
                woken.clear()
                with self._place.use():
                    news, feed.news = feed.news, []
                missing.difference_update(task_id for task_id, payload in news if final(payload))
                left = None if deadline is None else deadline - time.monotonic()
                if not missing or (left is not None and left <= 0):
                    return dict(self.get_now(list(task_ids)))
                woken.wait(left)

    @contextmanager
    def _feed(self, task_ids: Collection[str], wake: Callable[[], None]) -> Iterator[ResultFeed]:
        """A feed that begins with the records that are there: joined in the same breath, so that none is missed."""
        feed = ResultFeed(frozenset(task_ids), wake)
        with self._place.use() as place:
            feed.news.extend(place.payloads(feed.ids).items())
            place.result_feeds.add(feed)
        try:
            yield feed
        finally:
            with self._place.use() as place:
                place.result_feeds.discard(feed)

    async def forget(self, task_ids: Collection[str]) -> None:
        with self._place.use() as place:
            for task_id in task_ids:
                place.records.pop(task_id, None)

    def open_joins_now(self, joins: Sequence[Join], *, ttl: float | None) -> None:
        with self._place.use() as place:
            for join in joins:
                place.joins.open(join, ttl)

    def widen_join_now(self, join_id: str, by: int, *, ttl: float | None) -> None:
        with self._place.use() as place:
            place.joins.widen(join_id, by)

    def arrive_now(self, arrival: Arrival, *, ttl: float | None) -> Sequence[bytes] | None:
        with self._place.use() as place:
            return place.joins.arrive(arrival, ttl)

    async def close_joins(self, join_ids: Collection[str]) -> None:
        with self._place.use() as place:
            for join_id in join_ids:
                place.joins.close(join_id)

    async def recent(self, *, limit: int) -> Sequence[tuple[str, bytes]]:
        with self._place.use() as place:
            now = place.clock.now()
            latest = reversed(place.records.items())
            return [(i, kept.payload) for i, kept in latest if kept.live(now)][:limit]

    async def prune(self) -> int:
        with self._place.use() as place:
            return place.prune()
