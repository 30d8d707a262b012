"""What the result store does to its table, in plain calls on a database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import apsw
import msgspec

from umbel.backends._common_machine_clock import milliseconds, wall_now
from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.statements import fetch, statement
from umbel.ports import Record

__all__ = [
    "PRUNE_AT_ONCE",
    "RecordRow",
    "forget",
    "get",
    "last_write",
    "prune",
    "prune_some",
    "put",
    "put_rows",
    "recent",
    "record_row",
]

PRUNE_AT_ONCE = 2000
"""Rows deleted in one transaction: more would keep others from the write lock for too long."""

_PUT = statement("put_result")
_GET = statement("get_results")
_RECENT = statement("recent_results")
_LAST = statement("last_result")
_FORGET = statement("forget_result")
_PRUNE = statement("prune_results")

_as_json = msgspec.json.Encoder().encode

RecordRow = tuple[str, str, int | None, bytes]
"""Task id, state, ttl in ms (None: for ever), payload."""


def record_row(record: Record) -> RecordRow:
    ttl = None if record.ttl is None else milliseconds(record.ttl)
    return (record.task_id, record.state, ttl, record.payload)


def put(database: Database, records: Sequence[Record]) -> None:
    rows = [record_row(record) for record in records]
    if rows:
        with database.write() as connection:
            put_rows(connection, rows)


def put_rows(connection: apsw.Connection, rows: Sequence[RecordRow]) -> None:
    """For a transaction that is under way: the broker's, which has adopted the store."""
    now = wall_now()
    connection.executemany(
        _PUT,
        [
            (task_id, state, now, None if ttl is None else now + ttl, payload)
            for task_id, state, ttl, payload in rows
        ],
    )


def get(database: Database, task_ids: Iterable[str]) -> dict[str, bytes]:
    names = _as_json(list(task_ids)).decode()
    with database.read() as connection:
        return dict(fetch(connection, _GET, (names, wall_now())))


def recent(database: Database, limit: int) -> list[tuple[str, bytes]]:
    """The latest records, the latest first."""
    with database.read() as connection:
        return list(fetch(connection, _RECENT, (wall_now(), limit)))


def last_write(database: Database) -> int:
    """The number of the latest write: later ones are greater."""
    with database.read() as connection:
        number: int = connection.execute(_LAST).get
        return number


def forget(database: Database, task_ids: Collection[str]) -> None:
    with database.write() as connection:
        connection.executemany(_FORGET, [(task_id,) for task_id in task_ids])


def prune(database: Database) -> int:
    """All that has outlived its time, in transactions that leave room for others."""
    total = 0
    while True:
        with database.write() as connection:
            number = prune_some(connection)
        total += number
        if number < PRUNE_AT_ONCE:
            return total


def prune_some(connection: apsw.Connection) -> int:
    connection.execute(_PRUNE, (wall_now(), PRUNE_AT_ONCE))
    return connection.changes()
