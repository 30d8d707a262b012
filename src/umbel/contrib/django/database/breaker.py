"""Nobody waits for ever for a server that does not answer: its connection is cut from another thread.

Drivers wait without a limit, and a limit of the server's own is of no use when the server, or the way to it, is what hangs.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Breaker", "Statement", "breaker"]

LOOK = 0.2
"""Seconds between two looks at what is under way."""


class Statement:
    """Something under way on a connection."""

    def __init__(self, descriptor: int | None, seconds: float) -> None:
        self.seconds = seconds
        self.cut = False
        """It had no answer in time."""
        self._descriptor = descriptor
        self._until = time.monotonic() + seconds

    def is_late(self) -> bool:
        return not self.cut and time.monotonic() > self._until

    def break_off(self) -> None:
        self.cut = True
        if self._descriptor is not None:
            with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as sock:
                sock.shutdown(socket.SHUT_RDWR)

    def over(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Breaker:
    """One for a process."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[Statement] = set()
        self._some = threading.Event()
        self._runs = False

    def before_fork(self) -> None:
        """No copy of a descriptor is made meanwhile that the child would not know of."""
        self._lock.acquire()

    def after_in_parent(self) -> None:
        self._lock.release()

    def after_in_child(self) -> None:
        """It has not inherited the thread, and must not hold the connections of its parent open."""
        for statement in self._under_way:
            statement.over()
        self._begin()

    @contextmanager
    def within(self, seconds: float, descriptor: int | None) -> Iterator[Statement]:
        """Meanwhile the socket of that `descriptor` is shut down when so many seconds have passed. None: there is no socket."""
        statement = self._begun(seconds, descriptor)
        try:
            if descriptor is not None:
                self._watch_over()
            yield statement
        finally:
            with self._lock:
                self._under_way.discard(statement)
                statement.over()

    def _begun(self, seconds: float, descriptor: int | None) -> Statement:
        if descriptor is None:
            return Statement(None, seconds)
        with self._lock:
            # A copy of the descriptor: the number of one that was closed is soon that of something else.
            statement = Statement(os.dup(descriptor), seconds)
            self._under_way.add(statement)
            return statement

    def _watch_over(self) -> None:
        with self._lock:
            if not self._runs:
                threading.Thread(target=self._watch, name="umbel cuts what hangs", daemon=True).start()
                self._runs = True
        self._some.set()

    def _watch(self) -> None:
        while True:
            self._some.wait()
            time.sleep(LOOK)
            with self._lock:
                if not self._under_way:
                    self._some.clear()
                for statement in self._under_way:
                    if statement.is_late():
                        statement.break_off()


breaker = Breaker()
os.register_at_fork(
    before=breaker.before_fork,
    after_in_parent=breaker.after_in_parent,
    after_in_child=breaker.after_in_child,
)
