"""One named memory of the process: its messages, its records and those who wait for them."""

from __future__ import annotations

import heapq
import os
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from umbel.backends.memory.joins import Joins
from umbel.core.kombu_json import dump_frame, load_frame
from umbel.core.outcome import SUCCESS
from umbel.errors import CapabilityError, DecodeError
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

__all__ = ["Memo", "Message", "Place", "ResultFeed", "SignalFeed", "forget_memory", "named_place", "outgoing"]

FRONT = 1e9
"""Subtracted from the rank of what goes before everything of its priority that waits."""
SWEEP_EVERY = 60.0


@dataclass(slots=True, eq=False)
class Message:
    id: int
    queue: str
    priority: int
    rank: float
    """Orders the messages of one priority: when it was or will be due, less ``FRONT`` for what goes first."""
    entry: bytes
    """The frame as a queue entry. Not the object: sender and receiver must not share mutable headers."""
    task_id: str = ""
    task: str = ""
    shelf: Shelf = "waiting"
    due: float = 0.0
    token: str = ""
    lease_until: float = 0.0
    holder: str = ""
    deliveries: int = 0
    reason: str = ""
    since: float = 0.0

    def order(self) -> tuple[int, float, int]:
        return (-self.priority, self.rank, self.id)


class Clock:
    """The time of a place: the machine's."""

    def now(self) -> float:
        """Seconds from some moment on, which nobody sets."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()


class StoppedClock(Clock):
    """A clock that stands still and is moved by hand, for tests."""

    def __init__(self) -> None:
        self._now, self._wall = time.monotonic(), time.time()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let so many seconds have passed."""
        self._now += seconds
        self._wall += seconds


class Memo:
    """Keys that are remembered until a moment each."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self._until: dict[str, float] = {}
        self._swept = 0.0

    def __contains__(self, key: str) -> bool:
        return self._until.get(key, 0.0) > self.clock.now()

    def __len__(self) -> int:
        return len(self._until)

    def keys(self) -> list[str]:
        """All of them, those that are forgotten by now included."""
        return list(self._until)

    def add(self, key: str, seconds: float) -> None:
        now = self.clock.now()
        if now - self._swept > SWEEP_EVERY:
            self._until = {key: until for key, until in self._until.items() if until > now}
            self._swept = now
        self._until[key] = now + seconds


@dataclass(slots=True)
class Kept:
    """A record in the result store."""

    state: str
    payload: bytes
    expires: float | None

    def live(self, now: float) -> bool:
        return self.expires is None or self.expires > now


@dataclass(slots=True, eq=False)
class ResultFeed:
    """Somebody who waits for records of `ids`: `news` fills up, and `wake` is called after that."""

    ids: frozenset[str]
    wake: Callable[[], None]
    news: list[tuple[str, bytes]] = field(default_factory=list)


class Place:
    """One named memory. Every method is to be called inside ``with place.lock``, which ``use`` takes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.messages: dict[int, Message] = {}
        self.waiting: dict[str, list[tuple[tuple[int, float, int], Message]]] = defaultdict(list)
        self.scheduled: list[tuple[float, int, Message]] = []
        self.held: dict[str, Message] = {}
        self.last_id = 0
        self.known_queues: set[str] = set()
        self.clock = Clock()
        self.dedupe = Memo()
        self.revoked = Memo()
        self.on_add: Callable[[Outgoing, bool], None] = lambda out, again: None
        """Told of every message that is stored, in the order of storing, and whether it is another try of one that was there."""
        self.records: dict[str, Kept] = {}
        self.records_swept = 0.0
        self.joins = Joins(self.clock)
        self.live_nodes: dict[str, tuple[float, float, bytes]] = {}
        self.listeners: set[Callable[[], None]] = set()
        self.signal_feeds: set[SignalFeed] = set()
        self.result_feeds: set[ResultFeed] = set()

    @contextmanager
    def use(self) -> Iterator[Place]:
        if os.getpid() != self.pid:
            raise CapabilityError(
                f"memory://{self.name} belongs to process {self.pid} and cannot be reached from process "
                f"{os.getpid()}, which was forked from it. Use a broker that several processes share, such as sqlite://."
            )
        with self.lock:
            yield self

    def set_clock(self, clock: Clock) -> None:
        """Go by `clock` from now on. For a place that is empty."""
        self.clock = self.dedupe.clock = self.revoked.clock = clock

    # -- moving messages

    def add(self, out: Outgoing, *, first: bool = False, deduplicate: bool = True) -> None:
        if out.dedupe_key is not None and deduplicate:
            if out.dedupe_key in self.dedupe:
                return
            self.dedupe.add(out.dedupe_key, out.dedupe_window)
        self.last_id += 1
        now = self.clock.now()
        delay = out.due_in or 0.0
        message = Message(
            id=self.last_id,
            queue=out.queue,
            priority=out.priority,
            rank=now + delay if delay > 0 else now - (FRONT if first else 0.0),
            entry=dump_frame(out.frame, routing_key=out.queue),
            task_id=out.frame.task_id,
            task=out.frame.task_name,
            due=now + delay,
            since=self.clock.wall(),
        )
        self.messages[message.id] = message
        self.known_queues.add(out.queue)
        if delay > 0:
            message.shelf = "scheduled"
            heapq.heappush(self.scheduled, (message.due, message.id, message))
        else:
            self.let_wait(message)
        self.on_add(out, not deduplicate)

    def let_wait(self, message: Message) -> None:
        message.shelf, message.token, message.holder, message.reason = "waiting", "", "", ""
        heapq.heappush(self.waiting[message.queue], (message.order(), message))

    def bring_back(self, now: float) -> None:
        """Scheduled messages that are due and held ones whose lease ended become waiting ones."""
        while self.scheduled and self.scheduled[0][0] <= now:
            self.let_wait(heapq.heappop(self.scheduled)[2])
        for message in [message for message in self.held.values() if message.lease_until <= now]:
            del self.held[message.token]
            self.let_wait(message)

    def pop(self, queues: Sequence[str], limit: int, lease: float, holder: str) -> list[Delivery]:
        now = self.clock.now()
        self.bring_back(now)
        heaps = [heap for queue in dict.fromkeys(queues) if (heap := self.waiting.get(queue))]
        taken: list[Delivery] = []
        while heaps and len(taken) < limit:
            heap = min(heaps, key=lambda heap: heap[0][0])
            _, message = heapq.heappop(heap)
            if not heap:
                heaps.remove(heap)
            message.shelf, message.token, message.holder = "held", secrets.token_hex(8), holder
            message.lease_until = now + lease
            message.deliveries += 1
            message.since = self.clock.wall()
            self.held[message.token] = message
            taken.append(self.deliver(message))
        return taken

    def deliver(self, message: Message) -> Delivery:
        receipt = Receipt(message.queue, message.token)
        try:
            frame = load_frame(message.entry)
        except DecodeError as exc:
            return Delivery(
                receipt=receipt, frame=None, count=message.deliveries, raw=message.entry, problem=str(exc)
            )
        revoked = message.task_id in self.revoked
        return Delivery(receipt=receipt, frame=frame, count=message.deliveries, revoked=revoked)

    def next_change(self, now: float) -> float:
        """Seconds until something becomes due or a lease ends; infinite when nothing will by itself."""
        if isinstance(self.clock, StoppedClock):
            return float("inf")
        moments = [message.lease_until for message in self.held.values()]
        if self.scheduled:
            moments.append(self.scheduled[0][0])
        return min(moments, default=float("inf")) - now

    # -- settling

    def settle(self, settlement: Settlement, *, adopted: bool) -> bool:
        """Carry it out; False when its receipt is stale."""
        message = self.held.get(settlement.receipt.token)
        if message is None:
            return False
        del self.held[message.token]
        again = isinstance(settlement, Retry)
        first = isinstance(settlement, Retry) and settlement.first
        for out in outgoing(settlement):
            # A replacement is never deduplicated: dropping it would lose the call.
            self.add(out, first=first, deduplicate=not again)
        match settlement:
            case Ack() | Retry():
                del self.messages[message.id]
            case Release(counted=counted):
                message.deliveries -= not counted
                if message.rank > 0:
                    message.rank -= FRONT
                self.let_wait(message)
            case Bury(reason=reason):
                self.set_aside(message, "dead", reason)
            case Park(reason=reason, task=task):
                message.task = task or message.task
                self.set_aside(message, "parked", reason)
        if adopted and isinstance(settlement, Ack | Retry | Bury) and settlement.record is not None:
            self.keep(settlement.record)
        return True

    def set_aside(self, message: Message, shelf: Shelf, reason: str) -> None:
        message.shelf, message.reason, message.since = shelf, reason, self.clock.wall()
        message.token = message.holder = ""

    def put_back(self, messages: Iterable[Message]) -> int:
        returning = list(messages)
        for message in returning:
            message.deliveries = 0
            message.rank = self.clock.now()
            self.let_wait(message)
        return len(returning)

    def aside(self, shelf: Shelf, keys: Collection[str]) -> list[Message]:
        found = (self.messages.get(int(key)) for key in dict.fromkeys(keys) if key.isdecimal())
        return [message for message in found if message is not None and message.shelf == shelf]

    # -- records

    def keep(self, record: Record) -> None:
        old = self.records.get(record.task_id)
        if old is not None and old.state == SUCCESS and old.live(self.clock.now()):
            return
        if self.clock.now() - self.records_swept > SWEEP_EVERY:
            self.prune()
        expires = None if record.ttl is None else self.clock.now() + record.ttl
        self.records.pop(record.task_id, None)  # so that they are in the order of writing
        self.records[record.task_id] = Kept(record.state, record.payload, expires)
        for feed in self.result_feeds:
            if record.task_id in feed.ids:
                feed.news.append((record.task_id, record.payload))
                feed.wake()

    def payloads(self, task_ids: Iterable[str]) -> dict[str, bytes]:
        now = self.clock.now()
        kept = ((task_id, self.records.get(task_id)) for task_id in task_ids)
        return {
            task_id: record.payload for task_id, record in kept if record is not None and record.live(now)
        }

    def prune(self) -> int:
        before, now = len(self.records), self.clock.now()
        self.records = {task_id: kept for task_id, kept in self.records.items() if kept.live(now)}
        self.records_swept = now
        self.joins.sweep()
        return before - len(self.records)

    # -- listeners

    def changed(self) -> None:
        for wake in self.listeners:
            wake()


def outgoing(settlement: Settlement) -> tuple[Outgoing, ...]:
    """The messages that it sends."""
    match settlement:
        case Ack(then=then) | Bury(then=then):
            return then
        case Retry(replacement=replacement):
            return (replacement,)
        case Release() | Park():
            return ()


@dataclass(slots=True, eq=False)
class SignalFeed:
    wake: Callable[[], None]
    news: list[bytes] = field(default_factory=list)


_places: dict[str, Place] = {}
_places_lock = threading.Lock()


def named_place(name: str) -> Place:
    with _places_lock:
        place = _places.get(name)
        if place is None:
            place = _places[name] = Place(name)
        return place


def forget_memory(name: str = "") -> None:
    """Let ``memory://name`` be empty for whoever opens it next. Handles made before keep what they had."""
    with _places_lock:
        _places.pop(name, None)
