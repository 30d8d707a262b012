"""The connections of synchronous callers: each thread has one to itself for the length of a call."""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from umbel.backends.redis.address import Address
from umbel.backends.redis.options import Options
from umbel.backends.redis.wire import Lost, SyncWire

__all__ = ["Pool"]


class Pool:
    """At most ``max_connections`` of them are open at a time; who comes when all are in use waits for one."""

    def __init__(self, address: Address, options: Options) -> None:
        self._address = address
        self._options = options
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[SyncWire] = deque()
        limit = self._options.max_connections
        self._permits: queue.SimpleQueue[None] | None = queue.SimpleQueue() if limit else None
        if self._permits is not None:
            for _ in range(limit or 0):
                self._permits.put(None)

    @contextmanager
    def lend(self, until: float | None) -> Iterator[SyncWire]:
        """A connection for this thread alone. `until`, by ``time.monotonic()``, bounds waiting for it and all of its use.

        Raises Lost and Refusal. A connection in whose use anything was raised is not used again.
        """
        if self._pid != os.getpid():
            # What the parent opened is the parent's: closing here only drops this process's copies.
            inherited = self._idle
            self._begin()
            for wire in inherited:
                wire.close()
        permits = self._permits
        if permits is not None:
            self._wait_for(permits, until)
        try:
            wire = self._get(until)
            yield wire
            if not wire.spent:
                self._idle.append(wire)
        finally:
            if permits is not None:
                permits.put(None)

    def _wait_for(self, permits: queue.SimpleQueue[None], until: float | None) -> None:
        patience = self._options.socket_timeout if until is None else max(until - time.monotonic(), 0.0)
        try:
            permits.get(timeout=patience)
        except queue.Empty:
            raise Lost(
                f"all {self._options.max_connections} connections of this process have been in use for {patience:.3g} s "
                "(broker_pool_limit, or max_connections of the transport options, allows more)"
            ) from None

    def _get(self, until: float | None) -> SyncWire:
        while self._idle:
            try:
                wire = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if wire.idle():
                wire.limit(until)
                return wire
            wire.close()
        return SyncWire(self._address, self._options, until)

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().close()
