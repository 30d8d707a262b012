"""Nodes, signals, and tidying up what has outlived its time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from umbel.backends._common_machine_clock import milliseconds, steady_now, wall_now
from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.records import PRUNE_AT_ONCE, prune_some
from umbel.backends.sqlite.statements import fetch, statement
from umbel.errors import OperationalError
from umbel.ports import NodeInfo, Signal

__all__ = ["SignalFeed", "announce", "last_signal", "nodes", "publish"]

SIGNALS_KEPT = 60.0
"""Seconds. Who listens reads them within milliseconds."""

_ANNOUNCE = statement("announce")
_LEAVE = statement("leave")
_NODES = statement("nodes")
_PUBLISH = statement("publish")
_LAST_SIGNAL = statement("last_signal")
_SIGNALS_SINCE = statement("signals_since")
_PRUNE_DEDUPE = statement("prune_dedupe")
_PRUNE_REVOKED = statement("prune_revoked")
_PRUNE_SIGNALS = statement("prune_signals")
_PRUNE_NODES = statement("prune_nodes")

_encode = msgspec.msgpack.Encoder().encode
_decode_node = msgspec.msgpack.Decoder(NodeInfo).decode
_decode_signal = msgspec.msgpack.Decoder(Signal).decode


def announce(database: Database, node: NodeInfo, ttl: float) -> None:
    """Say that `node` lives (``ttl=0``: has left). Every node does so every few seconds: the moment to tidy up."""
    info = _encode(node)
    with database.write() as connection:
        wall, steady = wall_now(), steady_now()
        if ttl > 0:
            connection.execute(_ANNOUNCE, (node.id, steady, steady + milliseconds(ttl), info))
        else:
            connection.execute(_LEAVE, (node.id,))
        connection.execute(_PRUNE_NODES, (steady,))
        connection.execute(_PRUNE_SIGNALS, (wall - milliseconds(SIGNALS_KEPT),))
        connection.execute(_PRUNE_DEDUPE, (wall, PRUNE_AT_ONCE))
        connection.execute(_PRUNE_REVOKED, (wall, PRUNE_AT_ONCE))
        prune_some(connection)


def nodes(database: Database) -> list[NodeInfo]:
    found = []
    with database.read() as connection:
        now = steady_now()
        for heard, info in fetch(connection, _NODES, (now,)):
            node = _decode_node(info)
            node.seen_ago = max(now - heard, 0) / 1000
            found.append(node)
    return found


def publish(database: Database, signal: Signal) -> None:
    data = _encode(signal)
    with database.write() as connection:
        now = wall_now()
        connection.execute(_PRUNE_SIGNALS, (now - milliseconds(SIGNALS_KEPT),))
        connection.execute(_PUBLISH, (now, data))


def last_signal(database: Database) -> int:
    """The number of the latest signal: later ones are greater."""
    with database.read() as connection:
        number: int = connection.execute(_LAST_SIGNAL).get
        return number


class SignalFeed:
    """A listener of the pulse that collects the signals after `last`, and calls `wake` when there are some."""

    def __init__(self, last: int, wake: Callable[[], None]) -> None:
        self._last = last
        self._wake = wake
        self._lock = threading.Lock()
        self._news: list[Signal] = []

    def __call__(self, database: Database) -> None:
        try:
            with database.read() as connection:
                rows = fetch(connection, _SIGNALS_SINCE, (self._last,))
        except OperationalError:
            return  # the next look sees them all
        if rows:
            with self._lock:
                self._last = rows[-1][0]
                self._news += [_decode_signal(data) for _, data in rows]
            self._wake()

    def take(self) -> list[Signal]:
        """What came since the last time."""
        with self._lock:
            news, self._news = self._news, []
            return news
