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
        if self._descriptor is not None:
            os.close(self._descriptor)


class Breaker:
    """One for a process."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Also in a forked child, which has not inherited the thread."""
        self._lock = threading.Lock()
        self._under_way: set[Statement] = set()
        self._some = threading.Event()
        self._runs = False

    @contextmanager
    def within(self, seconds: float, descriptor: int | None) -> Iterator[Statement]:
        """Meanwhile the socket of that `descriptor` is shut down when so many seconds have passed. None: there is no socket."""
        # A copy of the descriptor: the number of one that was closed is soon that of something else.
        statement = Statement(None if descriptor is None else os.dup(descriptor), seconds)
        if descriptor is not None:
            self._add(statement)
        try:
            yield statement
        finally:
            with self._lock:
                self._under_way.discard(statement)
                statement.over()

    def _add(self, statement: Statement) -> None:
        with self._lock:
            self._under_way.add(statement)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._watch, name="umbel cuts what hangs", daemon=True).start()
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
os.register_at_fork(after_in_child=breaker.begin_anew)
