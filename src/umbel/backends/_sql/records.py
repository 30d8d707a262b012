"""What the result store does to its table, in plain calls on a database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any

from umbel.backends._sql.database import Database, Session
from umbel.backends._sql.entries import record_row, text
from umbel.ports import Record

__all__ = ["PRUNE_AT_ONCE", "current", "forget", "get", "last_write", "prune", "prune_some", "put", "recent"]

PRUNE_AT_ONCE = 2000
"""Rows deleted in one transaction: more would keep others from the locks for too long."""
IDS_AT_ONCE = 5000
"""Ids in one statement."""


def put(database: Database, records: Sequence[Record]) -> None:
    rows = [record_row(record) for record in records]
    if rows:
        database.dialect.put(database, rows)


def get(database: Database, task_ids: Iterable[str]) -> dict[str, bytes]:
    """The payloads of those that have a record which has not expired."""
    return {id: payload for id, (_, payload) in current(database, task_ids).items()}


def current(database: Database, task_ids: Iterable[str]) -> dict[str, tuple[int, bytes]]:
    """The same with the number of the write."""
    ids = list(map(text, task_ids))
    found: dict[str, tuple[int, bytes]] = {}
    for start in range(0, len(ids), IDS_AT_ONCE):
        read = partial(_get, task_ids=ids[start : start + IDS_AT_ONCE])
        rows = database.plainly(read)
        found.update((id, (number, bytes(payload))) for id, number, payload in rows)
    return found


def _get(session: Session, task_ids: list[str]) -> list[Any]:
    return session.rows("get_results", task_ids=task_ids)


def recent(database: Database, limit: int) -> list[tuple[str, bytes]]:
    """The latest records, the latest first."""
    rows = database.plainly(lambda session: session.rows("recent_results", limit=limit))
    return [(task_id, bytes(payload)) for task_id, payload in rows]


def last_write(database: Database) -> int:
    """A number that every later write exceeds. Also what tells whether the tables are there."""
    [(number,)] = database.plainly(lambda session: session.rows("last_result"))
    return int(number)


def forget(database: Database, task_ids: Collection[str]) -> None:
    ids = list(map(text, task_ids))
    if ids:
        database.plainly(lambda session: session.run("forget_results", task_ids=ids))


def prune(database: Database) -> int:
    """All that has outlived its time, in transactions that leave room for others."""
    total = 0
    while True:
        number = database.plainly(prune_some)
        total += number
        if number < PRUNE_AT_ONCE:
            return total


def prune_some(session: Session) -> int:
    return session.run("prune_results", limit=PRUNE_AT_ONCE)
