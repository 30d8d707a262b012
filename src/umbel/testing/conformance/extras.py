"""What only some backends can be asked: several processes, bytes that are not a message, adoption."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from umbel.backends import open_store
from umbel.ports import Ack, Bury, Delivery, Retry, Settlement
from umbel.testing.conformance.harness import (
    LONG,
    SHORT,
    Brokers,
    MakeBroker,
    Stores,
    adoption_scenario,
    bodies,
    broker_scenario,
    drain,
    in_forked_child,
    record,
    run_scenario,
    shelf_of,
    store_scenario,
    task,
)
from umbel.testing.conformance.results import final_record_of


class BrokerProcessConformance:
    """For a broker with ``caps.processes``: handles survive ``os.fork``."""

    @broker_scenario
    async def test_it_says_that_processes_may_share_it(self, brokers: Brokers) -> None:
        assert brokers.a.caps.processes is True

    @broker_scenario
    async def test_a_handle_that_was_used_still_sends_in_a_forked_child(self, brokers: Brokers) -> None:
        brokers.a.send_now([task("parent-1")])

        def child() -> bytes:
            brokers.a.send_now([task("child-1"), task("child-2")])
            brokers.b.send_now([task("child-3")])
            return b""

        in_forked_child(child)
        in_forked_child(child)
        brokers.a.send_now([task("parent-2")])
        await brokers.a.send([task("parent-3")])
        taken = bodies(await drain(brokers.b, 9))
        assert sorted(taken) == sorted(
            [*("child-1", "child-2", "child-3") * 2, "parent-1", "parent-2", "parent-3"]
        )

    @broker_scenario
    async def test_a_reserve_that_waits_is_not_disturbed_by_a_fork(self, brokers: Brokers) -> None:
        waiting = asyncio.ensure_future(drain(brokers.a, 1))
        await asyncio.sleep(SHORT / 2)  # let it wait; being early would only make the test easier

        def child() -> bytes:
            brokers.a.send_now([task("from-child")])
            return b""

        await asyncio.to_thread(in_forked_child, child)
        assert bodies(await waiting) == ["from-child"]

    @broker_scenario
    async def test_a_child_can_use_a_new_handle_to_the_full(self, brokers: Brokers) -> None:
        await brokers.a.send([task("one")])
        new = brokers.unopened()

        def child() -> bytes:
            async def scenario() -> None:
                await new.open()
                [held] = await drain(new, 1)
                await new.settle([Ack(receipt=held.receipt, then=(task("two"),))])
                await new.close()

            asyncio.run(scenario())
            return b""

        # From a thread without a running loop: the child inherits the one that forked.
        await asyncio.to_thread(in_forked_child, child)
        assert bodies(await drain(brokers.b, 1)) == ["two"]


class ResultStoreProcessConformance:
    """For a result store that several processes share: handles survive ``os.fork``."""

    @store_scenario
    async def test_a_handle_that_was_used_still_reads_in_a_forked_child(self, stores: Stores) -> None:
        await stores.a.put([record("1")])
        assert set(stores.a.get_now(["1"])) == {"1"}
        payload = in_forked_child(lambda: stores.a.get_now(["1"])["1"])
        assert payload == record("1").payload
        assert stores.a.get_now(["1"]) == {"1": payload}

    @store_scenario
    async def test_a_handle_that_was_used_still_waits_in_a_forked_child(self, stores: Stores) -> None:
        await asyncio.to_thread(stores.a.wait_now, ["1"], 0, bool)
        child = asyncio.ensure_future(
            asyncio.to_thread(in_forked_child, lambda: final_record_of(stores.a, "1").payload)
        )
        await asyncio.sleep(SHORT)  # let it wait; being early would only make the test easier
        await stores.b.put([record("1")])
        assert await child == record("1").payload


class UnreadableConformance:
    """For a broker whose store holds bytes: what is not a message has a named end, too."""

    def test_what_is_not_a_message_comes_without_a_frame_and_can_be_buried(
        self, make_broker: MakeBroker, inject_garbage: Callable[[str, bytes], None]
    ) -> None:
        async def scenario() -> None:
            async with Brokers(make_broker) as brokers:
                garbage = [b"not json", b'{"body": 1}', b"\xff\xfe\x00", b"[]"]
                for data in garbage:
                    inject_garbage("q", data)
                await brokers.a.send([task("good")])
                taken = await drain(brokers.a, 5)
                assert bodies(taken) == ["good"]
                bad = [delivery for delivery in taken if delivery.frame is None]
                assert sorted(delivery.raw for delivery in bad) == sorted(garbage)
                assert all(delivery.problem for delivery in bad)
                assert list(await brokers.a.settle([_bury(delivery) for delivery in bad])) == []
                dead = await brokers.b.browse("dead")
                assert sorted(item.raw for item in dead) == sorted(garbage)
                assert all(item.frame is None and item.reason for item in dead)
                assert await brokers.b.requeue("dead", [dead[0].key]) == 1
                assert await brokers.b.discard("dead", [item.key for item in dead[1:]]) == 3
                [again] = await drain(brokers.b, 1)
                assert (again.frame, again.raw) == (None, dead[0].raw)

        run_scenario(scenario())

    def test_what_is_not_a_message_can_be_seen_and_purged(
        self, make_broker: MakeBroker, inject_garbage: Callable[[str, bytes], None]
    ) -> None:
        async def scenario() -> None:
            async with Brokers(make_broker) as brokers:
                inject_garbage("q", b"not json")
                [item] = await brokers.a.browse("waiting", ["q"])
                assert (item.frame, item.raw, item.task_id) == (None, b"not json", "")
                assert await brokers.a.purge(["q"]) == 1

        run_scenario(scenario())


class AdoptionConformance:
    """For a broker that writes the records of a store in its own database inside ``settle``."""

    @adoption_scenario
    async def test_a_store_elsewhere_is_not_adopted(self, brokers: Brokers, stores: Stores) -> None:
        elsewhere = open_store("memory://conformance-elsewhere")
        assert brokers.b.adopt(elsewhere) is False

    @adoption_scenario
    async def test_the_record_is_written_with_the_settlement(self, brokers: Brokers, stores: Stores) -> None:
        await brokers.a.send([task(id) for id in ("ack", "retry", "bury")])
        ack, retry, bury = await drain(brokers.a, 3)
        again = task("retry", due_in=LONG)
        settlements: list[Settlement] = [
            Ack(receipt=ack.receipt, then=(task("next"),), record=record("ack", value=3)),
            Retry(receipt=retry.receipt, replacement=again, record=record("retry", "RETRY")),
            Bury(receipt=bury.receipt, reason="r", record=record("bury", "FAILURE")),
        ]
        assert list(await brokers.a.settle(settlements)) == []
        assert await stores.b.get(["ack", "retry", "bury"]) == {
            "ack": record("ack", value=3).payload,
            "retry": record("retry", "RETRY").payload,
            "bury": record("bury", "FAILURE").payload,
        }
        assert bodies(await drain(brokers.b, 1)) == ["next"]

    @adoption_scenario
    async def test_each_live_ack_of_a_batch_writes_its_record(self, brokers: Brokers, stores: Stores) -> None:
        await brokers.a.send(
            [task(id, queue) for queue in ("q", "other") for id in (f"{queue}-1", f"{queue}-2")]
        )
        by_id = {held.frame.task_id: held for held in await drain(brokers.a, 4, "q", "other") if held.frame}
        stale = by_id["other-1"].receipt
        await brokers.b.settle([Ack(receipt=stale)])
        batch = [
            Ack(receipt=by_id[id].receipt, record=record(id, value=id))
            for id in ("q-1", "other-1", "q-2", "other-2")
        ]
        again = Ack(receipt=by_id["q-1"].receipt, record=record("q-1", "FAILURE"))
        assert set(await brokers.a.settle([*batch, again])) == {stale, again.receipt}
        assert await stores.b.get(list(by_id)) == {
            id: record(id, value=id).payload for id in ("q-1", "q-2", "other-2")
        }
        for id in by_id:
            assert await shelf_of(brokers.b, id) is None

    @adoption_scenario
    async def test_a_stale_settlement_writes_no_record(self, brokers: Brokers, stores: Stores) -> None:
        await brokers.a.send([task("one")])
        [old] = await drain(brokers.a, 1, lease=SHORT)
        [new] = await drain(brokers.b, 1)
        late: list[Settlement] = [
            Ack(receipt=old.receipt, record=record("one", value="late")),
            Retry(receipt=old.receipt, replacement=task("one"), record=record("one", "RETRY")),
            Bury(receipt=old.receipt, reason="late", record=record("one", "FAILURE")),
        ]
        assert list(await brokers.a.settle(late)) == [old.receipt] * 3
        assert await stores.b.get(["one"]) == {}
        await brokers.a.settle([Ack(receipt=new.receipt, record=record("one", value="good"))])
        assert await stores.b.get(["one"]) == {"one": record("one", value="good").payload}
        assert await shelf_of(brokers.a, "one") is None

    @adoption_scenario
    async def test_a_success_is_not_overwritten_by_a_settlement(
        self, brokers: Brokers, stores: Stores
    ) -> None:
        await stores.b.put([record("one", value="kept")])
        await brokers.a.send([task("one")])
        [held] = await drain(brokers.a, 1)
        await brokers.a.settle([Bury(receipt=held.receipt, reason="r", record=record("one", "FAILURE"))])
        assert await stores.b.get(["one"]) == {"one": record("one", value="kept").payload}

    @adoption_scenario
    async def test_those_who_wait_are_told(self, brokers: Brokers, stores: Stores) -> None:
        await brokers.a.send([task("one")])
        [held] = await drain(brokers.a, 1)
        waiting = asyncio.ensure_future(asyncio.to_thread(final_record_of, stores.b, "one"))
        await asyncio.sleep(SHORT / 2)  # let it wait; being early would only make the test easier
        await brokers.a.settle([Ack(receipt=held.receipt, record=record("one"))])
        assert (await waiting).payload == record("one").payload

    @adoption_scenario
    async def test_an_adopted_store_works_on_after_its_broker_closed(
        self, brokers: Brokers, stores: Stores
    ) -> None:
        await brokers.a.close()
        await stores.a.put([record("one")])
        assert set(await stores.a.get(["one"])) == {"one"}


def _bury(delivery: Delivery) -> Bury:
    return Bury(receipt=delivery.receipt, reason=delivery.problem)
