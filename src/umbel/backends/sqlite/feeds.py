"""How those who wait for records hear of them: one look per commit for all of them, whatever their number."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection

from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.location import Location
from umbel.backends.sqlite.pulse import PerProcess, Pulse, pulse_of
from umbel.backends.sqlite.statements import fetch, statement
from umbel.errors import OperationalError

__all__ = ["Feed", "Feeds", "feeds_of"]

_SINCE = statement("results_since")
_AT = statement("result_at")


class Feed:
    """Somebody who waits for records of some ids: news are collected, and `wake` is called after that."""

    def __init__(self, task_ids: Collection[str], wake: Callable[[], None]) -> None:
        self.task_ids = frozenset(task_ids)
        self._wake = wake
        self._lock = threading.Lock()
        self._news: list[tuple[str, bytes]] = []

    def add(self, task_id: str, payload: bytes) -> None:
        with self._lock:
            self._news.append((task_id, payload))

    def wake(self) -> None:
        self._wake()

    def take(self) -> list[tuple[str, bytes]]:
        """What came since the last time."""
        with self._lock:
            news, self._news = self._news, []
            return news


class Feeds:
    """The feeds of one file in this process."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._lock = threading.Lock()
        self._by_task: dict[str, set[Feed]] = defaultdict(set)
        self._last = 0
        """The write up to which the feeds know everything; of no meaning while there are none."""

    def join(self, feed: Feed, last: int) -> None:
        """From now on `feed` hears of every write after `last`, which its owner has just read.

        It must read what is there *after* joining: a record written in between is then seen twice, not never.
        """
        with self._lock:
            first = not self._by_task
            if first:
                self._last = last
            for task_id in feed.task_ids:
                self._by_task[task_id].add(feed)
        if first and feed.task_ids:
            self._pulse.add(self._look)

    def leave(self, feed: Feed) -> None:
        with self._lock:
            for task_id in feed.task_ids:
                feeds = self._by_task[task_id]
                feeds.discard(feed)
                if not feeds:
                    del self._by_task[task_id]
            none_left = not self._by_task
        if none_left and feed.task_ids:
            self._pulse.remove(self._look)

    def _look(self, database: Database) -> None:
        """On the thread of the pulse, after a commit."""
        try:
            with database.read() as connection:
                rows = fetch(connection, _SINCE, (self._last,))
                with self._lock:
                    watched = [(seq, task_id) for seq, task_id in rows if task_id in self._by_task]
                # No payload: a later write replaced this one, and is in `rows` too or comes after the next commit.
                found = [
                    (task_id, payload)
                    for seq, task_id in watched
                    if (payload := connection.execute(_AT, (seq,)).get) is not None
                ]
        except OperationalError:
            return  # `_last` stays: the next look sees it all
        if rows:
            self._tell(rows[-1][0], found)

    def _tell(self, last: int, found: list[tuple[str, bytes]]) -> None:
        to_wake: set[Feed] = set()
        with self._lock:
            self._last = max(self._last, last)
            for task_id, payload in found:
                for feed in self._by_task.get(task_id, ()):
                    feed.add(task_id, payload)
                    to_wake.add(feed)
        for feed in to_wake:
            feed.wake()


_feeds = PerProcess(lambda location: Feeds(pulse_of(location)))


def feeds_of(location: Location) -> Feeds:
    """The feeds of this file in this process."""
    return _feeds.get(location)
