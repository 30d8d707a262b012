"""Nodes, signals, and tidying up what has outlived its time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from umbel.backends._sql.database import Database, Session
from umbel.backends._sql.entries import milliseconds
from umbel.backends._sql.records import PRUNE_AT_ONCE, prune_some
from umbel.errors import OperationalError
from umbel.ports import NodeInfo, Signal

__all__ = ["SignalFeed", "announce", "last_signal", "nodes", "publish"]

SIGNALS_KEPT = 60.0
"""Seconds. Who listens reads them within milliseconds."""

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


def last_signal(database: Database) -> int:
    """The number of the latest signal: later ones are greater."""
    [(number,)] = database.plainly(lambda session: session.rows("last_signal"))
    return int(number)


class SignalFeed:
    """A listener that collects the signals after `last`, and calls `wake` when there are some."""

    def __init__(self, last: int, wake: Callable[[], None]) -> None:
        self._last = last
        self._wake = wake
        self._lock = threading.Lock()
        self._news: list[Signal] = []

    def __call__(self, database: Database, about: object) -> None:
        try:
            rows = database.plainly(lambda session: session.rows("signals_since", last=self._last))
        except OperationalError:
            return  # the next look sees them all
        if rows:
            with self._lock:
                self._last = rows[-1][0]
                self._news += [_decode_signal(bytes(data)) for _, data in rows]
            self._wake()

    def take(self) -> list[Signal]:
        """What came since the last time."""
        with self._lock:
            news, self._news = self._news, []
            return news
