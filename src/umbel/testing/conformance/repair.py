"""Looking at what a broker holds, and putting it right."""

from __future__ import annotations

import asyncio
import time

from umbel.core.frame import Frame
from umbel.ports import Ack, Broker, Bury, Depth, Outgoing, Park, Shelved
from umbel.testing.conformance.harness import (
    LONG,
    SHORT,
    Brokers,
    bodies,
    broker_scenario,
    drain,
    eventually,
    shelf_of,
    task,
)


class RepairConformance:
    """``depth``, ``queues``, ``browse``, ``find``, ``purge``, ``requeue``, ``discard``, ``rewrite``, ``unpark``, ``revoke``."""

    # -- looking

    @broker_scenario
    async def test_depth_counts_each_shelf_of_each_queue(self, brokers: Brokers) -> None:
        await _one_on_each_shelf(brokers.a, "q")
        await brokers.a.send([task("more-1", "other"), task("more-2", "other")])
        depths = await brokers.b.depth(["q", "other", "never-used"])
        assert depths["q"] == Depth(waiting=1, scheduled=1, held=1, parked=1, dead=1)
        assert depths["other"] == Depth(waiting=2)
        assert depths["never-used"] == Depth()
        assert await brokers.b.depth([]) == {}

    @broker_scenario
    async def test_queues_names_every_queue_that_holds_something(self, brokers: Brokers) -> None:
        assert list(await brokers.a.queues()) == []
        await brokers.a.send([task("1", "waits"), task("2", "scheduled", due_in=LONG), task("3", "held")])
        await drain(brokers.a, 1, "held")
        await _bury(brokers.a, "4", "dead")
        await _park(brokers.a, "5", "parked")
        assert set(await brokers.b.queues()) >= {"waits", "scheduled", "held", "dead", "parked"}

    @broker_scenario
    async def test_browse_describes_what_waits_in_order_of_service(self, brokers: Brokers) -> None:
        await brokers.a.send(
            [task("a"), task("b", name="tasks.mul"), task("c", priority=5), task("x", "other")]
        )
        items = await brokers.b.browse("waiting", ["q"])
        assert [(item.task_id, item.task, item.queue) for item in items] == [
            ("c", "tasks.add", "q"),
            ("a", "tasks.add", "q"),
            ("b", "tasks.mul", "q"),
        ]
        assert {(item.shelf, item.key, item.due_in) for item in items} == {("waiting", "", None)}
        assert items[0].frame is not None
        assert items[0].frame.body == b"c"
        assert [item.task_id for item in await brokers.b.browse("waiting", ["q"], limit=2)] == ["c", "a"]
        assert len(await brokers.b.browse("waiting")) == 4
        assert list(await brokers.b.browse("waiting", ["never-used"])) == []

    @broker_scenario
    async def test_browse_describes_what_is_scheduled(self, brokers: Brokers) -> None:
        await brokers.a.send([task("later", due_in=2 * LONG), task("sooner", due_in=LONG)])
        items = await brokers.b.browse("scheduled")
        assert [item.task_id for item in items] == ["sooner", "later"]
        assert items[0].due_in is not None
        assert LONG / 2 < items[0].due_in <= LONG + 1

    @broker_scenario
    async def test_browse_describes_what_is_held(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        await drain(brokers.a, 1)
        [item] = await brokers.b.browse("held", ["q"])
        assert (item.task_id, item.queue, item.deliveries, item.key) == ("one", "q", 1, "")
        assert item.due_in is not None
        assert 0 < item.due_in <= LONG + 1

    @broker_scenario
    async def test_browse_describes_what_was_set_aside(self, brokers: Brokers) -> None:
        began = time.time()
        for n in range(3):
            await _bury(brokers.a, f"dead-{n}", "q", reason=f"reason {n}")
        await _park(brokers.a, "parked", "other")
        items = await brokers.b.browse("dead")
        assert [(item.task_id, item.reason) for item in items] == [
            (f"dead-{n}", f"reason {n}") for n in range(3)
        ]
        assert len({item.key for item in items} - {""}) == 3
        for item in items:
            assert item.since is None or began - 5 <= item.since <= time.time() + 5
        [item] = await brokers.b.browse("parked", ["other"])
        assert (item.task_id, item.queue) == ("parked", "other")
        assert list(await brokers.b.browse("parked", ["q"])) == []

    @broker_scenario
    async def test_find_says_where_a_message_is(self, brokers: Brokers) -> None:
        await _one_on_each_shelf(brokers.a, "q")
        for shelf in ("waiting", "scheduled", "held", "parked", "dead"):
            located = await brokers.b.find(f"{shelf}-id")
            assert located is not None
            assert (located.shelf, located.queue) == (shelf, "q")
            assert located.reason == (f"why {shelf}" if shelf in ("parked", "dead") else "")
            assert located.frame is not None
            assert located.frame.task_id == f"{shelf}-id"
        assert await brokers.b.find("never-sent") is None

    @broker_scenario
    async def test_what_is_due_or_was_held_for_too_long_is_shown_as_waiting(self, brokers: Brokers) -> None:
        await brokers.a.send([task("lapsed", priority=1)])
        await drain(brokers.a, 1, lease=SHORT)
        await brokers.a.send([task("due", due_in=SHORT)])

        async def both_wait() -> bool:
            return (await brokers.b.depth(["q"]))["q"] == Depth(waiting=2)

        await eventually(both_wait)
        assert [item.task_id for item in await brokers.b.browse("waiting")] == ["lapsed", "due"]
        assert [await shelf_of(brokers.b, id) for id in ("lapsed", "due")] == ["waiting", "waiting"]
        assert list(await brokers.b.browse("held")) == list(await brokers.b.browse("scheduled")) == []

    @broker_scenario
    async def test_a_queue_whose_first_message_was_a_duplicate_is_known(self, brokers: Brokers) -> None:
        await brokers.a.send(
            [task(queue, queue, dedupe_key="k", dedupe_window=LONG) for queue in ("one", "two")]
        )
        await brokers.a.send([task("plain", "two")])
        assert set(await brokers.b.queues()) == {"one", "two"}
        assert {item.task_id for item in await brokers.b.browse("waiting")} == {"one", "plain"}
        assert await shelf_of(brokers.b, "plain") == "waiting"

    # -- putting right

    @broker_scenario
    async def test_purge_deletes_what_waits_and_what_is_scheduled(self, brokers: Brokers) -> None:
        await _one_on_each_shelf(brokers.a, "q")
        await brokers.a.send([task("bystander", "other"), task("urgent", priority=9)])
        assert await brokers.b.purge(["q", "never-used"]) == 3
        depths = await brokers.b.depth(["q", "other"])
        assert depths["q"] == Depth(held=1, parked=1, dead=1)
        assert depths["other"] == Depth(waiting=1)
        assert await brokers.b.purge(["q"]) == 0
        await brokers.a.send([task("new")])
        assert bodies(await drain(brokers.b, 1)) == ["new"]

    @broker_scenario
    async def test_requeue_gives_the_dead_a_clean_count(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        await drain(brokers.a, 1, lease=SHORT)
        [held] = await drain(brokers.a, 1)
        assert held.count == 2
        await brokers.a.settle([Bury(receipt=held.receipt, reason="r")])
        keys = await _keys(brokers.a, "dead")
        assert await brokers.b.requeue("parked", keys) == 0, "it is on the other shelf"
        assert await brokers.b.requeue("dead", [*keys, "no-such-key"]) == 1
        assert await brokers.b.requeue("dead", keys) == 0
        [again] = await drain(brokers.b, 1)
        assert (bodies([again]), again.count) == (["one"], 1)

    @broker_scenario
    async def test_requeue_keeps_queue_and_priority(self, brokers: Brokers) -> None:
        await brokers.a.send([task("urgent", priority=7)])
        [held] = await drain(brokers.a, 1)
        await brokers.a.settle([Park(receipt=held.receipt, reason="r")])
        await brokers.a.send([task("waits"), task("more-urgent", priority=8)])
        assert await brokers.b.requeue("parked", await _keys(brokers.a, "parked")) == 1
        assert bodies(await drain(brokers.b, 3)) == ["more-urgent", "urgent", "waits"]

    @broker_scenario
    async def test_discard_deletes_for_good(self, brokers: Brokers) -> None:
        await _bury(brokers.a, "dead-1", "q")
        await _bury(brokers.a, "dead-2", "q")
        await _park(brokers.a, "parked", "q")
        first, _second = await _keys(brokers.a, "dead")
        assert await brokers.b.discard("dead", [first, "no-such-key"]) == 1
        assert await brokers.b.discard("dead", [first]) == 0
        assert [item.task_id for item in await brokers.b.browse("dead")] == ["dead-2"]
        assert await brokers.b.discard("parked", await _keys(brokers.a, "parked")) == 1
        assert list(await brokers.b.browse("parked")) == []
        assert await shelf_of(brokers.b, "dead-1") is None

    @broker_scenario
    async def test_too_many_dead_letters_are_pruned_from_the_oldest(self, brokers: Brokers) -> None:
        for queue in ("q", "other"):
            for number in range(4):
                await _bury(brokers.a, f"{queue}-{number}", queue)
        await _park(brokers.a, "parked", "q")
        await brokers.a.send([task("waits")])
        assert await brokers.b.prune_dead(age=None, most=None, limit=10) == 0
        assert await brokers.b.prune_dead(age=LONG, most=4, limit=10) == 0
        assert await brokers.b.prune_dead(age=None, most=3, limit=10) == 2
        assert [item.task_id for item in await brokers.b.browse("dead", ["q"])] == ["q-1", "q-2", "q-3"]
        assert [item.task_id for item in await brokers.b.browse("dead", ["other"])] == [
            f"other-{number}" for number in (1, 2, 3)
        ]
        assert await shelf_of(brokers.a, "parked") == "parked"
        assert await shelf_of(brokers.a, "waits") == "waiting"
        assert await shelf_of(brokers.a, "q-0") is None

    @broker_scenario
    async def test_dead_letters_that_are_too_old_are_pruned(self, brokers: Brokers) -> None:
        await _bury(brokers.a, "old", "q")
        await asyncio.sleep(SHORT)  # being later would only make it older
        assert await brokers.b.prune_dead(age=SHORT / 2, most=None, limit=10) == 1
        await _bury(brokers.a, "new", "q")
        assert await brokers.b.prune_dead(age=LONG, most=1, limit=10) == 0
        assert [item.task_id for item in await brokers.b.browse("dead")] == ["new"]
        assert (await brokers.b.depth(["q"]))["q"] == Depth(dead=1)

    @broker_scenario
    async def test_no_more_dead_letters_are_pruned_at_a_time_than_asked_for(self, brokers: Brokers) -> None:
        for queue in ("q", "other"):
            for number in range(3):
                await _bury(brokers.a, f"{queue}-{number}", queue)
        assert await brokers.b.prune_dead(age=None, most=1, limit=3) == 3
        assert await brokers.b.prune_dead(age=None, most=1, limit=3) == 1
        assert {item.task_id for item in await brokers.b.browse("dead")} == {"q-2", "other-2"}
        await asyncio.sleep(SHORT)  # being later would only make them older
        assert await brokers.b.prune_dead(age=SHORT / 2, most=1, limit=1) == 1
        assert await brokers.b.prune_dead(age=SHORT / 2, most=1, limit=2) == 1
        assert list(await brokers.b.browse("dead")) == []

    @broker_scenario
    async def test_thousands_are_put_back_and_discarded(self, brokers: Brokers) -> None:
        await brokers.a.send([task(f"{n:04}") for n in range(4500)])
        held = await drain(brokers.a, 4500, limit=5000)
        await brokers.a.settle([Bury(receipt=delivery.receipt, reason="r") for delivery in held])
        keys = [item.key for item in await brokers.b.browse("dead", limit=5000)]
        assert await brokers.b.discard("dead", keys[4200:]) == 300
        assert await brokers.b.requeue("dead", keys) == 4200
        assert (await brokers.a.depth(["q"]))["q"] == Depth(waiting=4200)

    @broker_scenario
    async def test_rewrite_replaces_the_frame_of_a_dead_letter(self, brokers: Brokers) -> None:
        await _bury(brokers.a, "one", "q")
        [key] = await _keys(brokers.a, "dead")
        edited = task("one", name="tasks.repaired").frame
        edited.body = b"edited"
        assert await brokers.b.rewrite(key, edited) is True
        assert await brokers.b.rewrite("no-such-key", edited) is False
        [item] = await brokers.b.browse("dead")
        assert (item.task, item.task_id) == ("tasks.repaired", "one")
        await brokers.b.requeue("dead", [item.key])
        [delivery] = await drain(brokers.b, 1)
        assert delivery.frame is not None
        assert delivery.frame.body == b"edited"
        assert delivery.frame.task_name == "tasks.repaired"

    @broker_scenario
    async def test_a_rewritten_frame_says_its_priority(self, brokers: Brokers) -> None:
        await _bury(brokers.a, "one", "q")
        [key] = await _keys(brokers.a, "dead")
        edited = task("one").frame
        edited.headers["umbel_priority"] = 7
        assert await brokers.b.rewrite(key, edited) is True
        await brokers.a.send([task("waits"), task("more-urgent", priority=8)])
        await brokers.b.requeue("dead", await _keys(brokers.a, "dead"))
        assert bodies(await drain(brokers.b, 3)) == ["more-urgent", "one", "waits"]

    @broker_scenario
    async def test_purge_deletes_what_was_held_for_too_long(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one"), task("two", due_in=SHORT)])
        await drain(brokers.a, 1, lease=SHORT)
        await asyncio.sleep(2 * SHORT)  # nobody looks meanwhile
        assert await brokers.b.purge(["q"]) == 2
        assert (await brokers.b.depth(["q"]))["q"] == Depth()

    @broker_scenario
    async def test_unpark_brings_back_the_tasks_that_are_known_now(self, brokers: Brokers) -> None:
        for id, name in (("1", "tasks.new"), ("2", "tasks.unknown"), ("3", "tasks.new")):
            await _park(brokers.a, id, "q", name=name)
        await _bury(brokers.a, "4", "q", name="tasks.new")
        assert await brokers.b.unpark(["tasks.new", "tasks.other"]) == 2
        taken = await drain(brokers.b, 2)
        assert sorted(bodies(taken)) == ["1", "3"]
        assert {delivery.count for delivery in taken} == {1}
        assert [item.task_id for item in await brokers.b.browse("parked")] == ["2"]
        assert await shelf_of(brokers.b, "4") == "dead"
        assert await brokers.b.unpark([]) == 0

    @broker_scenario
    async def test_unpark_finds_a_task_that_only_its_body_names(self, brokers: Brokers) -> None:
        # Protocol 1: no headers. Whoever parks it has read its body.
        frame = Frame(b"{}", "application/json", "utf-8", {}, {"correlation_id": "old"})
        for again in range(2):
            await brokers.a.send([Outgoing(frame=frame, queue="q")])
            [held] = await drain(brokers.a, 1)
            await brokers.a.settle([Park(receipt=held.receipt, reason="r", task="tasks.ölç")])
            [parked] = await brokers.b.browse("parked")
            assert (parked.task, parked.task_id, parked.reason) == ("tasks.ölç", "old", "r")
            assert await brokers.b.unpark(["tasks.other", ""]) == 0
            assert await brokers.b.unpark(["tasks.ölç"]) == 1, again
            [held] = await drain(brokers.b, 1)
            assert held.frame is not None
            assert held.frame.body == b"{}"
            await brokers.b.settle([Ack(receipt=held.receipt)])

    # -- revoking

    @broker_scenario
    async def test_what_was_revoked_comes_marked(self, brokers: Brokers) -> None:
        await brokers.a.send([task("before"), task("not-revoked")])
        await brokers.b.revoke(["before", "after", "later", "never-sent"])
        await brokers.a.send([task("after"), task("later", due_in=SHORT)])
        taken = await drain(brokers.a, 4)
        revoked = {delivery.frame.task_id: delivery.revoked for delivery in taken if delivery.frame}
        assert revoked == {"before": True, "after": True, "later": True, "not-revoked": False}

    @broker_scenario
    async def test_a_revocation_ends_with_its_window(self, brokers: Brokers) -> None:
        await brokers.a.revoke(["one"], window=3 * SHORT)
        await brokers.a.revoke([])
        await brokers.a.send([task("one")])

        async def comes_unmarked() -> bool:
            [delivery] = await drain(brokers.a, 1, lease=SHORT / 10)
            return not delivery.revoked

        await eventually(comes_unmarked)

        async def is_forgotten() -> bool:
            return not await brokers.b.revoked(["one"])

        await eventually(is_forgotten)

    @broker_scenario
    async def test_what_was_revoked_can_be_asked_for(self, brokers: Brokers) -> None:
        assert not await brokers.b.revoked()
        await brokers.a.revoke(["one", "two"])
        assert set(await brokers.b.revoked()) == {"one", "two"}
        assert set(await brokers.b.revoked(["two", "three"])) == {"two"}
        assert not await brokers.b.revoked([])


async def _one_on_each_shelf(broker: Broker, queue: str) -> None:
    await _bury(broker, "dead-id", queue, reason="why dead")
    await _park(broker, "parked-id", queue, reason="why parked")
    await broker.send([task("held-id", queue)])
    await drain(broker, 1, queue)
    await broker.send([task("waiting-id", queue), task("scheduled-id", queue, due_in=LONG)])


async def _bury(broker: Broker, id: str, queue: str, *, name: str = "tasks.add", reason: str = "r") -> None:
    await broker.send([task(id, queue, name=name)])
    [held] = await drain(broker, 1, queue)
    await broker.settle([Bury(receipt=held.receipt, reason=reason)])


async def _park(broker: Broker, id: str, queue: str, *, name: str = "tasks.add", reason: str = "r") -> None:
    await broker.send([task(id, queue, name=name)])
    [held] = await drain(broker, 1, queue)
    await broker.settle([Park(receipt=held.receipt, reason=reason)])


async def _keys(broker: Broker, shelf: str) -> list[str]:
    assert shelf in ("parked", "dead")
    items: list[Shelved] = list(await broker.browse("dead" if shelf == "dead" else "parked"))
    return [item.key for item in items]
