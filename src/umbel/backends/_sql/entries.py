"""Messages, settlements and records as rows: encoded before any lock is taken, so that what cannot be is refused early."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from umbel.core.kombu_json import dump_frame, load_frame
from umbel.errors import DecodeError, EncodeError
from umbel.ports import (
    Ack,
    Bury,
    Delivery,
    Outgoing,
    Park,
    Receipt,
    Record,
    Release,
    Retry,
    Settlement,
    Shelf,
)

__all__ = [
    "DEAD",
    "FRONT",
    "HELD",
    "LONGEST_NAME",
    "PARKED",
    "SCHEDULED",
    "SHELVES",
    "WAITING",
    "Ending",
    "Entry",
    "RecordRow",
    "Token",
    "delivery",
    "ending",
    "entry",
    "ids_of",
    "milliseconds",
    "record_row",
    "short",
    "text",
    "token_of",
    "turn_base",
]

SHELVES: tuple[Shelf, ...] = ("waiting", "scheduled", "held", "parked", "dead")
"""The number of a shelf in the database is its place here."""
WAITING, SCHEDULED, HELD, PARKED, DEAD = range(5)

# A message's turn is one number, so that one ascending index column gives the order of service everywhere: 2**55 for each
# step of priority, and within it the time in milliseconds when it was due. The statements know both constants.
_PRIORITY_STEP = 1 << 55
FRONT = 1 << 52
"""Subtracted from the turn of what goes before everything of its priority that waits."""

LONGEST_NAME = 255
"""Characters of a queue's name, a task's id and a key: what every database can have an index on."""


def turn_base(priority: int, *, first: bool = False) -> int:
    """The turn of a message of this priority at the time 0."""
    return -priority * _PRIORITY_STEP - (FRONT if first else 0)


def milliseconds(seconds: float) -> int:
    """A duration in the unit of the database, rounded up so that nothing happens early."""
    return -int(-seconds * 1000 // 1)


class Token(NamedTuple):
    """What a receipt says: the row, and the number that it got at this delivery. Row 0, which there never is, for what is
    not one of our receipts."""

    id: int
    number: int


_TOKEN = re.compile(r"(\d{1,18})\.([0-9a-f]{1,14})")


def token_of(receipt: Receipt) -> Token:
    match = _TOKEN.fullmatch(receipt.token)
    return Token(int(match[1]), int(match[2], 16)) if match else Token(0, 0)


class Entry(NamedTuple):
    """An outgoing message."""

    queue: str
    priority: int
    base: int
    """Its turn, but for the time."""
    delay: int
    task_id: str
    task: str
    frame: bytes
    key: str | None
    """To be dropped if it is remembered."""
    window: int
    after: int = 0
    """The row whose ending it follows; 0: none."""


def entry(out: Outgoing, *, after: int = 0, replaces: bool = False, first: bool = False) -> Entry:
    """Raises ``EncodeError`` for a name that is too long, ``TypeError`` for a header that JSON cannot hold."""
    frame = out.frame
    delay = milliseconds(out.due_in) if out.due_in is not None and out.due_in > 0 else 0
    # A replacement is never dropped as a duplicate: that would lose the call.
    key = None if replaces or out.dedupe_key is None else short(out.dedupe_key)
    return Entry(
        _name(out.queue, "queue's name"),
        out.priority,
        turn_base(out.priority, first=first and not delay),
        delay,
        _name(frame.task_id, "task's id"),
        text(frame.task_name)[:LONGEST_NAME],
        dump_frame(frame, routing_key=out.queue),
        key,
        milliseconds(out.dedupe_window),
        after,
    )


def _name(name: str, what: str) -> str:
    if len(name) > LONGEST_NAME or "\0" in name:
        wrong = f"{len(name)} characters" if len(name) > LONGEST_NAME else "a NUL character"
        raise EncodeError(
            f"The {what} {name[:40]!r}… has {wrong}; a database holds up to {LONGEST_NAME} characters without NUL. Nothing "
            "was sent. Choose a shorter one."
        )
    return text(name)


def text(value: str) -> str:
    """What every database takes: no NUL, nothing that is not UTF-8."""
    if "\0" in value or not value.isascii():
        return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return value


def short(key: str) -> str:
    """A dedupe key, or a digest of one that is too long for an index."""
    key = text(key)
    return key if len(key) <= LONGEST_NAME else "sha256:" + hashlib.sha256(key.encode()).hexdigest()


RecordRow = tuple[str, str, int | None, bytes, int]
"""Task id, state, ttl in ms (None: for ever), payload, the row whose ending it tells of (0: none)."""


def record_row(record: Record, *, after: int = 0) -> RecordRow:
    ttl = None if record.ttl is None else milliseconds(record.ttl)
    return (_name(record.task_id, "task's id"), record.state, ttl, record.payload, after)


class Ending(NamedTuple):
    """A settlement."""

    settlement: Settlement
    token: Token
    entries: list[Entry]
    record: RecordRow | None


def ending(settlement: Settlement, *, adopted: bool) -> Ending:
    token = token_of(settlement.receipt)
    record: Record | None = None
    entries: list[Entry] = []
    match settlement:
        case Ack(then=then, record=record) | Bury(then=then, record=record):
            entries = [entry(out, after=token.id) for out in then]
        case Retry(replacement=replacement, record=record, first=first):
            entries = [entry(replacement, after=token.id, replaces=True, first=first)]
        case Release() | Park():
            pass
    kept = record_row(record, after=token.id) if adopted and record is not None else None
    return Ending(settlement, token, entries, kept)


def delivery(number: int, row: Sequence[Any]) -> Delivery:
    """Of a row (turn, id, queue, deliveries before this one, revoked, frame)."""
    _, id, queue, deliveries, revoked, raw = row
    receipt, count, data = Receipt(queue, f"{id}.{number:x}"), deliveries + 1, bytes(raw)
    try:
        frame = load_frame(data)
    except DecodeError as exc:
        return Delivery(receipt=receipt, frame=None, count=count, raw=data, problem=str(exc))
    return Delivery(receipt=receipt, frame=frame, count=count, revoked=bool(revoked))


def ids_of(keys: Collection[str]) -> list[int]:
    """The rows that keys of ``browse`` name; what is not one of ours names none."""
    return list(_numbers(dict.fromkeys(keys)))


def _numbers(keys: Iterable[str]) -> Iterator[int]:
    return (int(key) for key in keys if key.isascii() and key.isdecimal() and len(key) <= 18)
