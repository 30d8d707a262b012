"""One thread per process and database that notices what others commit and tells those who wait.

How it notices is the affair of each kind of database; see ``Hearing``. What it notices is a hint: whoever waits looks again,
and looks now and then without any hint, so that losing one costs time only.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, Protocol

from umbel.backends._common_file_watch import FileWatch
from umbel.backends._sql.database import Database
from umbel.errors import OperationalError

logger = logging.getLogger("umbel.backends")

__all__ = ["ANYTHING", "Ear", "Hearing", "Listener", "News", "Topic"]

Topic = Literal["messages", "results", "signals"]


class News(NamedTuple):
    """What was heard."""

    topics: frozenset[Topic]
    queues: frozenset[str] | None = None
    """Where messages came; None: nobody knows."""
    task_ids: frozenset[str] | None = None
    """Whose records were written; None: nobody knows."""


Listener = Callable[[Database, News], None]
"""Called on the ear's thread, with its connection. Must be quick, and must not raise."""

LINGER = 2.0
"""The thread stays so many seconds after its last listener left: another one often comes at once."""
AGAIN = 0.5
"""Seconds between two attempts to hear, when the database is out of reach."""


class Hearing(Protocol):
    """How the commits of others are noticed. Lives on the ear's thread."""

    trusted: float
    """Seconds for which those who wait may rely on being told."""

    @property
    def database(self) -> Database:
        """The connection that listeners may use."""
        ...

    def wait(self, watch: FileWatch, topics: frozenset[Topic]) -> News | None:
        """What happened, once something has; None after a while without anything. Ends early when `watch` is poked.

        Raises ``OperationalError`` when the database is out of reach.
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


ANYTHING = News(frozenset({"messages", "results", "signals"}))
"""Something happened, nobody knows what."""


class _Seat:
    """Somebody who listens."""

    def __init__(self, topic: Topic, listener: Listener) -> None:
        self.topic: Topic = topic
        self.listener = listener
        self.told = False
        """At least once since it came."""


class Ear:
    """Of one database in this process. A forked child begins without listeners: their threads are not there."""

    def __init__(self, name: str, make: Callable[[], Hearing]) -> None:
        self._name = name
        self._make = make
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._seats: list[_Seat] = []
        self._watch: FileWatch | None = None
        """Not None while the thread runs."""
        self.trusted = 0.0
        """Seconds for which those who wait may rely on being told; 0: not at all, for nothing is heard yet."""

    @contextmanager
    def listening(self, topic: Topic, listener: Listener) -> Iterator[None]:
        """While this lasts, `listener` is called after every commit that may be about `topic`, and once at the beginning."""
        seat = self.add(topic, listener)
        try:
            yield
        finally:
            self.remove(seat)

    def add(self, topic: Topic, listener: Listener) -> _Seat:
        """Begin to call `listener`. Its first call comes when the ear can hear: what was committed before is not known."""
        seat = _Seat(topic, listener)
        with self._lock:
            self._seats.append(seat)
            if self._watch is None:
                self._watch = FileWatch(listen=True)
                threading.Thread(
                    target=self._run, args=(self._watch,), name=f"umbel listens to {self._name}", daemon=True
                ).start()
            else:
                self._watch.poke()  # it may listen for other topics only
        return seat

    def remove(self, seat: _Seat) -> None:
        """Do not call its listener any more (a call may be under way)."""
        with self._lock:
            self._seats.remove(seat)

    def rest(self) -> None:
        """End the thread now unless somebody listens."""
        with self._lock:
            if self._watch is not None and not self._seats:
                self._watch.poke()

    # -- the thread

    def _run(self, watch: FileWatch) -> None:
        while self._listens(watch):
            watch.wait(AGAIN)
        watch.close()

    def _listens(self, watch: FileWatch) -> bool:
        """Until nobody listens any more, or something unforeseen happens: then it is True, for it has to begin anew."""
        hearing = self._make()
        try:
            self._keep_listening(hearing, watch)
        except Exception:
            logger.exception("Nobody is told of what others do in the database %s for a moment.", self._name)
            return True
        finally:
            self.trusted = 0.0
            hearing.close()
        return False

    def _keep_listening(self, hearing: Hearing, watch: FileWatch) -> None:
        lonely_since: float | None = None
        while True:
            seats = self._taken()
            if seats:
                lonely_since = None
            elif lonely_since is None:
                lonely_since = time.monotonic()
            elif self._may_end(lonely_since):
                return
            if not seats:
                watch.wait(LINGER)
                continue
            news = self._wait(hearing, watch, frozenset(seat.topic for seat in seats))
            for seat in seats:
                # Who has just come is told in any case, to look once more now that the ear hears.
                if not seat.told:
                    seat.listener(hearing.database, ANYTHING)
                    seat.told = True
                elif news is not None and seat.topic in news.topics:
                    seat.listener(hearing.database, news)

    def _wait(self, hearing: Hearing, watch: FileWatch, topics: frozenset[Topic]) -> News | None:
        try:
            news = hearing.wait(watch, topics)
        except OperationalError:
            # Those who wait find out for themselves, in words that fit what they do.
            self.trusted = 0.0
            watch.wait(AGAIN)
            return ANYTHING
        self.trusted = hearing.trusted
        return news

    def _taken(self) -> list[_Seat]:
        with self._lock:
            return list(self._seats)

    def _may_end(self, lonely_since: float) -> bool:
        """Whether nobody has listened for a while; if so, the next listener starts a new thread."""
        with self._lock:
            if self._seats or time.monotonic() - lonely_since < LINGER:
                return False
            self._watch = None
            return True
