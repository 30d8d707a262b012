"""What the result store does to its tables of joins, in plain calls on a database."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from umbel.backends._common_machine_clock import milliseconds, wall_now
from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.statements import fetch, statement
from umbel.ports import Arrival, Join

__all__ = ["arrive", "close", "open_joins", "prune", "widen"]

LAST = 1 << 31
"""The place of a call that has none: after all others."""
AT_ONCE = 100
"""Joins that are forgotten in one transaction."""

_OPEN = statement("open_join")
_WIDEN = statement("widen_join")
_KEEP = statement("keep_join")
_FILL = statement("fill_slot")
_MEND = statement("mend_slot")
_FAILED = statement("failed_slots")
_COUNT = statement("count_arrival")
_PARTS = statement("join_parts")
_CLOSE = statement("close_join")
_CLEAR = statement("clear_join")
_EXPIRED = statement("expired_joins")


def open_joins(database: Database, joins: Sequence[Join], ttl: float | None) -> None:
    until = _until(ttl)
    with database.write() as connection:
        connection.executemany(_OPEN, [(join.id, join.size, until) for join in joins])


def widen(database: Database, join_id: str, by: int) -> None:
    with database.write() as connection:
        connection.execute(_WIDEN, (join_id, by))


def arrive(database: Database, arrival: Arrival, ttl: float | None) -> list[bytes] | None:
    """The parts, if all have arrived."""
    join_id, task_id = arrival.join, arrival.task_id
    place = LAST if arrival.index is None else arrival.index
    with database.write() as connection:
        connection.execute(_KEEP, (join_id, _until(ttl), wall_now()))
        if not connection.changes():
            return None
        new = bool(fetch(connection, _FILL, (join_id, task_id, place, int(arrival.failed), arrival.part)))
        if not new and not arrival.failed:
            connection.execute(_MEND, (join_id, task_id, arrival.part))
            if connection.changes() and fetch(connection, _FAILED, (join_id,)):
                return None
        [(complete,)] = fetch(connection, _COUNT, (join_id, int(new)))
        return [part for (part,) in fetch(connection, _PARTS, (join_id,))] if complete else None


def close(database: Database, join_ids: Collection[str]) -> None:
    with database.write() as connection:
        for sql in (_CLEAR, _CLOSE):
            connection.executemany(sql, [(join_id,) for join_id in join_ids])


def prune(database: Database) -> None:
    """Forget those whose time is over, in transactions that leave room for others."""
    while True:
        with database.read() as connection:
            expired = [join_id for (join_id,) in fetch(connection, _EXPIRED, (wall_now(), AT_ONCE))]
        if not expired:
            return
        close(database, expired)


def _until(ttl: float | None) -> int | None:
    return None if ttl is None else wall_now() + milliseconds(ttl)
