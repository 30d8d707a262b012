"""Sending, the order of service, waiting for work, and leases."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter

import pytest

from umbel.core.frame import Frame
from umbel.ports import Ack, Broker, Delivery, Outgoing, Release
from umbel.testing.conformance.harness import (
    LONG,
    PATIENCE,
    SHORT,
    Brokers,
    bodies,
    broker_scenario,
    drain,
    eventually,
    shelf_of,
    task,
)


class DeliveryConformance:
    """``send``, ``send_now``, ``reserve``, ``extend`` and ``reclaim``."""

    # -- sending

    @broker_scenario
    async def test_open_and_close_are_idempotent(self, brokers: Brokers) -> None:
        await brokers.a.open()
        await brokers.a.send([task("one")])
        await brokers.b.close()
        await brokers.b.close()
        assert bodies(await drain(brokers.a, 1)) == ["one"]

    @broker_scenario
    async def test_now_is_the_wall_clock(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])  # a server tells its time when it is first asked for something
        assert abs(brokers.a.now() - time.time()) < PATIENCE

    @broker_scenario
    async def test_a_frame_comes_back_as_it_was_sent(self, brokers: Brokers) -> None:
        headers = {
            "lang": "py",
            "task": "tasks.größe",
            "id": "f-1",
            "eta": None,
            "retries": 3,
            "timelimit": [None, 2.5],
            "ignore_result": False,
            "custom": {"nested": ["a", 1, None, {"deep": "ü"}]},
        }
        sent = Frame(
            bytes(range(256)),
            "application/x-python-serialize",
            "binary",
            headers,
            {"correlation_id": "f-1", "reply_to": "r"},
        )
        await brokers.a.send([Outgoing(frame=sent, queue="q")])
        [delivery] = await drain(brokers.b, 1)
        got = delivery.frame
        assert got is not None
        assert got.body == sent.body
        assert (got.content_type, got.content_encoding) == (sent.content_type, sent.content_encoding)
        assert {name: got.headers.get(name) for name in headers} == headers
        assert got.properties["correlation_id"] == "f-1"
        assert got.properties["reply_to"] == "r"
        assert delivery.count == 1
        assert delivery.revoked is False
        assert delivery.receipt.queue == "q"

    @broker_scenario
    async def test_sender_and_receiver_share_no_object(self, brokers: Brokers) -> None:
        out = task("one")
        await brokers.a.send([out])
        out.frame.headers["id"] = "changed after sending"
        [delivery] = await drain(brokers.a, 1)
        assert delivery.frame is not None
        assert delivery.frame.task_id == "one"

    @broker_scenario
    async def test_sending_takes_a_timeout(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")], timeout=PATIENCE)
        await asyncio.to_thread(brokers.a.send_now, [task("two")], timeout=PATIENCE)
        await asyncio.to_thread(brokers.a.send_now, [task("three")])
        assert bodies(await drain(brokers.b, 3)) == ["one", "two", "three"]

    @broker_scenario
    async def test_an_empty_batch_is_nothing(self, brokers: Brokers) -> None:
        await brokers.a.send([])
        brokers.a.send_now([])
        assert list(await brokers.a.settle([])) == []
        assert list(await brokers.a.extend([], lease=LONG)) == []

    @broker_scenario
    async def test_a_batch_is_stored_whole_or_not_at_all(self, brokers: Brokers) -> None:
        broken = task("broken")
        broken.frame.headers["object"] = object()
        with pytest.raises(TypeError):
            await brokers.a.send([task("one"), broken, task("two")])
        with pytest.raises(TypeError):
            brokers.a.send_now([task("one"), broken])
        assert (await brokers.a.depth(["q"]))["q"].waiting == 0

    @broker_scenario
    async def test_a_large_batch_is_stored(self, brokers: Brokers) -> None:
        await brokers.a.send([task(f"{n:04}") for n in range(2000)])
        assert bodies(await drain(brokers.b, 2000)) == [f"{n:04}" for n in range(2000)]

    @broker_scenario
    async def test_send_now_needs_no_open_and_any_thread_may_call_it(self, brokers: Brokers) -> None:
        broker = brokers.unopened()

        def send(sender: int) -> None:
            for n in range(10):
                broker.send_now([task(f"{sender}-{n}"), task(f"{sender}-{n}-due", due_in=SHORT)])

        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        came = Counter(bodies(await drain(brokers.a, 120)))
        assert came.keys() == {f"{s}-{n}{due}" for s in range(6) for n in range(10) for due in ("", "-due")}

    # -- clause 1: order

    @broker_scenario
    async def test_larger_priorities_first_within_a_batch(self, brokers: Brokers) -> None:
        levels = list(range(-100, 101))
        random.Random(1).shuffle(levels)
        await brokers.a.send([task(str(level), priority=level) for level in levels])
        assert bodies(await drain(brokers.b, 201)) == [str(level) for level in range(100, -101, -1)]

    @broker_scenario
    async def test_larger_priorities_first_one_by_one(self, brokers: Brokers) -> None:
        for level in (0, 9, -1, 100, 3, -100, 1):
            await brokers.a.send([task(str(level), priority=level)])
        taken = [bodies(await drain(brokers.b, 1, limit=1))[0] for _ in range(7)]
        assert taken == ["100", "9", "3", "1", "0", "-1", "-100"]

    @broker_scenario
    async def test_earlier_due_first(self, brokers: Brokers) -> None:
        await brokers.a.send(
            [
                task("third", due_in=3 * SHORT),
                task("first", due_in=SHORT),
                task("second", due_in=2 * SHORT),
                task("urgent", due_in=3 * SHORT, priority=5),
            ]
        )
        # All of it is due when the last one is; one batch must still put them in order.
        await asyncio.sleep(4 * SHORT)
        assert bodies(await drain(brokers.b, 4)) == ["urgent", "first", "second", "third"]

    @broker_scenario
    async def test_earlier_arrival_first(self, brokers: Brokers) -> None:
        expected = []
        for n in range(20):
            pair = [f"{n:02}-a", f"{n:02}-b"]
            await (brokers.a if n % 2 else brokers.b).send([task(id) for id in pair])
            expected += pair
        assert bodies(await drain(brokers.a, 40, limit=7)) == expected

    @broker_scenario
    async def test_priority_holds_across_queues(self, brokers: Brokers) -> None:
        await brokers.a.send(
            [task("low", "one"), task("high", "two", priority=9), task("mid", "one", priority=3)]
        )
        assert bodies(await drain(brokers.a, 3, "one", "two")) == ["high", "mid", "low"]

    @broker_scenario
    async def test_a_queue_may_have_any_name(self, brokers: Brokers) -> None:
        names = [
            "with space",
            "größe",
            'it\'s "quoted"',
            "a:b",
            "a.b",
            "{braces}",
            "%s?*[x]",
            "UPPER",
            "upper",
        ]
        await brokers.a.send([task(f"{n}", name) for n, name in enumerate(names)])
        for n, name in enumerate(names):
            [delivery] = await drain(brokers.b, 1, name)
            assert (bodies([delivery]), delivery.receipt.queue) == ([f"{n}"], name)
            assert (await brokers.a.depth([name]))[name].held == 1
            assert list(await brokers.b.settle([Ack(receipt=delivery.receipt)])) == []

    @broker_scenario
    async def test_a_due_time_in_the_past_means_now(self, brokers: Brokers) -> None:
        await brokers.a.send([task("past", due_in=-5.0), task("now", due_in=0.0)])
        assert sorted(bodies(await drain(brokers.a, 2))) == ["now", "past"]

    @broker_scenario
    async def test_reserve_keeps_to_its_limit_and_its_queues(self, brokers: Brokers) -> None:
        await brokers.a.send([task(str(n), queue) for n in range(5) for queue in ("mine", "yours")])
        first = await brokers.a.reserve(["mine"], limit=3, lease=LONG, wait=1.0)
        assert 1 <= len(first) <= 3
        rest = await drain(brokers.a, 5 - len(first), "mine")
        assert {delivery.receipt.queue for delivery in [*first, *rest]} == {"mine"}
        assert list(await brokers.a.reserve(["mine"], limit=3, lease=LONG, wait=0)) == []
        assert (await brokers.a.depth(["yours"]))["yours"].waiting == 5

    # -- waiting

    @broker_scenario
    async def test_reserve_returns_empty_when_nothing_came(self, brokers: Brokers) -> None:
        assert list(await brokers.a.reserve(["q"], limit=5, lease=LONG, wait=0)) == []
        assert list(await brokers.a.reserve(["q"], limit=5, lease=LONG, wait=SHORT)) == []
        assert list(await brokers.a.reserve(["q", "other"], limit=5, lease=LONG, wait=SHORT)) == []

    @broker_scenario
    async def test_a_waiting_reserve_is_woken_by_a_send(self, brokers: Brokers) -> None:
        for n in range(3):
            waiting = await _wait_for_work(brokers.a)
            await brokers.b.send([task(str(n))])
            assert bodies(await _soon(waiting)) == [str(n)]

    @broker_scenario
    async def test_a_waiting_reserve_is_woken_by_send_now(self, brokers: Brokers) -> None:
        waiting = await _wait_for_work(brokers.a)
        await asyncio.to_thread(brokers.unopened().send_now, [task("one")])
        assert bodies(await _soon(waiting)) == ["one"]

    @broker_scenario
    async def test_a_waiting_reserve_is_woken_when_a_message_is_due(self, brokers: Brokers) -> None:
        waiting = await _wait_for_work(brokers.a)
        await brokers.b.send([task("late", due_in=LONG), task("soon", due_in=SHORT)])
        assert bodies(await _soon(waiting)) == ["soon"]

    @broker_scenario
    async def test_a_waiting_reserve_is_woken_when_a_lease_ends(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        await drain(brokers.a, 1, lease=SHORT)
        waiting = await _wait_for_work(brokers.b)
        assert bodies(await _soon(waiting)) == ["one"]

    @broker_scenario
    async def test_a_waiting_reserve_is_woken_by_a_release(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        [held] = await drain(brokers.a, 1)
        waiting = await _wait_for_work(brokers.b)
        await brokers.a.settle([Release(receipt=held.receipt)])
        assert bodies(await _soon(waiting)) == ["one"]

    @broker_scenario
    async def test_a_waiting_reserve_is_woken_by_a_follow_up(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        [held] = await drain(brokers.a, 1)
        waiting = await _wait_for_work(brokers.b)
        await brokers.a.settle([Ack(receipt=held.receipt, then=(task("two"),))])
        assert bodies(await _soon(waiting)) == ["two"]

    @broker_scenario
    async def test_one_message_wakes_one_reserver(self, brokers: Brokers) -> None:
        waiting = [await _wait_for_work(broker, wait=8 * SHORT) for broker in (brokers.a, brokers.b) * 3]
        await brokers.a.send([task("one")])
        taken = [bodies(deliveries) for deliveries in await asyncio.gather(*waiting)]
        assert sorted(taken, reverse=True) == [["one"], [], [], [], [], []]

    # -- clause 5: cancellation

    @broker_scenario
    async def test_a_cancelled_reserve_that_waits_strands_nothing(self, brokers: Brokers) -> None:
        waiting = await _wait_for_work(brokers.a)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await brokers.b.send([task("one")])
        assert bodies(await drain(brokers.b, 1)) == ["one"]
        await brokers.a.send([task("two")])
        assert bodies(await drain(brokers.a, 1)) == ["two"]

    @broker_scenario
    async def test_a_reserve_cancelled_at_any_moment_strands_nothing_beyond_its_lease(
        self, brokers: Brokers
    ) -> None:
        sent = {str(n) for n in range(30)}
        finished: list[Delivery] = []
        for n, id in enumerate(sorted(sent)):
            reserving = asyncio.ensure_future(brokers.a.reserve(["q"], limit=5, lease=SHORT, wait=LONG))
            await brokers.b.send([task(id)])
            for _ in range(n % 8):  # let it get a little further each time
                await asyncio.sleep(0.0005)
            reserving.cancel()
            try:
                finished += await reserving
            except asyncio.CancelledError:
                continue
        await brokers.a.settle([Ack(receipt=delivery.receipt) for delivery in finished])
        seen = set(bodies(finished))
        async with asyncio.timeout(PATIENCE):
            while seen != sent:
                taken = await brokers.b.reserve(["q"], limit=50, lease=LONG, wait=LONG)
                seen.update(bodies(taken))

    # -- clauses 2, 6 and 8: leases

    @broker_scenario
    async def test_what_is_held_is_invisible(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        await drain(brokers.a, 1)
        for broker in (brokers.a, brokers.b):
            assert list(await broker.reserve(["q"], limit=5, lease=LONG, wait=SHORT)) == []
        depth = (await brokers.b.depth(["q"]))["q"]
        assert (depth.waiting, depth.scheduled, depth.held) == (0, 0, 1)

    @broker_scenario
    async def test_what_is_held_stays_held_when_its_holder_closes(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        await drain(brokers.a, 1)
        await brokers.a.close()
        assert list(await brokers.b.reserve(["q"], limit=5, lease=LONG, wait=0)) == []
        assert await shelf_of(brokers.b, "one") == "held"

    @broker_scenario
    async def test_a_lease_that_ends_delivers_again_and_counts(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        tokens = set()
        for count in (1, 2, 3):
            [delivery] = await drain(brokers.b, 1, lease=SHORT)
            assert delivery.count == count
            tokens.add(delivery.receipt.token)
        assert len(tokens) == 3

    @broker_scenario
    async def test_reservers_never_share_a_message(self, brokers: Brokers) -> None:
        number = 300
        handles = [brokers.a, brokers.b, await brokers.another()]
        taken: Counter[str] = Counter()

        async def work(broker: Broker, limit: int) -> None:
            while taken.total() < number:
                got = await broker.reserve(["q"], limit=limit, lease=LONG, wait=SHORT)
                taken.update(bodies(got))
                await broker.settle([Ack(receipt=delivery.receipt) for delivery in got])

        async with asyncio.TaskGroup() as group:
            for broker in handles:
                for limit in (1, 3, 20):
                    group.create_task(work(broker, limit))
            for start in range(0, number, 50):
                await brokers.b.send([task(str(n)) for n in range(start, start + 50)])
        assert taken == Counter(str(n) for n in range(number))
        depth = (await brokers.a.depth(["q"]))["q"]
        assert (depth.waiting, depth.held) == (0, 0)

    @broker_scenario
    async def test_extend_keeps_a_lease_alive(self, brokers: Brokers) -> None:
        await brokers.a.send([task("kept"), task("left")])
        kept, left = await drain(brokers.a, 2, lease=10 * SHORT)
        assert list(await brokers.a.extend([kept.receipt], lease=LONG)) == []
        [again] = await drain(brokers.b, 1)
        assert bodies([again]) == ["left"]
        assert again.receipt != left.receipt
        assert list(await brokers.a.settle([Ack(receipt=kept.receipt)])) == []

    @broker_scenario
    async def test_extend_can_shorten_a_lease(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        [held] = await drain(brokers.a, 1)
        assert list(await brokers.a.extend([held.receipt], lease=SHORT)) == []
        assert [delivery.count for delivery in await drain(brokers.b, 1)] == [2]

    @broker_scenario
    async def test_extend_returns_what_is_stale_and_changes_nothing_for_it(self, brokers: Brokers) -> None:
        await brokers.a.send([task("settled"), task("superseded"), task("good")])
        settled, superseded, good = await drain(brokers.a, 3, lease=LONG)
        await brokers.a.settle([Ack(receipt=settled.receipt)])
        await brokers.a.extend([superseded.receipt], lease=SHORT)
        [now_held] = await drain(brokers.b, 1, lease=2 * SHORT)
        stale = await brokers.a.extend(
            [settled.receipt, good.receipt, superseded.receipt],
            lease=LONG,
        )
        assert set(stale) == {settled.receipt, superseded.receipt}
        # The newer holding must not have been prolonged by the older one's token.
        [third] = await drain(brokers.b, 1)
        assert (bodies([third]), third.count) == (bodies([now_held]), 3)

    @broker_scenario
    async def test_reclaim_ends_the_leases_of_one_holder(self, brokers: Brokers) -> None:
        await brokers.a.send([task(str(n)) for n in range(4)])
        for _ in range(2):
            await brokers.a.reserve(["q"], limit=1, lease=LONG, wait=1.0, holder="dead-node")
        await brokers.b.reserve(["q"], limit=1, lease=LONG, wait=1.0, holder="live-node")
        await brokers.b.reserve(["q"], limit=1, lease=LONG, wait=1.0)
        waiting = await _wait_for_work(brokers.b)
        assert await brokers.b.reclaim("dead-node") == 2
        taken = list(await _soon(waiting))
        taken += await drain(brokers.b, 2 - len(taken)) if len(taken) < 2 else []
        assert sorted(bodies(taken)) == ["0", "1"]
        assert [delivery.count for delivery in taken] == [2, 2]
        assert await brokers.b.reclaim("nobody") == 0

    # -- clause 7: deduplication

    @broker_scenario
    async def test_a_remembered_key_drops_the_second_message(self, brokers: Brokers) -> None:
        await brokers.a.send([task("first", dedupe_key="k", dedupe_window=LONG)])
        await brokers.b.send([task("second", dedupe_key="k", dedupe_window=LONG), task("other")])
        brokers.a.send_now([task("third", dedupe_key="k", dedupe_window=LONG)])
        assert bodies(await drain(brokers.a, 2)) == ["first", "other"]

    @broker_scenario
    async def test_a_key_repeated_in_one_batch_drops_the_second_message(self, brokers: Brokers) -> None:
        await brokers.a.send([task(id, dedupe_key="k", dedupe_window=LONG) for id in ("first", "second")])
        assert bodies(await drain(brokers.a, 1)) == ["first"]
        assert list(await brokers.a.reserve(["q"], limit=5, lease=LONG, wait=0)) == []

    @broker_scenario
    async def test_a_key_is_remembered_after_its_message_is_gone(self, brokers: Brokers) -> None:
        await brokers.a.send([task("first", dedupe_key="k", dedupe_window=LONG)])
        [delivery] = await drain(brokers.a, 1)
        await brokers.a.settle([Ack(receipt=delivery.receipt)])
        await brokers.a.send([task("second", dedupe_key="k", dedupe_window=LONG)])
        assert await shelf_of(brokers.a, "second") is None

    @broker_scenario
    async def test_a_key_is_forgotten_after_its_window(self, brokers: Brokers) -> None:
        await brokers.a.send([task("first", dedupe_key="k", dedupe_window=2 * SHORT)])

        async def accepted() -> bool:
            await brokers.a.send([task("second", dedupe_key="k", dedupe_window=LONG)])
            return await shelf_of(brokers.a, "second") is not None

        assert not await accepted()
        await eventually(accepted)
        assert bodies(await drain(brokers.a, 2)) == ["first", "second"]


async def _wait_for_work(broker: Broker, *, wait: float = LONG) -> asyncio.Future[list[Delivery]]:
    """A reserve that has begun to wait, as far as one can see from outside."""

    async def reserve() -> list[Delivery]:
        return list(await broker.reserve(["q"], limit=10, lease=LONG, wait=wait))

    waiting = asyncio.ensure_future(reserve())
    await asyncio.sleep(SHORT / 2)  # long enough to be waiting; being early would only make the test easier
    return waiting


async def _soon(waiting: asyncio.Future[list[Delivery]]) -> list[Delivery]:
    async with asyncio.timeout(PATIENCE):
        return await waiting
