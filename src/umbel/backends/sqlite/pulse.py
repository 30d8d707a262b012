"""One thread per process and file that notices the commits of all processes and tells those who wait.

The kernel says that the write-ahead log was written to (a hint, and one that comes a moment *before* the commit can be
seen); ``PRAGMA data_version`` says that somebody committed (the truth). So a hint is followed by a few looks at the truth,
at growing distances, and without any hint the truth is still looked at twice a second: losing a hint costs latency only.
Where the kernel gives no hints, the truth is looked at every 5 to 50 ms, which costs a few hundred microseconds a second.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import apsw

from umbel.backends._common_file_watch import FileWatch
from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.location import Location
from umbel.errors import OperationalError, StoreUnavailable

__all__ = ["Listener", "PerProcess", "Pulse", "pulse_of"]

T = TypeVar("T")

Listener = Callable[[Database], None]
"""Called on the thread of the pulse after a commit, with its connection. Must be quick, and must not raise."""

_AFTER_HINT = 0.00025
"""Seconds to the first look after a hint; each further one waits twice as long …"""
_IDLE = 0.064
"""… up to this, after which the hint is forgotten."""
_UNHINTED = 0.5
"""Between looks when hints are expected but none came."""
_POLL_MIN, _POLL_MAX = 0.005, 0.05
"""Between looks where there are no hints."""
_REST = 0.002
"""At least so long between two tellings: a busy file must not keep idle workers busy."""
_LINGER = 2.0
"""The thread stays so long after its last listener left: another one often comes at once."""


class Pulse:
    """See above. Get it from ``pulse_of``."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._watch: FileWatch | None = None
        """Not None while the thread runs."""

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """While this lasts, `listener` is called after every commit that anybody makes, and once at the beginning."""
        self.add(listener)
        try:
            yield
        finally:
            self.remove(listener)

    def add(self, listener: Listener) -> None:
        """Begin to call `listener`; at once if it is the first (what was committed before it is not known)."""
        with self._lock:
            self._listeners.append(listener)
            if self._watch is None:
                self._watch = FileWatch(listen=self._location.wake == "auto")
                threading.Thread(
                    target=self._run,
                    args=(self._watch,),
                    name=f"umbel watches {self._location.path.name}",
                    daemon=True,
                ).start()

    def remove(self, listener: Listener) -> None:
        """Do not call `listener` any more (a call may be under way)."""
        with self._lock:
            self._listeners.remove(listener)

    def rest(self) -> None:
        """End the thread now unless somebody listens."""
        with self._lock:
            if self._watch is not None and not self._listeners:
                self._watch.poke()

    # -- the thread

    def _run(self, watch: FileWatch) -> None:
        database = Database(self._location, StoreUnavailable)
        try:
            _Vigil(self, database, watch).keep()
        finally:
            database.close()
            watch.close()

    def tell(self, database: Database) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(database)

    def has_listeners(self) -> bool:
        with self._lock:
            return bool(self._listeners)

    def may_end(self) -> bool:
        """Whether nobody listens; if so, the next listener starts a new thread."""
        with self._lock:
            if self._listeners:
                return False
            self._watch = None
            return True


class _Vigil:
    """What the thread remembers between its looks."""

    def __init__(self, pulse: Pulse, database: Database, watch: FileWatch) -> None:
        self._pulse = pulse
        self._database = database
        self._watch = watch
        self._log = Path(f"{database.location.path}-wal")
        self._seen = (-1, -1)
        self._told_at = 0.0

    def keep(self) -> None:
        """Until nobody has listened for a while."""
        pause = 0.0
        lonely_since: float | None = None
        while True:
            happened = self._watch.wait(pause)
            now = time.monotonic()
            if self._pulse.has_listeners():
                lonely_since = None
            elif lonely_since is None:
                lonely_since = now
            elif (happened or now - lonely_since > _LINGER) and self._pulse.may_end():
                return
            pause = self._pause_after(pause, happened=happened, changed=self._look())

    def _pause_after(self, pause: float, *, happened: bool, changed: bool) -> float:
        if not self._watch.told:
            return _POLL_MIN if changed else min(max(pause, _POLL_MIN) * 1.5, _POLL_MAX)
        if happened or changed:
            return _AFTER_HINT
        return pause * 2 if pause < _IDLE else _UNHINTED

    def _look(self) -> bool:
        """Whether somebody committed since the last look; tells the listeners if so."""
        try:
            with self._database.read() as connection:
                seen = (self._database.opened, int(connection.pragma("data_version")))
        except (OperationalError, apsw.Error):
            seen = (-1, -1)  # those who wait find out for themselves, in words that fit what they do
            time.sleep(_POLL_MAX)
        if seen == self._seen:
            return False
        if seen[0] != self._seen[0] and seen[0] >= 0:
            self._watch.watch(self._log)  # a new connection may have made a new log
        self._seen = seen
        self._tell()
        return True

    def _tell(self) -> None:
        rest = self._told_at + _REST - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        self._pulse.tell(self._database)
        self._told_at = time.monotonic()


class PerProcess(Generic[T]):
    """One object per database file. A forked child begins with none: the threads of the old ones are not there."""

    def __init__(self, make: Callable[[Location], T]) -> None:
        self._make = make
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._by_location: dict[Location, T] = {}

    def get(self, location: Location) -> T:
        """The object of `location`, made when it is first asked for."""
        with self._lock:
            made = self._by_location.get(location)
            if made is None:
                made = self._by_location[location] = self._make(location)
            return made


_pulses = PerProcess(Pulse)


def pulse_of(location: Location) -> Pulse:
    """The pulse of this file in this process."""
    return _pulses.get(location)
