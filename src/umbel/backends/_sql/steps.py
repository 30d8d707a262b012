"""Sending, claiming and settling by several statements in one transaction: where a statement cannot return what it changed
(MySQL), or where round trips cost nothing (SQLite)."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from umbel import faults
from umbel.backends._sql.database import Database, Session, Taken
from umbel.backends._sql.entries import (
    DEAD,
    LONGEST_NAME,
    PARKED,
    Ending,
    Entry,
    RecordRow,
    Token,
    delivery,
    text,
)
from umbel.ports import Ack, Bury, Park, Release, Retry

__all__ = ["Steps"]

OVERDUE_AT_ONCE = 2000
"""How many messages one call brings back: more would keep others from the locks for too long."""


class Steps:
    """A ``Dialect``."""

    def __init__(self, name: str, *, ordered: bool) -> None:
        self.name = name
        self._ordered = ordered
        """Numbers of records become visible in their order: there is one writer at a time."""

    # -- sending

    def send(self, database: Database, entries: Sequence[Entry], until: float | None) -> None:
        if len(entries) == 1 and entries[0].key is None:
            database.plainly(lambda session: _insert(session, entries), until)
        else:
            database.atomically(lambda session: _insert(session, entries), until)

    # -- reserving

    def reserve(
        self, database: Database, queues: Sequence[str], limit: int, lease: int, holder: str, number: int
    ) -> Taken:
        names = list(dict.fromkeys(queues))
        [(waits, due_in, ends_in)] = database.plainly(lambda session: session.rows("look", queues=names))
        pause = min(_seconds(due_in), _seconds(ends_in))
        if not waits and pause > 0:
            return Taken([], pause, contended=False)

        def claim(session: Session) -> list[Any]:
            if pause <= 0:
                _bring_back(session)
                faults.point("sql.overdue_brought_back")
            rows = _first_waiting(session, names, limit)
            if rows:
                ids = [row[1] for row in rows]
                session.run("hold", ids=ids, token=number, lease=lease, holder=holder)
            faults.point("sql.reserve_written")
            return rows

        rows = database.atomically(claim)
        return Taken([delivery(number, row) for row in rows], 0.0 if rows else pause, contended=not rows)

    def bring_back(self, database: Database, until: float) -> None:
        database.atomically(_bring_back, until)

    # -- settling

    def settle(self, database: Database, endings: Sequence[Ending]) -> set[Token]:
        return database.atomically(lambda session: _settle(session, endings))

    def extend(self, database: Database, tokens: Sequence[Token], lease: int) -> set[Token]:
        def work(session: Session) -> set[Token]:
            live = _live(session, tokens)
            if live:
                session.run("extend", ids=[token.id for token in live], lease=lease)
            return live

        return database.atomically(work)

    # -- records

    def put(self, database: Database, rows: Sequence[RecordRow]) -> None:
        database.atomically(lambda session: _put(session, rows))

    def written(self, database: Database, ids: Sequence[str], last: int) -> tuple[list[tuple[int, str]], int]:
        if self._ordered:
            rows = database.plainly(lambda session: session.rows("results_since", last=last))
            return rows, max((number for number, _ in rows), default=last)
        return database.plainly(lambda session: session.rows("result_numbers", task_ids=list(ids))), last


def _seconds(duration: int | None) -> float:
    return float("inf") if duration is None else duration / 1000


def _insert(session: Session, entries: Sequence[Entry]) -> None:
    fresh = [row for row in entries if row.key is None or _is_first(session, row)]
    if fresh:
        session.many("send", [_values(row) for row in fresh])
    faults.point("sql.send_written")


def _is_first(session: Session, row: Entry) -> bool:
    # Two statements, for not every database says whether the second half of an "insert or update" has happened.
    session.run("forget_key", key=row.key)
    return session.run("remember_key", key=row.key, window=row.window) == 1


def _values(row: Entry) -> Mapping[str, Any]:
    return {
        "queue": row.queue,
        "delay": row.delay,
        "priority": row.priority,
        "base": row.base,
        "task_id": row.task_id,
        "task": row.task,
        "frame": row.frame,
    }


def _bring_back(session: Session) -> None:
    for name in ("due", "lapsed"):
        ids = [id for (id,) in session.rows(name, limit=OVERDUE_AT_ONCE)]
        if ids:
            session.run("put_back", ids=ids)


def _first_waiting(session: Session, queues: Sequence[str], limit: int) -> list[Any]:
    # One look into the index per queue: `queue IN (…)` would sort all that waits.
    each = [session.rows("first_waiting", queue=queue, limit=limit) for queue in queues]
    if len(each) == 1:
        return each[0]
    return list(islice(heapq.merge(*each, key=lambda row: row[:2]), limit))


def _live(session: Session, tokens: Sequence[Token]) -> set[Token]:
    """Those that are not stale, locked."""
    numbers = dict(session.rows("held", ids=[token.id for token in tokens]))
    return {token for token in tokens if numbers.get(token.id) == token.number}


def _settle(session: Session, endings: Sequence[Ending]) -> set[Token]:
    live = _live(session, [each.token for each in endings])
    gone: list[int] = []
    aside: list[Mapping[str, Any]] = []
    entries: list[Entry] = []
    records: list[RecordRow] = []
    for each in endings:
        if each.token not in live:
            continue
        match each.settlement:
            case Ack() | Retry():
                gone.append(each.token.id)
            case Release(counted=counted):
                session.run("release", id=each.token.id, taken=0 if counted else 1)
            case Bury(reason=reason):
                aside.append({"id": each.token.id, "shelf": DEAD, "reason": text(reason), "task": ""})
            case Park(reason=reason, task=task):
                aside.append(
                    {
                        "id": each.token.id,
                        "shelf": PARKED,
                        "reason": text(reason),
                        "task": text(task)[:LONGEST_NAME],
                    }
                )
        entries += each.entries
        if each.record is not None:
            records.append(each.record)
    if gone:
        session.run("remove", ids=gone)
    for values in aside:
        session.run("set_aside", **values)
    faults.point("sql.settle_removed")
    if entries:
        _insert(session, entries)
    if records:
        _put(session, records)
    faults.point("sql.settle_written")
    return live


def _put(session: Session, rows: Sequence[RecordRow]) -> None:
    """A later record of the batch replaces an earlier one, unless that is a success."""
    ids = list(dict.fromkeys(row[0] for row in rows))
    there = dict(session.rows("records", task_ids=ids))  # task id -> whether it is a success that stays
    latest: dict[str, RecordRow] = {}
    for row in rows:
        earlier = latest.get(row[0])
        if not there.get(row[0]) and (earlier is None or earlier[1] != "SUCCESS"):
            latest[row[0]] = row
    replaced = [id for id in latest if id in there]
    if replaced:
        session.run("unrecord", task_ids=replaced)
    if latest:
        session.many(
            "record",
            [
                {"task_id": task_id, "state": state, "ttl": ttl, "payload": payload}
                for task_id, state, ttl, payload, _ in latest.values()
            ],
        )
