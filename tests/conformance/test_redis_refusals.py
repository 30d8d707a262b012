"""A key that holds something else where the list of a queue should be: whoever sends there is told, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator

import pytest

from servers import RedisServer
from umbel import Task, Umbel
from umbel.backends import open_broker, open_store
from umbel.errors import BrokerUnavailable, UmbelError
from umbel.ports import Ack, Broker, Bury, Outgoing, Release, ResultStore, Retry, Settlement
from umbel.testing.conformance.harness import PATIENCE, bodies, drain, record, run_scenario, task
from umbel.testing.worker import start_worker
from umbel.worker.settler import BATCH, Settler

TAKEN = "umbel:queues"
"""A set, in every Redis that Umbel has used."""


@pytest.fixture
def taken(redis_server: RedisServer) -> RedisServer:
    redis_server.command("SADD", TAKEN, "q")
    return redis_server


@contextlib.asynccontextmanager
async def opened(server: RedisServer) -> AsyncIterator[tuple[Broker, ResultStore]]:
    broker, store = open_broker(server.url()), open_store(server.url())
    assert broker.adopt(store)
    await broker.open()
    await store.open()
    try:
        yield broker, store
    finally:
        await broker.close()
        await store.close()


BAD = {
    "now": task("never", TAKEN),
    "later": task("never", TAKEN, due_in=60.0),
    "with a priority": task("never", TAKEN, priority=5),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_batch_with_one_that_is_refused_is_not_begun(taken: RedisServer, bad: Outgoing) -> None:
    async def scenario() -> None:
        async with opened(taken) as (broker, store):
            await broker.send([task(str(n)) for n in range(4)])
            held = await drain(broker, 4)
            endings: list[Settlement] = [
                Ack(receipt=held[0].receipt, then=(task("next"),), record=record("0")),
                Release(receipt=held[1].receipt),
                Retry(receipt=held[2].receipt, replacement=bad),
                Bury(receipt=held[3].receipt, reason="r", then=(task("next"),)),
            ]
            for _ in range(2):
                with pytest.raises(BrokerUnavailable, match=f"the key {TAKEN} holds a set") as raised:
                    await broker.settle(endings)
                assert raised.value.refused
                assert not raised.value.in_doubt
                depth = (await broker.depth(["q"]))["q"]
                assert (depth.waiting, depth.held, depth.dead) == (0, 4, 0)
                assert await store.get(["0"]) == {}
            # What is refused is not in doubt: the others are settled at once, under the same first receipt.
            assert list(await broker.settle([*endings[:2], endings[3]])) == []
            assert sorted(bodies(await drain(broker, 3))) == ["1", "next", "next"]

    run_scenario(scenario())


@pytest.mark.parametrize("known", [False, True])
def test_a_send_is_refused_whole(taken: RedisServer, known: bool) -> None:
    """The first one to a queue, which names it, and one to several lists are no exception."""

    async def scenario() -> None:
        async with opened(taken) as (broker, _):
            if known:
                await broker.send([task("before", "q"), task("before", "own")])
                await asyncio.to_thread(broker.send_now, [task("before", "q"), task("before", "own")])
                taken.command("DEL", "q", "own")
            taken.command("HSET", "own", "somebody's", "field")
            for batch in ([task("one", "own")], [task("one", "q"), task("two", "own"), task("three", "q")]):
                for send in (broker.send, functools.partial(asyncio.to_thread, broker.send_now)):
                    with pytest.raises(BrokerUnavailable, match="WRONGTYPE") as raised:
                        await send(batch)
                    assert raised.value.refused
                    assert not raised.value.in_doubt
            assert (await broker.depth(["q"]))["q"].waiting == 0
            named = taken.command("SMEMBERS", TAKEN)
            assert isinstance(named, list)
            assert (b"own" in named) is known
            await broker.send([task("one", "q"), task("two", "other"), task("three", "q")])
            assert bodies(await drain(broker, 2)) == ["one", "three"]

    run_scenario(scenario())


def test_a_large_batch_keeps_its_order(taken: RedisServer) -> None:
    async def scenario() -> None:
        async with opened(taken) as (broker, _):
            expected = [str(n) for n in range(9000)]
            await broker.send([task(name) for name in expected])
            assert bodies(await drain(broker, 9000)) == expected

    run_scenario(scenario())


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_message_that_is_refused_is_dropped_and_the_others_are_sent_once(
    taken: RedisServer, bad: Outgoing
) -> None:
    """The settler has nothing to bury for what follows a task that was acknowledged early."""

    async def scenario() -> None:
        async with settling(taken) as (settler, broker, _):
            expected = [str(n) for n in range(20)]
            settler.send([*map(task, expected[:7]), bad, *map(task, expected[7:])])
            await settler.drained()
            assert bodies(await drain(broker, 20)) == expected
            assert (await broker.depth(["q"]))["q"].waiting == 0

    run_scenario(scenario())


@contextlib.asynccontextmanager
async def settling(server: RedisServer) -> AsyncIterator[tuple[Settler, Broker, list[tuple[int, bool]]]]:
    told: list[tuple[int, bool]] = []
    async with opened(server) as (broker, store):
        settler = Settler(broker, store, adopted=True, settled=lambda *what: told.append(what))
        running = asyncio.create_task(settler.run())
        try:
            yield settler, broker, told
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("count", [1, 40, BATCH + 10])
def test_the_settlement_that_is_refused_is_buried_alone(taken: RedisServer, count: int) -> None:
    async def scenario() -> None:
        async with settling(taken) as (settler, broker, told):
            await broker.send([task(str(n)) for n in range(count)])
            held = await drain(broker, count)
            for n, delivery in enumerate(held):
                follows = task(f"after {n}", TAKEN if n in (0, 17) else "next")
                settler.add(n, Ack(receipt=delivery.receipt, then=(follows,), record=record(str(n))))
            async with asyncio.timeout(PATIENCE):
                await settler.drained()
            bad = [n for n in (0, 17) if n < count]
            good = [n for n in range(count) if n not in bad]
            assert sorted(told) == [(n, False) for n in range(count)]
            assert sorted(bodies(await drain(broker, len(good), "next"))) == sorted(
                f"after {n}" for n in good
            )
            dead = await broker.browse("dead", ["q"])
            assert sorted(letter.task_id for letter in dead) == sorted(map(str, bad))
            assert all(f"the key {TAKEN} holds a set" in letter.reason for letter in dead)
            depth = (await broker.depth(["q"]))["q"]
            assert (depth.waiting, depth.held) == (0, 0)
            store = open_store(taken.url())
            assert len(await store.get([str(n) for n in range(count)])) == count  # they have run
            await store.close()

    run_scenario(scenario())


def test_a_record_that_is_refused_takes_nothing_with_it(taken: RedisServer) -> None:
    async def scenario() -> None:
        async with settling(taken) as (settler, broker, told):
            taken.command("HSET", "celery-task-meta-1", "somebody's", "own")
            await broker.send([task(str(n)) for n in range(3)])
            for n, delivery in enumerate(await drain(broker, 3)):
                settler.record(record(str(n), "STARTED"))
                settler.add(n, Ack(receipt=delivery.receipt, record=record(str(n))))
            async with asyncio.timeout(PATIENCE):
                await settler.drained()
            assert sorted(told) == [(0, False), (1, False), (2, False)]
            assert [letter.task_id for letter in await broker.browse("dead", ["q"])] == ["1"]

    run_scenario(scenario())


@pytest.fixture
def app(taken: RedisServer) -> Iterator[Umbel]:
    app = Umbel("refusals", broker=taken.url(), backend=taken.url(), set_as_current=False)
    yield app
    app.close()


def test_a_worker_goes_on(app: Umbel) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(bind=True)
    def again(self: Task[..., object]) -> None:
        raise self.retry(queue=TAKEN, countdown=0)

    with start_worker(app, concurrency=2):
        linked = [add.apply_async((n, n), link=add.s(n).set(queue=TAKEN)) for n in range(3)]
        retried = again.delay()
        assert app.results([add.delay(n, n) for n in range(9)]).get(timeout=PATIENCE) == [
            2 * n for n in range(9)
        ]
        assert app.results(linked).get(timeout=PATIENCE) == [0, 2, 4]
        with pytest.raises(UmbelError, match=f"the key {TAKEN} holds a set"):
            retried.get(timeout=PATIENCE)  # there is no next try


def test_whoever_sends_there_is_told_at_once(app: Umbel) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with pytest.raises(BrokerUnavailable, match="Nothing was sent, after 1 try") as raised:
        add.apply_async((1, 2), queue=TAKEN)
    assert raised.value.refused
