"""What the broker does to the tables of messages, in plain calls on a database; no threads and no loop here."""

from __future__ import annotations

import heapq
import os
import random
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import apsw
import msgspec

from umbel import faults
from umbel.backends._common_machine_clock import milliseconds, steady_now, wall_now
from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.records import RecordRow, put_rows, record_row
from umbel.backends.sqlite.statements import fetch, statement
from umbel.core.kombu_json import dump_frame, load_frame
from umbel.core.priority import frame_priority
from umbel.errors import DecodeError, OperationalError
from umbel.ports import (
    Ack,
    Bury,
    Delivery,
    Depth,
    Frame,
    Located,
    Outgoing,
    Park,
    Receipt,
    Release,
    Retry,
    Settlement,
    Shelf,
    Shelved,
)

__all__ = [
    "Taken",
    "browse",
    "depth",
    "discard",
    "extend",
    "find",
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

SHELVES: tuple[Shelf, ...] = ("waiting", "scheduled", "held", "parked", "dead")
"""The number of a shelf in the database is its place here."""
WAITING, SCHEDULED, HELD, PARKED, DEAD = range(5)
FRONT = 1 << 52
"""Subtracted from the rank of what goes before everything of its priority that waits."""
OVERDUE_AT_ONCE = 2000
"""How many messages one call brings back: more would keep others from the write lock for too long."""
LOOK_PATIENCE = 0.5
"""Seconds for which somebody who only looks waits for the write lock."""

_SEND = statement("send")
_KNOW_QUEUE = statement("know_queue")
_REMEMBER_KEY = statement("remember_key")
_LOOK = statement("look")
_PROMOTE = statement("promote")
_LAPSE = statement("lapse")
_FIRST_WAITING = statement("first_waiting")
_HOLD = statement("hold")
_REMOVE = statement("remove")
_RELEASE = statement("release")
_SET_ASIDE = statement("set_aside")
_EXTEND = statement("extend")
_RECLAIM = statement("reclaim")
_DEPTH = statement("depth")
_QUEUES = statement("queues")
_BROWSE = {shelf: statement(f"browse_{shelf}") for shelf in SHELVES}
_FIND = statement("find")
_PURGE = [statement("purge_waiting"), statement("purge_scheduled")]
_PURGE_LAPSED = statement("purge_lapsed")
_REQUEUE = statement("requeue")
_DISCARD = statement("discard")
_QUEUE_OF_DEAD = statement("queue_of_dead")
_REWRITE = statement("rewrite")
_PRUNE_CROWDED_DEAD = statement("prune_crowded_dead")
_PRUNE_OLD_DEAD = statement("prune_old_dead")
_UNPARK = statement("unpark")
_REVOKE = statement("revoke")
_REVOKED = statement("revoked")
_IS_REVOKED = statement("is_revoked")

_as_json = msgspec.json.Encoder().encode


def _names(names: Iterable[str]) -> str:
    """For ``json_each``: one statement for any number of names, and no text of theirs in it."""
    return _as_json(list(names)).decode()


# -------------------------------------------------------------------------------------------------------- sending


class _Row(NamedTuple):
    """An outgoing message, encoded before the write lock is taken."""

    queue: str
    priority: int
    delay: int
    entry: bytes
    task_id: str
    task: str
    dedupe_key: str | None
    dedupe_window: int
    first: bool = False


def _row(out: Outgoing, *, replaces: bool = False, first: bool = False) -> _Row:
    frame = out.frame
    return _Row(
        out.queue,
        out.priority,
        milliseconds(out.due_in) if out.due_in is not None and out.due_in > 0 else 0,
        dump_frame(frame, routing_key=out.queue),
        frame.task_id,
        frame.task_name,
        # A replacement is never dropped as a duplicate: that would lose the call.
        None if replaces else out.dedupe_key,
        milliseconds(out.dedupe_window),
        first,
    )


def send(database: Database, batch: Sequence[Outgoing], until: float | None = None) -> None:
    rows = [_row(out) for out in batch]
    if rows:
        with database.write(until) as connection:
            _insert(connection, rows)
            faults.point("sqlite.send_written")


def _insert(connection: apsw.Connection, rows: Sequence[_Row]) -> None:
    now = wall_now()
    fresh = [row for row in rows if row.dedupe_key is None or _is_first(connection, row, now)]
    connection.executemany(_KNOW_QUEUE, [(queue,) for queue in {row.queue for row in fresh}])
    connection.executemany(_SEND, [_values(row, now) for row in fresh])


def _values(row: _Row, now: int) -> tuple[Any, ...]:
    due = now + row.delay
    return (
        row.queue,
        SCHEDULED if row.delay else WAITING,
        row.priority,
        due - FRONT if row.first and not row.delay else due,
        due,
        now,
        row.task_id,
        row.task,
        row.entry,
    )


def _is_first(connection: apsw.Connection, row: _Row, now: int) -> bool:
    return connection.execute(_REMEMBER_KEY, (row.dedupe_key, now + row.dedupe_window, now)).get is not None


# ------------------------------------------------------------------------------------------------------ reserving


class Taken(NamedTuple):
    """What ``reserve`` found."""

    deliveries: list[Delivery]
    pause: float
    """Seconds until a scheduled message is due or a lease ends; infinite when there is none."""


def reserve(database: Database, queues: Sequence[str], limit: int, lease: float, holder: str) -> Taken:
    """Bring back what is overdue, and lease up to `limit` messages in order of service. Never waits."""
    names = _names(queues)
    with database.read() as connection:
        [(waits, due, lease_end)] = fetch(connection, _LOOK, (names,))
    wall, steady = wall_now(), steady_now()
    pause = min(
        float("inf") if due is None else (due - wall) / 1000,
        float("inf") if lease_end is None else (lease_end - steady) / 1000,
    )
    if not waits and pause > 0:
        return Taken([], pause)
    with database.write() as connection:
        wall, steady = wall_now(), steady_now()
        _bring_back(connection, wall, steady)
        faults.point("sqlite.overdue_brought_back")
        rows = _first_waiting(connection, queues, limit, wall)
        token = int.from_bytes(os.urandom(7))  # one for the batch: a receipt names its row besides
        until = steady + milliseconds(lease)
        ids = _as_json([row[2] for row in rows]).decode()
        connection.execute(_HOLD, (ids, token, until, holder, wall))
        faults.point("sqlite.reserve_written")
    return Taken([_delivery(token, row) for row in rows], 0.0)


def _first_waiting(
    connection: apsw.Connection, queues: Sequence[str], limit: int, now: int
) -> list[tuple[Any, ...]]:
    # One look into the index per queue: `queue IN (…)` would sort all that waits.
    each = [fetch(connection, _FIRST_WAITING, (queue, limit, now)) for queue in dict.fromkeys(queues)]
    if len(each) == 1:
        return list(each[0])
    return list(islice(heapq.merge(*each, key=_service_order), limit))


def _service_order(row: tuple[Any, ...]) -> tuple[int, int, int]:
    priority, rank, id = row[:3]
    return (-priority, rank, id)


def _delivery(token: int, row: tuple[Any, ...]) -> Delivery:
    _, _, id, queue, deliveries, revoked, entry = row
    receipt, count = Receipt(queue, f"{id}.{token:x}"), deliveries + 1
    try:
        frame = load_frame(entry)
    except DecodeError as exc:
        return Delivery(receipt=receipt, frame=None, count=count, raw=entry, problem=str(exc))
    return Delivery(receipt=receipt, frame=frame, count=count, revoked=bool(revoked))


# ------------------------------------------------------------------------------------------------------- settling

_TOKEN = re.compile(r"(\d{1,18})\.([0-9a-f]{1,14})")


def _row_and_token(receipt: Receipt) -> tuple[int, int]:
    """What the receipt names; row 0, which there never is, when it is not one of ours."""
    match = _TOKEN.fullmatch(receipt.token)
    return (int(match[1]), int(match[2], 16)) if match else (0, 0)


class _Step(NamedTuple):
    """A settlement, encoded before the write lock is taken."""

    settlement: Settlement
    rows: list[_Row]
    record: RecordRow | None


def _step(settlement: Settlement, *, adopted: bool) -> _Step:
    match settlement:
        case Ack(then=then, record=record) | Bury(then=then, record=record):
            rows = [_row(out) for out in then]
        case Retry(replacement=replacement, record=record, first=first):
            rows = [_row(replacement, replaces=True, first=first)]
        case _:
            rows, record = [], None
    return _Step(settlement, rows, record_row(record) if adopted and record is not None else None)


def settle(database: Database, batch: Sequence[Settlement], *, adopted: bool) -> list[Receipt]:
    """All of `batch`, in order, in one transaction; returns the stale receipts."""
    steps = [_step(settlement, adopted=adopted) for settlement in batch]
    if not steps:
        return []
    stale: list[Receipt] = []
    rows: list[_Row] = []
    records: list[RecordRow] = []
    with database.write() as connection:
        for settlement, follow_ups, record in steps:
            if not _end(connection, settlement):
                stale.append(settlement.receipt)
                continue
            rows += follow_ups
            if record is not None:
                records.append(record)
        faults.point("sqlite.settle_removed")
        if rows:
            _insert(connection, rows)
        put_rows(connection, records)
        faults.point("sqlite.settle_written")
    return stale


def _end(connection: apsw.Connection, settlement: Settlement) -> bool:
    """Take the message out of its holder's hands; False when the receipt is stale."""
    held = _row_and_token(settlement.receipt)
    match settlement:
        case Ack() | Retry():
            connection.execute(_REMOVE, held)
        case Release(counted=counted):
            connection.execute(_RELEASE, (*held, 0 if counted else 1, FRONT))
        case Bury(reason=reason):
            connection.execute(_SET_ASIDE, (*held, DEAD, reason, wall_now(), ""))
        case Park(reason=reason, task=task):
            connection.execute(_SET_ASIDE, (*held, PARKED, reason, wall_now(), task))
    return connection.changes() == 1


def extend(database: Database, receipts: Collection[Receipt], lease: float) -> list[Receipt]:
    if not receipts:
        return []
    with database.write() as connection:
        until = steady_now() + milliseconds(lease)
        return [receipt for receipt in receipts if not _extend_one(connection, receipt, until)]


def _extend_one(connection: apsw.Connection, receipt: Receipt, until: int) -> bool:
    connection.execute(_EXTEND, (*_row_and_token(receipt), until))
    return connection.changes() == 1


def reclaim(database: Database, holder: str) -> int:
    with database.write() as connection:
        connection.execute(_RECLAIM, (holder,))
        faults.point("sqlite.reclaim_written")
        return connection.changes()


# ------------------------------------------------------------------------------------------- inspection and repair


def depth(database: Database, queues: Sequence[str]) -> dict[str, Depth]:
    depths = {queue: Depth() for queue in queues}
    with database.read() as connection:
        for queue, shelf, count in fetch(connection, _DEPTH, (_names(queues), wall_now(), steady_now())):
            name = SHELVES[shelf]
            setattr(depths[queue], name, getattr(depths[queue], name) + count)
    return depths


def queues(database: Database) -> list[str]:
    with database.read() as connection:
        return [name for (name,) in fetch(connection, _QUEUES)]


def _bring_back_overdue(database: Database) -> None:
    """Show what became due, or was held for too long, as what waits. Looking must not need the write lock for more."""
    with database.read() as connection:
        [(_, due, lease_end)] = fetch(connection, _LOOK, ("[]",))
    if (due is not None and due <= wall_now()) or (lease_end is not None and lease_end <= steady_now()):
        # Locked, full or read-only: then it is shown where it lies.
        with suppress(OperationalError), database.write(time.monotonic() + LOOK_PATIENCE) as connection:
            _bring_back(connection, wall_now(), steady_now())


def _bring_back(connection: apsw.Connection, wall: int, steady: int) -> None:
    connection.execute(_PROMOTE, (wall, OVERDUE_AT_ONCE))
    connection.execute(_LAPSE, (steady, OVERDUE_AT_ONCE))


def browse(database: Database, shelf: Shelf, queues: Sequence[str], limit: int) -> list[Shelved]:
    _bring_back_overdue(database)
    with database.read() as connection:
        rows = fetch(connection, _BROWSE[shelf], (_names(queues) if queues else None, limit))
    return [_shelved(shelf, row) for row in rows]


def _shelved(shelf: Shelf, row: tuple[Any, ...]) -> Shelved:
    queue, task_id, task, id, reason, since, due, lease_until, deliveries, entry = row
    item = Shelved(
        shelf=shelf,
        queue=queue,
        task_id=task_id,
        task=task,
        key=str(id) if shelf in ("parked", "dead") else "",
        reason=reason,
        since=since / 1000,
        deliveries=deliveries,
        raw=entry,
    )
    if shelf == "scheduled":
        item.due_in = (due - wall_now()) / 1000
    elif shelf == "held":
        item.due_in = (lease_until - steady_now()) / 1000
    with suppress(DecodeError):  # then `raw` is all that there is
        item.frame = load_frame(entry)
    return item


def find(database: Database, task_id: str) -> Located | None:
    _bring_back_overdue(database)
    with database.read() as connection:
        for shelf, queue, reason, entry in fetch(connection, _FIND, (task_id,)):
            located = Located(shelf=SHELVES[shelf], queue=queue, reason=reason)
            with suppress(DecodeError):
                located.frame = load_frame(entry)
            return located
    return None


def purge(database: Database, queues: Sequence[str]) -> int:
    number = 0
    with database.write() as connection:
        for sql in _PURGE:
            connection.execute(sql, (_names(queues),))
            number += connection.changes()
        connection.execute(_PURGE_LAPSED, (_names(queues), steady_now()))
        number += connection.changes()
    return number


def _ids(keys: Collection[str]) -> Iterator[int]:
    return (int(key) for key in dict.fromkeys(keys) if key.isdecimal() and len(key) <= 18)


def requeue(database: Database, shelf: Shelf, keys: Collection[str]) -> int:
    with database.write() as connection:
        now = wall_now()
        values = [(id, SHELVES.index(shelf), now) for id in _ids(keys)]
        count = len(list(connection.executemany(_REQUEUE, values)))
        faults.point("sqlite.requeue_written")
        return count


def discard(database: Database, shelf: Shelf, keys: Collection[str]) -> int:
    with database.write() as connection:
        values = [(id, SHELVES.index(shelf)) for id in _ids(keys)]
        return len(list(connection.executemany(_DISCARD, values)))


def rewrite(database: Database, key: str, frame: Frame) -> bool:
    with database.write() as connection:
        for id in _ids([key]):
            queue = connection.execute(_QUEUE_OF_DEAD, (id,)).get
            if queue is not None:
                entry = dump_frame(frame, routing_key=queue)
                values = (id, frame.task_id, frame.task_name, entry, frame_priority(frame))
                connection.execute(_REWRITE, values)
                return True
    return False


def prune_dead(database: Database, age: float | None, most: int | None, limit: int) -> int:
    names = queues(database)
    number = 0
    with database.write() as connection:
        for queue in random.sample(
            names, len(names)
        ):  # each gets its turn, however much falls due in another one
            if age is not None:
                before = wall_now() - milliseconds(age)
                connection.execute(_PRUNE_OLD_DEAD, (queue, before, limit - number))
                number += connection.changes()
            if most is not None:
                connection.execute(_PRUNE_CROWDED_DEAD, (queue, most, limit - number))
                number += connection.changes()
    return number


def unpark(database: Database, tasks: Collection[str]) -> int:
    with database.write() as connection:
        connection.execute(_UNPARK, (_names(tasks), wall_now()))
        count = connection.changes()
        if count:
            faults.point("sqlite.unpark_written")
        return count


def revoke(database: Database, task_ids: Collection[str], window: float) -> None:
    with database.write() as connection:
        until = wall_now() + milliseconds(window)
        connection.executemany(_REVOKE, [(task_id, until) for task_id in task_ids])


def revoked(database: Database, among: Collection[str] | None) -> Collection[str]:
    with database.read() as connection:
        if among is None:
            return {task_id for (task_id,) in fetch(connection, _REVOKED, (wall_now(),))}
        return {task_id for (task_id,) in fetch(connection, _IS_REVOKED, (_names(among), wall_now()))}
