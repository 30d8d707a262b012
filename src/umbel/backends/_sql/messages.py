"""What the broker does to the tables of messages, in plain calls on a database; no threads and no loop here."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from umbel import faults
from umbel.backends._sql.database import Database, Session, Taken
from umbel.backends._sql.entries import (
    LONGEST_NAME,
    SHELVES,
    Ending,
    Token,
    ending,
    entry,
    ids_of,
    milliseconds,
    text,
    token_of,
    turn_base,
)
from umbel.core.kombu_json import dump_frame, load_frame
from umbel.core.priority import frame_priority
from umbel.errors import DecodeError, OperationalError
from umbel.ports import Depth, Frame, Located, Outgoing, Receipt, Settlement, Shelf, Shelved

__all__ = [
    "Doubts",
    "browse",
    "depth",
    "discard",
    "extend",
    "find",
    "know",
    "prune_dead",
    "purge",
    "queues",
    "reclaim",
    "requeue",
    "reserve",
    "revoke",
    "revoked",
    "rewrite",
    "send",
    "settle",
    "unpark",
]

LOOK_PATIENCE = 0.5
"""Seconds for which somebody who only looks waits for a lock."""


# --------------------------------------------------------------------------------------- sending, reserving, settling


def send(database: Database, batch: Sequence[Outgoing], until: float | None = None) -> None:
    entries = [entry(out) for out in batch]
    if entries:
        database.dialect.send(database, entries, until)


class Doubts:
    """What a broker has asked for and not been answered, because its connection broke: done, or not."""

    def __init__(self) -> None:
        self.claims: list[int] = []
        """Numbers of tokens."""
        self.settled: set[Receipt] = set()


def reserve(
    database: Database, queues: Sequence[str], limit: int, lease: float, holder: str, doubts: Doubts
) -> Taken:
    """Bring back what is overdue, and lease up to `limit` messages in order of service. Never waits."""
    if doubts.claims:
        # What was leased then has not been seen by anybody, and nobody would wait for its leases to end.
        undone = list(doubts.claims)
        database.plainly(lambda session: session.run("undo", tokens=undone))
        del doubts.claims[: len(undone)]
    number = int.from_bytes(os.urandom(7))
    try:
        return database.dialect.reserve(database, queues, limit, milliseconds(lease), holder, number)
    except OperationalError as exc:
        if exc.in_doubt:
            doubts.claims.append(number)
        raise


def settle(
    database: Database, batch: Sequence[Settlement], doubts: Doubts, *, adopted: bool
) -> list[Receipt]:
    """All of `batch`, in order, in one transaction; returns the stale receipts."""
    endings = [ending(settlement, adopted=adopted) for settlement in batch]
    first: dict[Token, Ending] = {}
    for each in endings:
        first.setdefault(each.token, each)
    opened = [each for token, each in first.items() if token.id]
    try:
        live = database.dialect.settle(database, opened) if opened else set()
    except OperationalError as exc:
        if exc.in_doubt:
            doubts.settled.update(each.settlement.receipt for each in opened)
        raise
    live |= _done_before(database, [each for each in opened if each.token not in live], doubts)
    doubts.settled.difference_update(each.settlement.receipt for each in endings)
    # A receipt opens once.
    return [
        each.settlement.receipt for each in endings if each.token not in live or first[each.token] is not each
    ]


def _done_before(database: Database, stale: Sequence[Ending], doubts: Doubts) -> set[Token]:
    """Those of `stale` that were carried out by an attempt whose answer was lost: unless somebody else holds their message
    now, or has taken it from us and ended it since, which comes to the same."""
    asked = {each.token for each in stale if each.settlement.receipt in doubts.settled}
    if not asked:
        return set()
    held = dict(database.plainly(lambda session: session.rows("held", ids=[token.id for token in asked])))
    return {token for token in asked if held.get(token.id) is None}


def extend(database: Database, receipts: Collection[Receipt], lease: float) -> list[Receipt]:
    tokens = {receipt: token for receipt in receipts if (token := token_of(receipt)).id}
    live = database.dialect.extend(database, list(tokens.values()), milliseconds(lease)) if tokens else set()
    return [receipt for receipt in receipts if tokens.get(receipt) not in live]


def reclaim(database: Database, holder: str) -> int:
    number = database.plainly(lambda session: session.run("reclaim", holder=holder))
    faults.point("sql.reclaim_written")
    return number


# ------------------------------------------------------------------------------------------- inspection and repair


def depth(database: Database, queues: Sequence[str]) -> dict[str, Depth]:
    depths = {queue: Depth() for queue in queues}
    for queue, shelf, count in database.plainly(lambda session: session.rows("depth", queues=list(depths))):
        name = SHELVES[shelf]
        setattr(depths[queue], name, getattr(depths[queue], name) + count)
    return depths


def know(database: Database, queues: Collection[str]) -> None:
    """Remember the names of queues that somebody works on, for when no message names them."""
    names = [name for name in map(text, queues) if len(name) <= LONGEST_NAME]

    def work(session: Session) -> None:
        known = {name for (name,) in session.rows("known_queues", queues=names)}
        for name in names:
            if name not in known:
                session.run("know_queue", queue=name)

    database.plainly(work)


def queues(database: Database) -> list[str]:
    return sorted({name for (name,) in database.plainly(lambda session: session.rows("queues"))})


def _bring_back_overdue(database: Database) -> None:
    """Show what became due, or was held for too long, as what waits. Looking must not need a lock for more."""
    [(_, due_in, ends_in)] = database.plainly(lambda session: session.rows("look", queues=[]))
    if any(duration is not None and duration <= 0 for duration in (due_in, ends_in)):
        with suppress(OperationalError):  # locked, full or read-only: then it is shown where it lies
            database.dialect.bring_back(database, time.monotonic() + LOOK_PATIENCE)


def browse(database: Database, shelf: Shelf, queues: Sequence[str], limit: int) -> list[Shelved]:
    _bring_back_overdue(database)
    rows = database.plainly(
        lambda session: session.rows(f"browse_{shelf}", queues=list(queues), every=not queues, limit=limit)
    )
    return [_shelved(shelf, row) for row in rows]


def _shelved(shelf: Shelf, row: tuple[Any, ...]) -> Shelved:
    queue, task_id, task, id, reason, since, due_in, ends_in, deliveries, raw = row
    data = bytes(raw)
    item = Shelved(
        shelf=shelf,
        queue=queue,
        task_id=task_id,
        task=task,
        key=str(id) if shelf in ("parked", "dead") else "",
        reason=reason,
        since=since / 1000,
        deliveries=deliveries,
        raw=data,
    )
    if shelf == "scheduled":
        item.due_in = due_in / 1000
    elif shelf == "held":
        item.due_in = ends_in / 1000
    with suppress(DecodeError):  # then `raw` is all that there is
        item.frame = load_frame(data)
    return item


def find(database: Database, task_id: str) -> Located | None:
    _bring_back_overdue(database)
    rows = database.plainly(lambda session: session.rows("find", task_id=text(task_id)))
    for shelf, queue, reason, raw in rows:
        located = Located(shelf=SHELVES[shelf], queue=queue, reason=reason)
        with suppress(DecodeError):  # then nothing can be said of it
            located.frame = load_frame(bytes(raw))
        return located
    return None


def purge(database: Database, queues: Sequence[str]) -> int:
    names = list(dict.fromkeys(queues))
    know(database, names)

    def work(session: Session) -> int:
        return sum(
            session.run(name, queues=names) for name in ("purge_waiting", "purge_scheduled", "purge_lapsed")
        )

    return database.atomically(work)


def requeue(database: Database, shelf: Shelf, keys: Collection[str]) -> int:
    number = _on_shelf(database, "requeue", shelf, keys)
    faults.point("sql.requeue_written")
    return number


def discard(database: Database, shelf: Shelf, keys: Collection[str]) -> int:
    return _on_shelf(database, "discard", shelf, keys)


def _on_shelf(database: Database, statement: str, shelf: Shelf, keys: Collection[str]) -> int:
    ids = ids_of(keys)
    if not ids:
        return 0
    return database.plainly(lambda session: session.run(statement, ids=ids, shelf=SHELVES.index(shelf)))


def rewrite(database: Database, key: str, frame: Frame) -> bool:
    priority = frame_priority(frame)

    def work(session: Session) -> bool:
        for id in ids_of([key]):
            for (queue,) in session.rows("queue_of_dead", id=id):
                session.run(
                    "rewrite",
                    id=id,
                    task_id=text(frame.task_id)[:LONGEST_NAME],
                    task=text(frame.task_name)[:LONGEST_NAME],
                    frame=dump_frame(frame, routing_key=queue),
                    priority=priority,
                    base=turn_base(priority),
                )
                return True
        return False

    return database.atomically(work)


def prune_dead(database: Database, age: float | None, most: int | None, limit: int) -> int:
    names = queues(database)

    def work(session: Session) -> int:
        number = 0
        # Each gets its turn, however much falls due in another one.
        for queue in random.sample(names, len(names)):
            if age is not None:
                number += session.run(
                    "prune_old_dead", queue=queue, age=milliseconds(age), limit=limit - number
                )
            if most is not None:
                number += session.run("prune_crowded_dead", queue=queue, most=most, limit=limit - number)
        return number

    return database.atomically(work)


def unpark(database: Database, tasks: Collection[str]) -> int:
    names = [text(task)[:LONGEST_NAME] for task in tasks]
    if not names:
        return 0
    number = database.plainly(lambda session: session.run("unpark", tasks=names))
    if number:
        faults.point("sql.unpark_written")
    return number


def revoke(database: Database, task_ids: Collection[str], window: float) -> None:
    rows = [
        {"task_id": id, "window": milliseconds(window)}
        for id in map(text, task_ids)
        if len(id) <= LONGEST_NAME
    ]
    if rows:
        database.atomically(lambda session: session.many("revoke", rows))


def revoked(database: Database, among: Collection[str] | None) -> Collection[str]:
    def look(session: Session) -> Collection[str]:
        if among is None:
            return {task_id for (task_id,) in session.rows("revoked")}
        return {
            id for id in among if len(id) <= LONGEST_NAME and session.rows("is_revoked", task_id=text(id))
        }

    return database.plainly(look)
