"""Nodes, signals, and tidying up what has outlived its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

import msgspec

from umbel.backends._sql.database import Database, Session
from umbel.backends._sql.entries import milliseconds
from umbel.backends._sql.records import PRUNE_AT_ONCE, prune_some
from umbel.errors import OperationalError
from umbel.ports import NodeInfo, Signal

__all__ = ["SignalFeed", "announce", "nodes", "publish", "signal_ids"]

SIGNALS_KEPT = 60.0
"""Seconds. Who listens reads them within milliseconds."""
LATE = 15.0
"""Seconds by which a signal may be committed after one with a greater number, and still be heard."""

_encode = msgspec.msgpack.Encoder().encode
_decode_node = msgspec.msgpack.Decoder(NodeInfo).decode
_decode_signal = msgspec.msgpack.Decoder(Signal).decode


def announce(database: Database, node: NodeInfo, ttl: float) -> None:
    """Say that `node` lives (``ttl=0``: has left). Every node does so every few seconds: the moment to tidy up."""
    info = _encode(node)

    def work(session: Session) -> None:
        session.run("leave", id=node.id)
        if ttl > 0:
            session.run("announce", id=node.id, ttl=milliseconds(ttl), info=info)
        session.run("prune_nodes")
        session.run("prune_signals", age=milliseconds(SIGNALS_KEPT))
        session.run("prune_dedupe", limit=PRUNE_AT_ONCE)
        session.run("prune_revoked", limit=PRUNE_AT_ONCE)
        prune_some(session)

    database.atomically(work)


def nodes(database: Database) -> list[NodeInfo]:
    found = []
    for heard_ago, info in database.plainly(lambda session: session.rows("nodes")):
        node = _decode_node(bytes(info))
        node.seen_ago = max(heard_ago, 0) / 1000
        found.append(node)
    return found


def publish(database: Database, signal: Signal) -> None:
    data = _encode(signal)
    database.plainly(lambda session: session.run("publish", signal=data))


def signal_ids(database: Database) -> list[int]:
    """The numbers of the signals that can be seen now."""
    return [number for (number,) in database.plainly(lambda session: session.rows("signal_ids"))]


class SignalFeed:
    """A listener that collects all signals but `earlier` ones, and calls `wake` when there are some.

    Servers give numbers in order, but commit as it comes: after one signal, one with a smaller number may appear.
    """

    def __init__(self, earlier: Collection[int], wake: Callable[[], None]) -> None:
        self._floor = 0
        """Nothing new comes up to this number."""
        self._seen = dict.fromkeys(earlier, time.monotonic())
        """Those above it that were read, and when."""
        self._wake = wake
        self._lock = threading.Lock()
        self._news: list[Signal] = []

    def __call__(self, database: Database, about: object) -> None:
        try:
            rows = database.plainly(lambda session: session.rows("signals_since", last=self._floor))
        except OperationalError:
            return  # the next look sees them all
        now = time.monotonic()
        news = [_decode_signal(bytes(data)) for number, data in rows if number not in self._seen]
        for number, _ in rows:
            self._seen.setdefault(number, now)
        self._raise_floor(now - LATE)
        if news:
            with self._lock:
                self._news += news
            self._wake()

    def _raise_floor(self, before: float) -> None:
        """To the greatest number that was read before that."""
        floor = max((number for number, at in self._seen.items() if at < before), default=self._floor)
        if floor > self._floor:
            self._floor = floor
            self._seen = {number: at for number, at in self._seen.items() if number > floor}

    def take(self) -> list[Signal]:
        """What came since the last time."""
        with self._lock:
            news, self._news = self._news, []
            return news
