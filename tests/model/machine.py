"""Random programs for brokers: each step is done by memory, SQLite, Redis and the reference, and then they are compared.

Leases, times to wait and windows are 50, 150 or 250 s, and time moves by 100 s at a time: what really passes in between,
a few seconds, never decides anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from umbel.core.frame import PRIORITY_HEADER, Frame
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
from umbel.testing.conformance.harness import PATIENCE, eventually

from .reference import SHELVES, Reference
from .sides import Side

T = TypeVar("T")

QUEUES = ("q", "q:1", "größe/{x}")
TASKS = ("tasks.add", "tasks.new", "tasks.größe")
HOLDERS = ("", "one", "one:two", "größe@host")
STATES = ("SUCCESS", "FAILURE", "RETRY")
EVERYTHING = 100_000

queues = st.sampled_from(QUEUES)
handles = st.integers(0, 1)
durations = st.sampled_from([50.0, 150.0, 250.0])
delays = st.none() | st.sampled_from([-1.0, 0.0, 50.0, 150.0, 250.0])
priorities = st.sampled_from([0, 0, 0, 1, -1, 50, -33, -50, 100, -100])
picks = st.integers(0, 40)
"""Which of the receipts, messages or keys that there are, counted from the newest."""


@dataclass(frozen=True)
class Call:
    """A message to be sent, but for its id."""

    queue: str
    priority: int
    due_in: float | None
    key: str | None
    window: float
    task: str


calls = st.builds(
    Call,
    queue=queues,
    priority=priorities,
    due_in=delays,
    key=st.none() | st.sampled_from(["k", "größe"]),
    window=durations,
    task=st.sampled_from(TASKS),
)


@dataclass(frozen=True)
class Ending:
    """A settlement, but for what it settles."""

    pick: int
    kind: Literal["ack", "retry", "release", "bury", "park"]
    then: list[Call]
    flag: bool
    """Retry: first. Release: counted. Park: says the task's name."""
    state: str | None
    ttl: float | None


endings = st.builds(
    Ending,
    pick=picks,
    kind=st.sampled_from(["ack", "retry", "release", "bury", "park"]),
    then=st.lists(calls, min_size=1, max_size=2),
    flag=st.booleans(),
    state=st.none() | st.sampled_from(STATES),
    ttl=st.none() | durations,
)


@dataclass(frozen=True)
class Held:
    """A delivery, as each side knows it. Its receipts may have become stale."""

    id: str
    holding: int
    receipts: dict[str, Receipt]


class BrokerMachine(RuleBasedStateMachine):
    """`sides` is entered once for each program, and gives the backends, empty."""

    def __init__(self, sides: Callable[[], AbstractContextManager[list[Side]]]) -> None:
        super().__init__()
        self._context = sides()
        self.sides = self._context.__enter__()
        self.runner = asyncio.Runner()
        self.model = Reference()
        self.deliveries: list[Held] = []
        self.keys: dict[str, dict[str, str]] = {side.name: {} for side in self.sides}
        """By side, the keys of what is parked or dead, by task id."""
        self.touched: list[str] = ["never-sent"]
        self.counter = 0

    @initialize()
    def open(self) -> None:
        for side in self.sides:
            self.runner.run(side.open())

    def teardown(self) -> None:
        try:
            for side in self.sides:
                self.runner.run(side.close())
        finally:
            self.runner.close()
            self._context.__exit__(None, None, None)

    def each(self, act: Callable[[Side], Coroutine[Any, Any, T]]) -> list[T]:
        """What each side answers; a moment later than the step before, as the clocks of all of them tell."""
        time.sleep(0.002)
        return [self.runner.run(act(side)) for side in self.sides]

    def same(self, act: Callable[[Side], Coroutine[Any, Any, T]], expected: T) -> None:
        for side, answer in zip(self.sides, self.each(act), strict=True):
            assert answer == expected, f"{side} answers {answer}, expected {expected}"

    def outgoing(self, call: Call, id: str | None = None) -> Outgoing:
        if id is None:
            self.counter += 1
            id = f"id-{self.counter}"
        self.touched.append(id)
        headers: dict[str, Any] = {"lang": "py", "task": call.task, "id": id, "retries": 0}
        if call.priority:
            headers[PRIORITY_HEADER] = call.priority
        self.counter += 1
        frame = Frame(
            f"body {self.counter}".encode(), "application/json", "utf-8", headers, {"correlation_id": id}
        )
        return Outgoing(
            frame=frame,
            queue=call.queue,
            priority=call.priority,
            due_in=call.due_in,
            dedupe_key=call.key,
            dedupe_window=call.window,
        )

    # -- sending

    @rule(batch=st.lists(calls, max_size=4), handle=handles, now=st.booleans())
    def send(self, batch: list[Call], handle: int, now: bool) -> None:
        self._send([self.outgoing(call) for call in batch], handle, now)

    @rule(call=calls, number=st.sampled_from([20, 150]), handle=handles)
    def send_in_bulk(self, call: Call, number: int, handle: int) -> None:
        self._send([self.outgoing(call) for _ in range(number)], handle, False)

    def _send(self, batch: list[Outgoing], handle: int, now: bool) -> None:
        async def send(side: Side) -> None:
            if now:
                side.brokers[handle].send_now(batch)
            else:
                await side.brokers[handle].send(batch)

        self.each(send)
        self.model.send(batch)
        self.look()

    # -- taking

    @rule(
        names=st.lists(queues, min_size=1, max_size=3),
        limit=st.sampled_from([0, 1, 2, 5, EVERYTHING]),
        lease=durations,
        holder=st.sampled_from(HOLDERS),
        handle=handles,
    )
    def reserve(self, names: list[str], limit: int, lease: float, holder: str, handle: int) -> None:
        def take(limit: int) -> list[list[Delivery]]:
            async def reserve(side: Side) -> list[Delivery]:
                broker = side.brokers[handle]
                return list(await broker.reserve(names, limit=limit, lease=lease, wait=0, holder=holder))

            return self.each(reserve)

        waiting = sum(1 for message in self.model.on("waiting") if message.queue in names)
        taken = take(limit)
        assert [len(some) for some in taken] == [min(limit, waiting)] * len(taken)
        if len({frozenset(map(_id, some)) for some in taken}) > 1:
            # Where the contract leaves an order open, they may choose; not what there is in the end.
            taken = [some + more for some, more in zip(taken, take(EVERYTHING), strict=True)]
        self._delivered(names, taken, lease, holder)
        self.look()

    def _delivered(
        self, names: Sequence[str], taken: Sequence[list[Delivery]], lease: float, holder: str
    ) -> None:
        for side, deliveries in zip(self.sides, taken, strict=True):
            ids = [_id(delivery) for delivery in deliveries]
            self.model.check_service(names, ids)
            for delivery in deliveries:
                message = self.model.messages[_id(delivery)]
                said = (delivery.receipt.queue, delivery.count, delivery.revoked, _body(delivery))
                expected = (
                    message.queue,
                    message.deliveries + 1,
                    message.id in self.model.revoked,
                    message.body,
                )
                assert said == expected, f"{side} delivers {message.id} as {said}, expected {expected}"
        by_id = [{_id(delivery): delivery.receipt for delivery in some} for some in taken]
        assert all(some.keys() == by_id[0].keys() for some in by_id), [sorted(some) for some in by_id]
        for id, holding in self.model.reserve(by_id[0], lease, holder).items():
            receipts = {side.name: some[id] for side, some in zip(self.sides, by_id, strict=True)}
            self.deliveries.append(Held(id, holding, receipts))
            self.touched.append(id)

    @rule(queue=queues, call=calls, lease=durations, handle=handles)
    def wait_and_send(self, queue: str, call: Call, lease: float, handle: int) -> None:
        """A node waits for work with one handle, and the other one sends some."""
        if self.model.on("waiting", queue):
            return
        out = self.outgoing(Call(queue, call.priority, None, None, 0.0, call.task))

        async def meet(side: Side) -> list[Delivery]:
            async def wait() -> list[Delivery]:
                broker = side.brokers[handle]
                return list(
                    await broker.reserve([queue], limit=3, lease=lease, wait=PATIENCE, holder="waits")
                )

            waiting = asyncio.ensure_future(wait())
            await asyncio.sleep(0.01)  # let it wait; being early would only make the test easier
            await side.brokers[1 - handle].send([out])
            return await waiting

        taken = self.each(meet)
        self.model.send([out])
        self._delivered([queue], taken, lease, "waits")
        self.look()

    @rule(queue=queues, limit=st.integers(1, 3), steps=st.integers(0, 12), handle=handles)
    def cancel_a_reserve(self, queue: str, limit: int, steps: int, handle: int) -> None:
        held = len(self.model.on("held"))

        async def cancel(side: Side) -> None:
            broker = side.brokers[handle]
            reserving = asyncio.ensure_future(_reserve(side, handle, queue, limit))
            for _ in range(steps):
                await asyncio.sleep(0)
            reserving.cancel()
            try:
                taken = await reserving
            except asyncio.CancelledError:
                taken = []
            await broker.settle([Release(receipt=delivery.receipt) for delivery in taken])

            async def is_given_back() -> bool:
                return sum(depth.held for depth in (await broker.depth(QUEUES)).values()) == held

            await eventually(is_given_back)

        self.each(cancel)
        self.model.give_back(queue, limit)
        self.look()

    # -- ending

    @precondition(lambda self: self.deliveries)
    @rule(some=st.lists(endings, min_size=1, max_size=5), handle=handles)
    def settle(self, some: list[Ending], handle: int) -> None:
        self._settle(some, handle)
        self.look()

    @precondition(lambda self: self.deliveries)
    @rule(steps=st.integers(1, 3), some=st.lists(endings, min_size=1, max_size=3), handle=handles)
    def settle_late(self, steps: int, some: list[Ending], handle: int) -> None:
        """A lease has ended, and nobody has noticed yet: its holder may still finish."""
        self._move_time(100.0 * steps)
        self._settle(
            [Ending(e.pick, e.kind, [], e.flag, e.state, e.ttl) for e in some if e.kind != "retry"], handle
        )
        self.model.bring_back()
        self.look()

    @precondition(lambda self: self.deliveries)
    @rule(many=picks, handle=handles)
    def acknowledge(self, many: int, handle: int) -> None:
        """The quick way, for a batch that does nothing else."""
        self._settle([Ending(pick, "ack", [], False, None, None) for pick in range(many)], handle)
        self.look()

    def _settle(self, some: list[Ending], handle: int) -> None:
        chosen = [(self._pick(ending.pick), ending) for ending in some]
        batch = [self._settlement(held, ending) for held, ending in chosen]
        call = self.model.call()
        stale = [
            held.holding
            for (held, _), settlement in zip(chosen, batch, strict=True)
            if not self.model.settle(settlement, held.id, held.holding, call)
        ]

        async def settle(side: Side) -> list[int]:
            holdings = {held.receipts[side.name]: held.holding for held, _ in chosen}
            mine = [
                msgspec.structs.replace(settlement, receipt=held.receipts[side.name])
                for (held, _), settlement in zip(chosen, batch, strict=True)
            ]
            return sorted(holdings[receipt] for receipt in await side.brokers[handle].settle(mine))

        self.same(settle, sorted(stale))

    def _pick(self, pick: int) -> Held:
        held = self.deliveries[-1 - pick % len(self.deliveries)]
        self.touched.append(held.id)
        return held

    def _settlement(self, held: Held, ending: Ending) -> Settlement:
        """With a receipt that is yet to be filled in."""
        record, receipt = None, Receipt("", "")
        if ending.state is not None:
            self.counter += 1
            payload = b'{"status": "%s", "result": %d}' % (ending.state.encode(), self.counter)
            record = Record(task_id=held.id, state=ending.state, payload=payload, ttl=ending.ttl)
        match ending.kind:
            case "ack":
                return Ack(receipt=receipt, then=tuple(map(self.outgoing, ending.then)), record=record)
            case "retry":
                replacement = self.outgoing(ending.then[0], held.id)
                return Retry(receipt=receipt, replacement=replacement, first=ending.flag, record=record)
            case "release":
                return Release(receipt=receipt, counted=ending.flag)
            case "bury":
                then = tuple(map(self.outgoing, ending.then))
                return Bury(receipt=receipt, reason="it is: größe", then=then, record=record)
            case "park":
                message = self.model.messages.get(held.id)
                name = message.task if ending.flag and message is not None else ""
                return Park(receipt=receipt, reason="", task=name)

    @precondition(lambda self: self.deliveries)
    @rule(some=st.lists(picks, min_size=1, max_size=4, unique=True), lease=durations, handle=handles)
    def extend(self, some: list[int], lease: float, handle: int) -> None:
        chosen = list({held.holding: held for held in map(self._pick, some)}.values())
        stale = {held.holding for held in chosen if not self.model.extend(held.id, held.holding, lease)}

        async def extend(side: Side) -> set[int]:
            by_receipt = {held.receipts[side.name]: held.holding for held in chosen}
            return {by_receipt[r] for r in await side.brokers[handle].extend(list(by_receipt), lease=lease)}

        self.same(extend, stale)
        self.look()

    # -- time and crashes

    @rule(steps=st.integers(1, 3))
    def pass_time(self, steps: int) -> None:
        self._move_time(100.0 * steps)
        self.model.bring_back()
        self.look()

    def _move_time(self, seconds: float) -> None:
        for side in self.sides:
            side.move_time(seconds)
        self.model.now += seconds

    @rule(holder=st.sampled_from([*HOLDERS, "waits", "nobody"]), handle=handles)
    def reclaim(self, holder: str, handle: int) -> None:
        self.same(lambda side: side.brokers[handle].reclaim(holder), self.model.reclaim(holder))
        self.model.bring_back()
        self.look()

    @rule(handle=handles)
    def replace_a_handle(self, handle: int) -> None:
        self.each(lambda side: side.replace(handle))
        self.look()

    # -- repair

    @rule(names=st.lists(queues, min_size=1, max_size=2, unique=True), handle=handles)
    def purge(self, names: list[str], handle: int) -> None:
        shelves: tuple[Shelf, ...] = ("waiting", "scheduled")
        doomed = [m.id for queue in names for shelf in shelves for m in self.model.on(shelf, queue)]
        self.model.remove(doomed)
        self.same(lambda side: side.brokers[handle].purge(names), len(doomed))
        self.look()

    @rule(
        shelf=st.sampled_from(["parked", "dead"]),
        some=st.lists(picks, min_size=1, max_size=4),
        away=st.booleans(),
        handle=handles,
    )
    def take_off_a_shelf(
        self, shelf: Literal["parked", "dead"], some: list[int], away: bool, handle: int
    ) -> None:
        """Some that are there, some twice, some that are on the other shelf, and one that never was."""
        aside = [*self.model.on("parked"), *self.model.on("dead")]
        chosen = [aside[pick % len(aside)].id for pick in some if aside]
        there = [id for id in dict.fromkeys(chosen) if self.model.messages[id].shelf == shelf]

        async def take_off(side: Side) -> int:
            keys = [self.keys[side.name][id] for id in chosen]
            broker = side.brokers[handle]
            return await (broker.discard if away else broker.requeue)(shelf, [*keys, "no-such-key"])

        self.same(take_off, len(there))
        if away:
            self.model.remove(there)
        else:
            self.model.put_back(there)
        self.touched += there
        self.look()

    @rule(names=st.lists(st.sampled_from([*TASKS, ""]), max_size=2), handle=handles)
    def unpark(self, names: list[str], handle: int) -> None:
        known = [message.id for message in self.model.on("parked") if message.task in names]
        self.same(lambda side: side.brokers[handle].unpark(names), len(known))
        self.model.put_back(known)
        self.look()

    @rule(pick=picks, call=calls, handle=handles)
    def rewrite(self, pick: int, call: Call, handle: int) -> None:
        dead = self.model.on("dead")
        if not dead:
            return
        message = dead[pick % len(dead)]
        out = self.outgoing(call, message.id)
        self.same(
            lambda side: side.brokers[handle].rewrite(self.keys[side.name][message.id], out.frame), True
        )
        message.task, message.body, message.priority = call.task, out.frame.body, call.priority
        self.look()

    @rule(some=st.lists(picks, min_size=1, max_size=3), handle=handles)
    def revoke(self, some: list[int], handle: int) -> None:
        ids = [self.touched[-1 - pick % len(self.touched)] for pick in some]
        self.each(lambda side: side.brokers[handle].revoke(ids))
        self.model.revoked.update(ids)
        self.look()

    # -- comparing

    def look(self) -> None:
        """Every message is on the one shelf where it belongs, in every backend, and no other one is anywhere."""
        for side in self.sides:
            self.runner.run(self._agree(side))
        self.touched = self.touched[-50:]

    async def _agree(self, side: Side) -> None:
        deadline = time.monotonic() + PATIENCE / 4
        while True:
            try:
                await self._compare(side)
                return
            except AssertionError:
                # What a blocked connection of an idle node moves is given back a moment later.
                if side.name != "redis" or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.01)

    async def _compare(self, side: Side) -> None:
        broker = side.brokers[self.counter % 2]
        depths = await broker.depth(QUEUES)
        for queue in QUEUES:
            assert depths[queue] == self.model.depth(queue), f"{side}: {queue}"
        for shelf in SHELVES:
            await self._compare_shelf(side, shelf)
        for id in {self.touched[-1], self.touched[self.counter % len(self.touched)]}:
            located, message = await broker.find(id), self.model.messages.get(id)
            found = None if located is None else (located.shelf, located.queue, located.reason)
            expected = None if message is None else (message.shelf, message.queue, message.reason)
            assert found == expected, f"{side}: {id} is {found}, expected {expected}"
        ids = [*self.model.records, "never-sent"]
        assert await side.store.get(ids) == self.model.payloads(), side

    async def _compare_shelf(self, side: Side, shelf: Shelf) -> None:
        items = await side.brokers[self.counter % 2].browse(shelf, limit=EVERYTHING)
        if shelf in ("parked", "dead"):
            self.keys[side.name].update({item.task_id: item.key for item in items})
        for queue in QUEUES:
            mine = [item for item in items if item.queue == queue]
            ids = [item.task_id for item in mine]
            there = self.model.on(shelf, queue)
            assert sorted(ids) == sorted(message.id for message in there), f"{side}: {shelf} in {queue}"
            self._check_order(shelf, queue, ids)
            for item in mine:
                message = self.model.messages[item.task_id]
                said = (item.shelf, item.task, item.deliveries, item.reason)
                expected = (shelf, message.task, message.deliveries, message.reason)
                assert said == expected, f"{side}: {message.id} is said to be {said}, expected {expected}"
                assert item.frame is not None
                assert item.frame.body == message.body
                left = {"scheduled": message.due, "held": message.lease_end}.get(shelf)
                if left is not None:
                    assert item.due_in is not None
                    assert abs(item.due_in - (left - self.model.now)) < 45, f"{side}: {message.id}"

    def _check_order(self, shelf: Shelf, queue: str, ids: list[str]) -> None:
        messages = [self.model.messages[id] for id in ids]
        match shelf:
            case "waiting":
                self.model.check_service([queue], ids)
            case "scheduled":
                assert ids == [message.id for message in self.model.on(shelf, queue)]
            case "held":
                assert [m.lease_end for m in messages] == sorted(m.lease_end for m in messages)
            case _:
                assert [m.shelved for m in messages] == sorted(m.shelved for m in messages)


async def _reserve(side: Side, handle: int, queue: str, limit: int) -> list[Delivery]:
    return list(await side.brokers[handle].reserve([queue], limit=limit, lease=250.0, wait=0))


def _id(delivery: Delivery) -> str:
    assert delivery.frame is not None, delivery.problem
    return delivery.frame.task_id


def _body(delivery: Delivery) -> bytes:
    assert delivery.frame is not None, delivery.problem
    return delivery.frame.body
