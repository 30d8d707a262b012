"""The endings of a delivery: what each settlement does, what a stale one does not, and that nothing is in two places."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from umbel.ports import Ack, Broker, Bury, Delivery, Park, Receipt, Release, Retry, Settlement
from umbel.testing.conformance.harness import (
    LONG,
    SHORT,
    Brokers,
    MakeBroker,
    bodies,
    broker_scenario,
    drain,
    run_scenario,
    shelf_of,
    task,
)

STALE: dict[str, Callable[[Receipt], Settlement]] = {
    "ack": lambda receipt: Ack(receipt=receipt, then=(task("follow-up"),)),
    "retry": lambda receipt: Retry(receipt=receipt, replacement=task("follow-up")),
    "release": lambda receipt: Release(receipt=receipt),
    "release counted": lambda receipt: Release(receipt=receipt, counted=True),
    "bury": lambda receipt: Bury(receipt=receipt, reason="late", then=(task("follow-up"),)),
    "park": lambda receipt: Park(receipt=receipt, reason="late"),
}


class SettlingConformance:
    """``settle``: clauses 3, 4 and 9."""

    # -- each ending

    @broker_scenario
    async def test_ack_removes_the_message(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "one")
        assert list(await brokers.a.settle([Ack(receipt=held.receipt)])) == []
        await _is_empty(brokers.b)
        assert await shelf_of(brokers.b, "one") is None

    @broker_scenario
    async def test_acks_of_several_queues_tell_which_are_stale(self, brokers: Brokers) -> None:
        await brokers.a.send(
            [task(id, queue) for queue in ("q", "other") for id in (f"{queue}-1", f"{queue}-2")]
        )
        by_id = {held.frame.task_id: held for held in await drain(brokers.a, 4, "q", "other") if held.frame}
        stale = by_id["other-1"].receipt
        await brokers.b.settle([Ack(receipt=stale)])
        batch = [Ack(receipt=by_id[id].receipt) for id in ("q-1", "other-1", "q-2", "other-2")]
        assert list(await brokers.a.settle([*batch, batch[0]])) in (
            [stale, batch[0].receipt],
            [batch[0].receipt, stale],
        )
        for id in by_id:
            assert await shelf_of(brokers.b, id) is None

    @broker_scenario
    async def test_another_handle_may_settle(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "one")
        assert list(await brokers.b.settle([Ack(receipt=held.receipt)])) == []
        await _is_empty(brokers.a)

    @broker_scenario
    async def test_ack_sends_what_follows(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "one")
        follow_ups = (
            task("now"),
            task("urgent", priority=7),
            task("elsewhere", "other"),
            task("later", due_in=LONG),
        )
        assert list(await brokers.a.settle([Ack(receipt=held.receipt, then=follow_ups)])) == []
        assert bodies(await drain(brokers.b, 2)) == ["urgent", "now"]
        assert bodies(await drain(brokers.b, 1, "other")) == ["elsewhere"]
        assert await shelf_of(brokers.b, "later") == "scheduled"

    @broker_scenario
    async def test_what_follows_is_deduplicated_too(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "one")
        body = task("body", dedupe_key="join-1", dedupe_window=LONG)
        twin = task("twin", dedupe_key="join-1", dedupe_window=LONG)
        await brokers.a.settle([Ack(receipt=held.receipt, then=(body, twin))])
        assert bodies(await drain(brokers.a, 1)) == ["body"]
        assert await shelf_of(brokers.a, "twin") is None

    @broker_scenario
    async def test_retry_replaces_the_message(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        await drain(brokers.a, 1, lease=SHORT)
        [held] = await drain(brokers.a, 1)
        assert held.count == 2
        replacement = task("one")
        replacement.frame.headers["retries"] = 1
        assert list(await brokers.a.settle([Retry(receipt=held.receipt, replacement=replacement)])) == []
        [again] = await drain(brokers.b, 1)
        assert again.frame is not None
        assert again.frame.headers["retries"] == 1
        assert again.count == 1, "counting starts anew with a replacement"

    @broker_scenario
    async def test_retry_may_be_delayed_and_go_to_another_queue(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "one")
        replacement = task("one", "other", due_in=2 * SHORT)
        await brokers.a.settle([Retry(receipt=held.receipt, replacement=replacement)])
        assert await shelf_of(brokers.a, "one") in ("scheduled", "waiting")
        assert bodies(await drain(brokers.a, 1, "other")) == ["one"]
        await _is_empty(brokers.a)

    @broker_scenario
    async def test_a_retry_is_never_dropped_as_a_duplicate(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one", dedupe_key="k", dedupe_window=LONG)])
        [held] = await drain(brokers.a, 1)
        replacement = task("one", dedupe_key="k", dedupe_window=LONG)
        await brokers.a.settle([Retry(receipt=held.receipt, replacement=replacement)])
        assert bodies(await drain(brokers.a, 1)) == ["one"]

    @broker_scenario
    async def test_retry_first_goes_before_its_own_priority_only(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "interrupted")
        await brokers.a.send([task("waits"), task("urgent", priority=1), task("slow", priority=-1)])
        await brokers.a.settle([Retry(receipt=held.receipt, replacement=task("interrupted"), first=True)])
        assert bodies(await drain(brokers.b, 4)) == ["urgent", "interrupted", "waits", "slow"]

    @broker_scenario
    async def test_a_retry_that_is_due_later_does_not_go_first(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "again")
        await brokers.a.send([task("waits")])
        again = Retry(receipt=held.receipt, replacement=task("again", due_in=SHORT), first=True)
        await brokers.a.settle([again])
        await asyncio.sleep(2 * SHORT)
        assert bodies(await drain(brokers.b, 2)) == ["waits", "again"]

    @broker_scenario
    async def test_retry_goes_behind_what_waits(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "again")
        await brokers.a.send([task("waits")])
        await brokers.a.settle([Retry(receipt=held.receipt, replacement=task("again"))])
        assert bodies(await drain(brokers.b, 2)) == ["waits", "again"]

    @broker_scenario
    async def test_release_gives_back_uncounted_and_to_the_front(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "given-back")
        await brokers.a.send([task("waits"), task("urgent", priority=1)])
        for _ in range(3):
            assert list(await brokers.a.settle([Release(receipt=held.receipt)])) == []
            urgent, held = await drain(brokers.b, 2, limit=2)
            assert bodies([urgent, held]) == ["urgent", "given-back"]
            assert held.count == 1, "this delivery never happened"
            await brokers.b.settle([Release(receipt=urgent.receipt)])

    @broker_scenario
    async def test_release_may_count(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "one")
        await brokers.a.settle([Release(receipt=held.receipt, counted=True)])
        [held] = await drain(brokers.a, 1)
        assert held.count == 2
        await brokers.a.settle([Release(receipt=held.receipt, counted=False)])
        assert [delivery.count for delivery in await drain(brokers.a, 1)] == [2]

    @broker_scenario
    async def test_what_was_released_together_all_goes_first(self, brokers: Brokers) -> None:
        await brokers.a.send([task(f"back-{n}") for n in range(5)])
        held = await drain(brokers.a, 5)
        await brokers.a.send([task(f"waits-{n}") for n in range(5)])
        await brokers.a.settle([Release(receipt=delivery.receipt) for delivery in held])
        taken = bodies(await drain(brokers.b, 10))
        assert set(taken[:5]) == {f"back-{n}" for n in range(5)}
        assert taken[5:] == [f"waits-{n}" for n in range(5)]

    @broker_scenario
    async def test_bury_moves_to_the_dead_letters(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "poison")
        settlement = Bury(receipt=held.receipt, reason="It crashed 3 workers.", then=(task("errback"),))
        assert list(await brokers.a.settle([settlement])) == []
        [dead] = await brokers.b.browse("dead")
        assert (dead.task_id, dead.queue, dead.reason) == ("poison", "q", "It crashed 3 workers.")
        assert bodies(await drain(brokers.b, 1)) == ["errback"]

    @broker_scenario
    async def test_park_keeps_the_message_aside(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "strange")
        assert list(await brokers.a.settle([Park(receipt=held.receipt, reason="unknown task")])) == []
        [parked] = await brokers.b.browse("parked")
        assert (parked.task_id, parked.task, parked.reason) == ("strange", "tasks.add", "unknown task")
        assert list(await brokers.b.reserve(["q"], limit=5, lease=LONG, wait=0)) == []

    # -- clause 3: stale receipts

    @pytest.mark.parametrize("kind", STALE)
    def test_a_stale_settlement_changes_nothing_and_is_reported(
        self, make_broker: MakeBroker, kind: str
    ) -> None:
        async def scenario() -> None:
            async with Brokers(make_broker) as brokers:
                await brokers.a.send([task("one")])
                [old] = await drain(brokers.a, 1, lease=SHORT)
                [new] = await drain(brokers.b, 1)
                assert list(await brokers.a.settle([STALE[kind](old.receipt)])) == [old.receipt]
                assert await shelf_of(brokers.a, "one") == "held"
                assert await shelf_of(brokers.a, "follow-up") is None
                assert list(await brokers.b.settle([Ack(receipt=new.receipt)])) == []
                # And once more, when the message is gone altogether.
                assert list(await brokers.a.settle([STALE[kind](old.receipt)])) == [old.receipt]
                await _is_empty(brokers.a)

        run_scenario(scenario())

    @broker_scenario
    async def test_a_receipt_opens_once(self, brokers: Brokers) -> None:
        held = await _hold(brokers.a, "one")
        twice = [
            Ack(receipt=held.receipt, then=(task("follow-up"),)),
            Ack(receipt=held.receipt, then=(task("follow-up"),)),
        ]
        assert list(await brokers.a.settle(twice)) == [held.receipt]
        assert list(await brokers.a.settle([Release(receipt=held.receipt)])) == [held.receipt]
        assert bodies(await drain(brokers.a, 1)) == ["follow-up"]
        await brokers.a.send([task("two")])
        assert bodies(await drain(brokers.a, 1)) == ["two"], "nothing but the one follow-up was sent"

    @broker_scenario
    async def test_a_made_up_receipt_is_stale(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        for token in ("", "no-such-token", "1", "1.0", "0"):
            invented = Receipt("q", token)
            assert list(await brokers.a.settle([Ack(receipt=invented)])) == [invented]
            assert list(await brokers.a.extend([invented], lease=LONG)) == [invented]
        assert bodies(await drain(brokers.a, 1)) == ["one"]

    @broker_scenario
    async def test_a_stale_receipt_does_not_hold_up_the_rest_of_its_batch(self, brokers: Brokers) -> None:
        await brokers.a.send([task(f"{n}") for n in range(6)])
        held = await drain(brokers.a, 6)
        await brokers.a.settle([Ack(receipt=held[1].receipt), Ack(receipt=held[4].receipt)])
        stale = await brokers.a.settle(
            [
                Ack(receipt=held[0].receipt),
                Ack(receipt=held[1].receipt),
                Bury(receipt=held[2].receipt, reason="dead"),
                Release(receipt=held[3].receipt),
                Retry(receipt=held[4].receipt, replacement=task("no")),
                Park(receipt=held[5].receipt, reason="parked"),
            ]
        )
        assert set(stale) == {held[1].receipt, held[4].receipt}
        depth = (await brokers.b.depth(["q"]))["q"]
        assert (depth.waiting, depth.scheduled, depth.held, depth.parked, depth.dead) == (1, 0, 0, 1, 1)

    @broker_scenario
    async def test_a_large_batch_is_settled(self, brokers: Brokers) -> None:
        await brokers.a.send([task(str(n)) for n in range(1000)])
        held = await drain(brokers.a, 1000)
        settlements: list[Settlement] = [
            Ack(receipt=delivery.receipt, then=(task(f"{n}-next", "next"),))
            for n, delivery in enumerate(held)
        ]
        assert list(await brokers.a.settle(settlements)) == []
        assert len(await drain(brokers.b, 1000, "next")) == 1000
        await _is_empty(brokers.b)

    @broker_scenario
    async def test_a_settlement_that_cannot_be_written_changes_nothing(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one"), task("two")])
        one, two = await drain(brokers.a, 2)
        broken = task("broken")
        broken.frame.headers["object"] = object()
        with pytest.raises(TypeError):
            await brokers.a.settle([Ack(receipt=one.receipt), Ack(receipt=two.receipt, then=(broken,))])
        assert (await brokers.b.depth(["q"]))["q"].held == 2
        assert list(await brokers.a.settle([Ack(receipt=one.receipt), Ack(receipt=two.receipt)])) == []

    # -- clause 9: one shelf at a time

    @broker_scenario
    async def test_a_message_is_on_exactly_one_shelf(self, brokers: Brokers) -> None:
        broker = brokers.a
        await broker.send([task("one", due_in=LONG)])
        await _is_only(broker, "scheduled")
        await broker.purge(["q"])
        await broker.send([task("one")])
        await _is_only(broker, "waiting")
        [held] = await drain(broker, 1)
        await _is_only(broker, "held")
        await broker.settle([Release(receipt=held.receipt)])
        await _is_only(broker, "waiting")
        [held] = await drain(broker, 1)
        await broker.settle([Park(receipt=held.receipt, reason="r")])
        await _is_only(broker, "parked")
        await broker.unpark(["tasks.add"])
        await _is_only(broker, "waiting")
        [held] = await drain(broker, 1)
        await broker.settle([Bury(receipt=held.receipt, reason="r")])
        await _is_only(broker, "dead")
        await broker.requeue("dead", [dead.key for dead in await broker.browse("dead")])
        await _is_only(broker, "waiting")
        [held] = await drain(broker, 1)
        await broker.settle([Retry(receipt=held.receipt, replacement=task("one", due_in=LONG))])
        await _is_only(broker, "scheduled")


async def _hold(broker: Broker, id: str) -> Delivery:
    await broker.send([task(id)])
    [held] = await drain(broker, 1)
    return held


async def _is_only(broker: Broker, shelf: str) -> None:
    assert await shelf_of(broker, "one") == shelf
    depth = (await broker.depth(["q"]))["q"]
    counts = {name: getattr(depth, name) for name in ("waiting", "scheduled", "held", "parked", "dead")}
    assert counts == {**dict.fromkeys(counts, 0), shelf: 1}


async def _is_empty(broker: Broker) -> None:
    depth = (await broker.depth(["q"]))["q"]
    assert (depth.waiting, depth.scheduled, depth.held, depth.parked, depth.dead) == (0, 0, 0, 0, 0)
