"""The quick way from a message to an idle node: what it must not take, and what it must not forget."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servers import RedisServer
from umbel.backends import open_broker
from umbel.backends.redis.broker import RedisBroker
from umbel.core.kombu_json import dump_frame
from umbel.ports import Ack, Broker, Delivery, Release
from umbel.testing.conformance.harness import LONG, SHORT, bodies, drain, eventually, run_scenario, task

HELD = "umbel:{q}:held"


async def blocked(server: RedisServer, broker: Broker, **options: Any) -> asyncio.Future[Any]:
    """A reserve that waits: the server says that its four connections are blocked."""
    waiting = asyncio.ensure_future(broker.reserve(["q"], limit=9, lease=LONG, wait=LONG, **options))

    async def four() -> bool:
        return waiting.done() or b"blocked_clients:4" in server.command("INFO", "clients")

    await eventually(four)
    assert not waiting.done(), await waiting
    return waiting


def claimed(server: RedisServer) -> int:
    """How often the quick way was taken: its script alone looks at one entry of a list by number."""
    stats: bytes = server.command("INFO", "commandstats")
    line = next((line for line in stats.split(b"\r\n") if line.startswith(b"cmdstat_lindex:")), b":calls=0,")
    return int(line.split(b"calls=")[1].split(b",")[0])


def test_a_plain_message_is_leased_as_any_other(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        broker = open_broker(redis_server.url())
        await broker.open()
        before = claimed(redis_server)
        waiting = await blocked(redis_server, broker, holder="me")
        await broker.send([task("one")])
        [delivery] = await waiting
        assert claimed(redis_server) == before + 1
        assert delivery.count == 1
        assert redis_server.command("HLEN", HELD) == 1
        await broker.settle([Release(receipt=delivery.receipt, counted=True)])
        [again] = await drain(broker, 1)
        assert again.count == 2
        assert await broker.settle([Ack(receipt=delivery.receipt)]) == [delivery.receipt]
        assert not await broker.settle([Ack(receipt=again.receipt)])
        assert redis_server.command("HLEN", HELD) == 0
        await broker.close()

    run_scenario(scenario())


def test_a_dead_node_gives_it_back(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        dead, other = open_broker(redis_server.url()), open_broker(redis_server.url())
        await dead.open()
        await other.open()
        waiting = await blocked(redis_server, dead, holder="dead")
        await other.send([task("one")])
        await waiting
        assert await other.reclaim("dead") == 1
        [again] = await drain(other, 1)
        assert again.count == 2
        await dead.close()
        await other.close()

    run_scenario(scenario())


def test_a_message_for_later_is_not_delivered_now(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        broker = open_broker(redis_server.url())
        await broker.open()
        waiting = await blocked(redis_server, broker)
        later = task("later")
        later.frame.headers["eta"] = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        redis_server.command("LPUSH", "q", dump_frame(later.frame, routing_key="q"))

        async def put_aside() -> bool:
            return redis_server.command("ZCARD", "umbel:{q}:due") == 1

        await eventually(put_aside)
        await broker.send([task("now")])
        assert bodies(await waiting) == ["now"]
        await broker.close()

    run_scenario(scenario())


@pytest.mark.parametrize("priority", [-100, -50, -1, 7, 100])
def test_a_priority_is_kept_through_a_release(redis_server: RedisServer, priority: int) -> None:
    async def scenario() -> None:
        broker = open_broker(redis_server.url())
        await broker.open()
        waiting = await blocked(redis_server, broker)
        await broker.send([task("odd", priority=priority)])
        [delivery] = await waiting
        await broker.settle([Release(receipt=delivery.receipt)])
        await broker.send([task("sooner", priority=min(priority + 1, 100)), task("later", priority=-100)])
        order = bodies(await drain(broker, 3))
        assert order == (["odd", "sooner", "later"] if priority == 100 else ["sooner", "odd", "later"])
        await broker.close()

    run_scenario(scenario())


def test_a_revoked_message_comes_as_such(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        broker, other = open_broker(redis_server.url()), open_broker(redis_server.url())
        await broker.open()
        await other.open()
        waiting = await blocked(redis_server, broker)
        unwanted = task("unwanted")
        await other.revoke([unwanted.frame.task_id])
        await other.send([unwanted])
        [delivery] = await waiting
        assert delivery.revoked
        await broker.close()
        await other.close()

    run_scenario(scenario())


def test_a_burst_comes_in_batches(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        broker, other = open_broker(redis_server.url()), open_broker(redis_server.url())
        await broker.open()
        await other.open()
        waiting = await blocked(redis_server, broker)
        await other.send([task(f"{n}") for n in range(200)])
        taken: list[Delivery] = list(await waiting)
        calls = 1
        while len(taken) < 200:
            taken += await broker.reserve(["q"], limit=100, lease=LONG, wait=SHORT)
            calls += 1
        assert bodies(taken) == [f"{n}" for n in range(200)]
        assert calls <= 4
        await broker.close()
        await other.close()

    run_scenario(scenario())


def test_a_message_that_comes_while_another_one_is_taken_is_not_left(redis_server: RedisServer) -> None:
    """To another queue: it wakes a reserve that is about to return with what woke it before. The next one must look for it at
    once, and not after the five seconds in which a queue is believed to be empty."""

    async def scenario() -> None:
        broker, other = open_broker(redis_server.url()), open_broker(redis_server.url())
        assert isinstance(broker, RedisBroker)
        await broker.open()
        await other.open()
        claim = broker._claim

        async def slow_claim(*args: Any) -> list[Delivery]:
            claimed = await claim(*args)
            await other.send([task("two", "b")])

            async def rung() -> bool:
                return all(bell.is_set() for bell in broker._wait_room()._bells)

            await eventually(rung)
            return claimed

        broker._claim = slow_claim
        waiting = asyncio.ensure_future(broker.reserve(["a", "b"], limit=1, lease=LONG, wait=LONG))

        async def all_blocked() -> bool:
            return b"blocked_clients:8" in redis_server.command("INFO", "clients")

        await eventually(all_blocked)
        await other.send([task("one", "a")])
        assert bodies(await waiting) == ["one"]
        begun = time.monotonic()
        assert bodies(await broker.reserve(["a", "b"], limit=1, lease=LONG, wait=LONG)) == ["two"]
        assert time.monotonic() - begun < 4
        await broker.close()
        await other.close()

    run_scenario(scenario())
