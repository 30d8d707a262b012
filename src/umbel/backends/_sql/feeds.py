"""How those who wait for records hear of them: one look per commit for all of them, whatever their number."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from umbel.backends._sql import records
from umbel.backends._sql.database import Database
from umbel.backends._sql.ear import Ear, News
from umbel.errors import OperationalError

__all__ = ["Feed", "Feeds"]


class Feed:
    """Somebody who waits for records of some ids: news are collected, and `wake` is called after that."""

    def __init__(self, task_ids: Collection[str], wake: Callable[[], None]) -> None:
        self.task_ids = frozenset(task_ids)
        self.wake = wake
        self._lock = threading.Lock()
        self._news: list[tuple[str, bytes]] = []

    def add(self, task_id: str, payload: bytes) -> None:
        with self._lock:
            self._news.append((task_id, payload))

    def take(self) -> list[tuple[str, bytes]]:
        """What came since the last time."""
        with self._lock:
            news, self._news = self._news, []
            return news


class Feeds:
    """The feeds of one database in this process."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._by_task: dict[str, set[Feed]] = defaultdict(set)
        self._told: dict[str, int] = {}
        """The number of the write that the feeds of an id were told of last."""
        self._last = 0
        """The write up to which the feeds know everything, where numbers tell; of no meaning while there are none."""

    @contextmanager
    def joined(self, feed: Feed, last: int) -> Iterator[None]:
        """While this lasts `feed` hears of every write after `last`, which its owner has just read.

        It must read what is there *after* joining: a record written in between is then seen twice, not never.
        """
        with self._lock:
            if not self._by_task:
                self._last = last
            for task_id in feed.task_ids:
                self._by_task[task_id].add(feed)
        try:
            with self._ear.listening("results", self._look):
                yield
        finally:
            with self._lock:
                for task_id in feed.task_ids:
                    feeds = self._by_task[task_id]
                    feeds.discard(feed)
                    if not feeds:
                        del self._by_task[task_id]
                        self._told.pop(task_id, None)

    def _look(self, database: Database, news: News) -> None:
        """On the thread of the ear, after a commit."""
        with self._lock:
            ids = list(self._by_task if news.task_ids is None else news.task_ids & self._by_task.keys())
            last = self._last
        if not ids:
            return
        try:
            written: list[tuple[int, str]] = []
            upto = last
            for start in range(0, len(ids), records.IDS_AT_ONCE):
                some = ids[start : start + records.IDS_AT_ONCE]
                rows, upto = database.dialect.written(database, some, last)
                written += rows
            with self._lock:
                new = {id for number, id in written if id in self._by_task and self._told.get(id) != number}
            found = records.current(database, new)
        except OperationalError:
            return  # `_last` stays: the next look sees it all
        self._tell(upto, found)

    def _tell(self, last: int, found: dict[str, tuple[int, bytes]]) -> None:
        to_wake: set[Feed] = set()
        with self._lock:
            self._last = max(self._last, last)
            for task_id, (number, payload) in found.items():
                for feed in self._by_task.get(task_id, ()):
                    feed.add(task_id, payload)
                    to_wake.add(feed)
                    self._told[task_id] = number
        for feed in to_wake:
            feed.wake()
