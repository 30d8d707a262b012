"""Sending, claiming and settling a whole batch by one statement, and so in one round trip (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

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

__all__ = ["Single"]

T = TypeVar("T")

OVERDUE_AT_ONCE = 2000
"""How many messages one call brings back: more would keep others from them for too long."""


class Single:
    """A ``Dialect``."""

    name = "PostgreSQL"

    def send(self, database: Database, entries: Sequence[Entry], until: float | None) -> None:
        database.plainly(lambda session: session.run("send", **_columns(entries)), until)
        faults.point("sql.send_written")

    def reserve(
        self, database: Database, queues: Sequence[str], limit: int, lease: int, holder: str, number: int
    ) -> Taken:

        def claim(session: Session, *, although_overdue: bool) -> list[Any]:
            return session.rows(
                "claim",
                queues=list(queues),
                limit=limit,
                lease=lease,
                holder=holder,
                token=number,
                although_overdue=although_overdue,
            )

        rows = database.plainly(lambda session: claim(session, although_overdue=False))
        if _overdue(rows):
            # What is due now may have to go before what waits.
            database.plainly(lambda session: session.run("bring_back", limit=OVERDUE_AT_ONCE))
            faults.point("sql.overdue_brought_back")
            rows = database.plainly(lambda session: claim(session, although_overdue=True))
        faults.point("sql.reserve_written")
        found = sorted(row[3:] for row in rows if row[3] is not None)
        if found:
            return Taken([delivery(number, row) for row in found], 0.0, contended=False)
        waits, due_in, ends_in = rows[0][:3]
        return Taken([], min(_seconds(due_in), _seconds(ends_in)), contended=waits)

    def bring_back(self, database: Database, until: float) -> None:
        database.plainly(lambda session: session.run("bring_back", limit=OVERDUE_AT_ONCE), until)

    def settle(self, database: Database, endings: Sequence[Ending]) -> set[Token]:
        batches = list(_without_repetition(endings, _task_id_of_record))

        def work(session: Session) -> set[Token]:
            found = [session.rows("settle", **_settlement(batch)) for batch in batches]
            return {Token(*row) for rows in found for row in rows}

        live = database.plainly(work) if len(batches) == 1 else database.atomically(work)
        faults.point("sql.settle_written")
        return live

    def extend(self, database: Database, tokens: Sequence[Token], lease: int) -> set[Token]:
        ids, numbers = [token.id for token in tokens], [token.number for token in tokens]
        rows = database.plainly(lambda session: session.rows("extend", ids=ids, tokens=numbers, lease=lease))
        return {Token(*row) for row in rows}

    # -- records

    def put(self, database: Database, rows: Sequence[RecordRow]) -> None:
        batches = list(_without_repetition(rows, lambda row: row[0]))

        def work(session: Session) -> None:
            for batch in batches:
                session.run("put_results", **_record_columns(batch))

        if len(batches) == 1:
            database.plainly(work)
        else:
            database.atomically(work)

    def written(self, database: Database, ids: Sequence[str], last: int) -> tuple[list[tuple[int, str]], int]:
        return database.plainly(lambda session: session.rows("result_numbers", task_ids=list(ids))), last


def _seconds(duration: int | None) -> float:
    return float("inf") if duration is None else duration / 1000


def _overdue(rows: Sequence[Any]) -> bool:
    return any(duration is not None and duration <= 0 for duration in rows[0][1:3])


def _without_repetition(items: Sequence[T], key: Callable[[T], str | None]) -> Iterator[list[T]]:
    """`items` in order, cut so that no key comes twice in one piece: a statement writes each row once."""
    piece: list[T] = []
    seen: set[str] = set()
    for item in items:
        name = key(item)
        if name in seen:
            yield piece
            piece, seen = [], set()
        piece.append(item)
        if name is not None:
            seen.add(name)
    if piece:
        yield piece


def _task_id_of_record(ending: Ending) -> str | None:
    return None if ending.record is None else ending.record[0]


# -- a batch as columns


def _columns(entries: Sequence[Entry]) -> dict[str, Any]:
    """One array for each column: any number of rows, and the text of the statement stays the same."""
    return {
        "queues": [row.queue for row in entries],
        "priorities": [row.priority for row in entries],
        "bases": [row.base for row in entries],
        "delays": [row.delay for row in entries],
        "task_ids": [row.task_id for row in entries],
        "tasks": [row.task for row in entries],
        "frames": [row.frame for row in entries],
        "keys": [row.key for row in entries],
        "windows": [row.window for row in entries],
        "afters": [row.after for row in entries],
    }


def _record_columns(rows: Sequence[RecordRow]) -> dict[str, Any]:
    return {
        "result_ids": [row[0] for row in rows],
        "result_states": [row[1] for row in rows],
        "result_ttls": [row[2] for row in rows],
        "result_payloads": [row[3] for row in rows],
        "result_afters": [row[4] for row in rows],
    }


def _settlement(endings: Sequence[Ending]) -> dict[str, Any]:
    gone: list[Token] = []
    back: list[tuple[Token, int]] = []
    aside: list[tuple[Token, int, str, str]] = []
    for each in endings:
        match each.settlement:
            case Ack() | Retry():
                gone.append(each.token)
            case Release(counted=counted):
                back.append((each.token, 0 if counted else 1))
            case Bury(reason=reason):
                aside.append((each.token, DEAD, text(reason), ""))
            case Park(reason=reason, task=task):
                aside.append((each.token, PARKED, text(reason), text(task)[:LONGEST_NAME]))
    return {
        "gone_ids": [token.id for token in gone],
        "gone_tokens": [token.number for token in gone],
        "back_ids": [token.id for token, _ in back],
        "back_tokens": [token.number for token, _ in back],
        "back_taken": [taken for _, taken in back],
        "aside_ids": [token.id for token, *_ in aside],
        "aside_tokens": [token.number for token, *_ in aside],
        "aside_shelves": [shelf for _, shelf, _, _ in aside],
        "aside_reasons": [reason for _, _, reason, _ in aside],
        "aside_tasks": [task for *_, task in aside],
        **_columns([entry for each in endings for entry in each.entries]),
        **_record_columns([each.record for each in endings if each.record is not None]),
    }
