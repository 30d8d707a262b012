"""What a broker must do, as plainly as it can be said: dictionaries and lists, one thread, a clock that is a number.

Where the contract leaves an order open, so does this: a lane is a list of *sets*, and any order inside a set is right.
Open is the order of what was put in front (released, retried first, lapsed), of what one call put back, and of queues
among themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from umbel.ports import Ack, Bury, Depth, Outgoing, Park, Record, Release, Retry, Settlement, Shelf

SHELVES: tuple[Shelf, ...] = ("waiting", "scheduled", "held", "parked", "dead")


@dataclass(eq=False)
class Message:
    id: str
    task: str
    queue: str
    priority: int
    body: bytes
    shelf: Shelf = "waiting"
    deliveries: int = 0
    reason: str = ""
    due: float = 0.0
    lease_end: float = 0.0
    holder: str = ""
    holding: int = 0
    """Which delivery holds it; 0: none."""
    shelved: int = 0
    """The call that put it on its shelf: what one call put there has no order."""


@dataclass
class Lane:
    """What waits in one queue with one priority, in order of service."""

    front: set[str] = field(default_factory=set)
    rest: list[set[str]] = field(default_factory=list)

    def sets(self) -> list[set[str]]:
        return [set(ids) for ids in (self.front, *self.rest) if ids]

    def remove(self, id: str) -> None:
        for ids in (self.front, *self.rest):
            ids.discard(id)
        self.rest = [ids for ids in self.rest if ids]


class Reference:
    def __init__(self) -> None:
        self.now = 0.0
        self.messages: dict[str, Message] = {}
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.keys: dict[str, float] = {}
        self.revoked: set[str] = set()
        self.records: dict[str, tuple[str, bytes, float]] = {}
        self._calls = 0
        self._holdings = 0

    # -- looking

    def on(self, shelf: Shelf, queue: str | None = None) -> list[Message]:
        """In the order in which they came to their shelf, as far as there is one."""
        found = [m for m in self.messages.values() if m.shelf == shelf and queue in (None, m.queue)]
        found.sort(
            key=lambda m: m.due if shelf == "scheduled" else m.lease_end if shelf == "held" else m.shelved
        )
        return found

    def depth(self, queue: str) -> Depth:
        return Depth(**{shelf: len(self.on(shelf, queue)) for shelf in SHELVES})

    def in_order(self, queues: Iterable[str]) -> list[tuple[int, str, list[set[str]]]]:
        """Priority, queue and sets in order of service, sooner first; lanes of one priority have no order."""
        lanes = [
            (priority, queue, lane.sets())
            for (queue, priority), lane in self.lanes.items()
            if queue in queues
        ]
        return sorted((lane for lane in lanes if lane[2]), key=lambda lane: -lane[0])

    def check_service(self, queues: Sequence[str], served: Sequence[str]) -> None:
        """Fail unless `served` is the beginning of a right order of what waits in `queues`."""
        lanes = self.in_order(queues)
        for position, id in enumerate(served):
            message = self.messages.get(id)
            assert message is not None, f"{id}, number {position} of {served}, was never sent or is gone"
            assert message.shelf == "waiting", f"{id}, number {position} of {served}, is {message.shelf}"
            top = max((priority for priority, _, sets in lanes if sets), default=None)
            assert message.priority == top, f"{id} comes at {position} of {served} before priority {top}"
            for priority, queue, sets in lanes:
                if (priority, queue) == (message.priority, message.queue):
                    assert id in sets[0], f"{id} comes at {position} of {served} before {sets[0]}"
                    sets[0].discard(id)
                    if not sets[0]:
                        del sets[0]

    def payloads(self) -> dict[str, bytes]:
        return {id: payload for id, (_, payload, ends) in self.records.items() if ends > self.now}

    # -- what brokers do

    def call(self) -> int:
        """A number for one call to the broker."""
        self._calls += 1
        return self._calls

    def send(self, batch: Iterable[Outgoing], *, first: bool = False, deduplicate: bool = True) -> None:
        for out in batch:
            if out.dedupe_key is not None and deduplicate:
                if self.keys.get(out.dedupe_key, -1.0) > self.now:
                    continue
                self.keys[out.dedupe_key] = self.now + out.dedupe_window
            frame = out.frame
            message = Message(frame.task_id, frame.task_name, out.queue, out.priority, frame.body)
            self.messages[message.id] = message
            if out.due_in is not None and out.due_in > 0:
                message.shelf, message.due = "scheduled", self.now + out.due_in
            elif first:
                self._to_front(message)
            else:
                self._behind([message])

    def reserve(self, ids: Iterable[str], lease: float, holder: str) -> dict[str, int]:
        """`ids` were delivered. Returns the number of each holding."""
        holdings = {}
        for id in ids:
            message = self.messages[id]
            self._lane(message).remove(id)
            self._holdings += 1
            message.shelf, message.holding, message.holder = "held", self._holdings, holder
            message.lease_end = self.now + lease
            message.deliveries += 1
            holdings[id] = message.holding
        return holdings

    def holds(self, id: str, holding: int) -> bool:
        message = self.messages.get(id)
        return message is not None and message.shelf == "held" and message.holding == holding

    def settle(self, settlement: Settlement, id: str, holding: int, call: int) -> bool:
        """Returns False when the receipt is stale."""
        if not self.holds(id, holding):
            return False
        message = self.messages[id]
        match settlement:
            case Ack(then=then):
                del self.messages[id]
                self.send(then)
            case Retry(replacement=replacement, first=first):
                del self.messages[id]
                self.send([replacement], first=first, deduplicate=False)
            case Release(counted=counted):
                message.deliveries -= not counted
                self._to_front(message)
            case Bury(then=then, reason=reason):
                message.shelf, message.reason, message.shelved = "dead", reason, call
                self.send(then)
            case Park(reason=reason, task=task):
                message.shelf, message.reason, message.shelved = "parked", reason, call
                message.task = task or message.task
        if isinstance(settlement, Ack | Retry | Bury) and settlement.record is not None:
            self.keep(settlement.record)
        return True

    def keep(self, record: Record) -> None:
        old = self.records.get(record.task_id)
        if old is not None and old[0] == "SUCCESS" and old[2] > self.now:
            return
        ends = float("inf") if record.ttl is None else self.now + record.ttl
        self.records[record.task_id] = (record.state, record.payload, ends)

    def extend(self, id: str, holding: int, lease: float) -> bool:
        if self.holds(id, holding):
            self.messages[id].lease_end = self.now + lease
            return True
        return False

    def reclaim(self, holder: str) -> int:
        mine = [message for message in self.on("held") if message.holder == holder]
        for message in mine:
            message.lease_end = self.now
        return len(mine)

    def bring_back(self) -> None:
        """What a look at the broker does: leases that ended and times that came."""
        for message in self.on("held"):
            if message.lease_end <= self.now:
                self._to_front(message)
        for message in self.on("scheduled"):  # in order of their times; equal ones as they were sent
            if message.due <= self.now:
                self._behind([message])

    def put_back(self, ids: Iterable[str]) -> None:
        returning = [self.messages[id] for id in ids]
        for message in returning:
            message.deliveries = 0
        for queue, priority in {(m.queue, m.priority) for m in returning}:
            self._behind([m for m in returning if (m.queue, m.priority) == (queue, priority)])

    def remove(self, ids: Iterable[str]) -> None:
        for id in list(ids):
            message = self.messages.pop(id)
            self._lane(message).remove(id)

    def give_back(self, queue: str, limit: int) -> None:
        """A reserve of at most `limit` messages was cancelled: whatever it may have taken is in front again."""
        for priority, _, sets in self.in_order([queue]):
            for ids in sets:
                if limit <= 0:
                    return
                limit -= len(ids)
                for id in ids:
                    self.lanes[queue, priority].remove(id)
                    self._to_front(self.messages[id])

    def _lane(self, message: Message) -> Lane:
        return self.lanes.setdefault((message.queue, message.priority), Lane())

    def _to_front(self, message: Message) -> None:
        self._wait(message)
        self._lane(message).front.add(message.id)

    def _behind(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._wait(message)
        self._lane(messages[0]).rest.append({message.id for message in messages})

    @staticmethod
    def _wait(message: Message) -> None:
        message.shelf, message.holding, message.holder, message.reason = "waiting", 0, "", ""
