"""Settlements whose answers are lost for so long that the worker has given up on them more than once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from chaos.proxy import FaultProxy
from servers import RedisServer
from umbel.backends import open_broker, open_store
from umbel.backends.redis.broker import RedisBroker
from umbel.errors import BrokerUnavailable, StoreFull
from umbel.ports import Ack, Broker, Delivery, Frame, Outgoing, Receipt, Record, Release, Settlement
from umbel.testing.conformance.harness import eventually

LEASE = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    server.command("FLUSHALL")
    with FaultProxy(server.port) as made:
        yield made


def broker_behind(proxy: FaultProxy) -> Broker:
    return open_broker(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.3&socket_connect_timeout=0.3")


def message(name: str) -> Outgoing:
    frame = Frame(b"[[], {}, {}]", "application/json", "utf-8", {"id": name, "task": "t"}, {})
    return Outgoing(frame=frame, queue="q")


async def take(broker: Broker, count: int) -> list[Delivery]:
    await broker.send([message(str(n)) for n in range(count)])
    return list(await broker.reserve(["q"], limit=count, lease=LEASE, wait=0))


async def teach(broker: Broker, kind: type[Ack | Release]) -> None:
    """Let the server know the script: were it to say that it does not, that would be the answer that is lost."""
    nobody = Receipt("q", "nobody:000000000000:0001:1:0:0")
    assert list(await broker.settle([kind(receipt=nobody)])) == [nobody]


async def lose_the_answer(broker: Broker, proxy: FaultProxy, batch: list[Settlement]) -> None:
    """The batch is carried out, and whoever asked does not hear of it, though it asks twice."""
    await teach(broker, Ack if isinstance(batch[0], Ack) else Release)
    before = (await broker.depth(["q"]))["q"].held
    proxy.swallow("answers")
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            await broker.settle(batch)
    proxy.heal()
    assert (await broker.depth(["q"]))["q"].held < before


KINDS = {"short": Ack, "long": Release}


@pytest.mark.parametrize("kind", KINDS)
def test_asked_again_with_more_it_is_told_what_was_done(proxy: FaultProxy, kind: str) -> None:
    """Meanwhile more has ended: the batch that was asked for is recognised at the beginning of the one that is now."""

    async def scenario() -> None:
        broker = broker_behind(proxy)
        await broker.open()
        try:
            taken = await take(broker, 5)
            settlements: list[Settlement] = [KINDS[kind](receipt=each.receipt) for each in taken]
            stale = Ack(receipt=Receipt("q", "nobody:000000000000:0001:1:0:0"))
            await lose_the_answer(broker, proxy, [*settlements[:2], stale])
            assert list(await broker.settle([*settlements[:2], stale, *settlements[2:]])) == [stale.receipt]
            # It was told once: whoever settles the same again is late.
            assert len(await broker.settle(settlements)) == 5
        finally:
            await broker.close()

    asyncio.run(scenario())


def test_what_was_not_carried_out_is_carried_out(proxy: FaultProxy) -> None:
    """The answer to another batch is not mistaken for that to this one, though the server keeps both in one place."""

    async def scenario() -> None:
        broker = broker_behind(proxy)
        await broker.open()
        try:
            taken = await take(broker, 40)
            for delivery in taken[:20]:  # more than there are places
                assert list(await broker.settle([Ack(receipt=delivery.receipt)])) == []
            rest: list[Settlement] = [Ack(receipt=delivery.receipt) for delivery in taken[20:]]
            proxy.swallow("requests")
            with pytest.raises(BrokerUnavailable):
                await broker.settle(rest)
            proxy.heal()
            assert list(await broker.settle(rest)) == []
            assert (await broker.depth(["q"]))["q"].held == 0
        finally:
            await broker.close()

    asyncio.run(scenario())


def test_the_server_does_not_keep_more_for_every_batch(proxy: FaultProxy, server: RedisServer) -> None:
    async def scenario() -> None:
        broker = broker_behind(proxy)
        await broker.open()
        try:
            taken = await take(broker, 100)
            for delivery in taken:
                await broker.settle([Ack(receipt=delivery.receipt)])
        finally:
            await broker.close()

    asyncio.run(scenario())
    kept = server.command("KEYS", "umbel:settled:*")
    assert isinstance(kept, list)
    assert len(kept) <= 16


def test_the_answer_is_kept_while_others_are_given(proxy: FaultProxy) -> None:
    """Acknowledgements before the run, for example: they go out while the settler pauses."""

    async def scenario() -> None:
        broker = broker_behind(proxy)
        await broker.open()
        try:
            taken = await take(broker, 40)
            batch: list[Settlement] = [Ack(receipt=delivery.receipt) for delivery in taken[:5]]
            await lose_the_answer(broker, proxy, batch)
            for delivery in taken[5:]:  # more than there are places
                assert list(await broker.settle([Ack(receipt=delivery.receipt)])) == []
            assert list(await broker.settle(batch)) == []
        finally:
            await broker.close()

    asyncio.run(scenario())


def test_a_doubt_outlives_a_server_that_takes_nothing(proxy: FaultProxy, server: RedisServer) -> None:
    """It has become a replica before it is asked again."""

    async def scenario() -> None:
        broker = open_broker(f"redis://127.0.0.1:{proxy.port}/0")
        await broker.open()
        try:
            taken = await take(broker, 5)
            batch: list[Settlement] = [Ack(receipt=delivery.receipt) for delivery in taken]
            await teach(broker, Ack)
            proxy.swallow("answers")
            settling = asyncio.create_task(broker.settle(batch))

            async def carried_out() -> bool:
                return server.command("HLEN", "umbel:{q}:held") == 0

            await eventually(carried_out)
            server.command("REPLICAOF", "127.0.0.1", "1")
            proxy.heal()
            proxy.cut()
            with pytest.raises(StoreFull):
                await settling
            server.command("REPLICAOF", "NO", "ONE")
            assert list(await broker.settle(batch)) == []
        finally:
            server.command("REPLICAOF", "NO", "ONE")
            await broker.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [*KINDS, "recorded"])
def test_a_first_request_that_comes_in_last_changes_no_answer(server: RedisServer, kind: str) -> None:
    """Both lay in the sockets of a server that stood still. Which one it reads first is not for us to say: this asks it in the
    odd order."""
    server.command("FLUSHALL")

    async def scenario() -> None:
        broker, store = open_broker(server.url()), open_store(server.url())
        assert isinstance(broker, RedisBroker)
        assert broker.adopt(store)
        await broker.open()
        try:
            batch: list[Settlement] = []
            for delivery in await take(broker, 3):
                if kind == "recorded":
                    record = Record(task_id="x", state="SUCCESS", payload=b"{}", ttl=60.0)
                    batch.append(Ack(receipt=delivery.receipt, record=record))
                else:
                    batch.append(KINDS[kind](receipt=delivery.receipt))
            settling = broker._settling
            memo = settling._new_memo()
            for memo.asked in (True, False, True):
                assert list(await settling._try([*batch, batch[0]], memo)) == [batch[0].receipt]
        finally:
            await broker.close()

    asyncio.run(scenario())
