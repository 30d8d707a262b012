"""What a thread that has waited for results on Redis leaves behind."""

from __future__ import annotations

import asyncio
import time

from servers import RedisServer
from umbel.backends import open_store
from umbel.ports import Record
from umbel.testing.conformance.harness import PATIENCE, record


def test_a_connection_hears_nothing_of_an_earlier_wait(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url(1))
    one, two = record("one", value=1), record("two", value=2)
    asyncio.run(put(redis_server.url(1), [one]))
    assert store.wait_now(["one"], PATIENCE, is_final) == {"one": one.payload}
    asyncio.run(put(redis_server.url(1), [one, two]))  # the connection may still be subscribed to the first
    assert store.wait_now(["two"], PATIENCE, is_final) == {"two": two.payload}
    asyncio.run(store.close())


def test_who_gives_up_is_subscribed_to_nothing(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url(1))
    assert store.wait_now(["never"], 0.01, is_final) == {}
    eventually_no_channels(redis_server)
    asyncio.run(store.close())


def test_many_channels_are_left_at_once(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url(1))
    records = [record(f"r{number}") for number in range(200)]
    asyncio.run(put(redis_server.url(1), records))
    ids = [item.task_id for item in records]
    assert set(store.wait_now(ids, PATIENCE, is_final)) == set(ids)
    eventually_no_channels(redis_server)
    asyncio.run(store.close())


async def put(url: str, records: list[Record]) -> None:
    store = open_store(url)
    await store.open()
    await store.put(records)
    await store.close()


def is_final(payload: bytes) -> bool:
    return b'"SUCCESS"' in payload


def eventually_no_channels(server: RedisServer) -> None:
    deadline = time.monotonic() + PATIENCE
    while server.command("PUBSUB", "CHANNELS"):
        assert time.monotonic() < deadline, server.command("PUBSUB", "CHANNELS")
        time.sleep(0.01)
