"""What lies there that nobody wanted: numbers that take no queue out of service, tasks that no worker knows."""

from __future__ import annotations

import asyncio

import pytest

from servers import RedisServer
from umbel.backends import open_broker
from umbel.ports import Bury, Park, Release
from umbel.testing.conformance.harness import LONG, SHORT, bodies, drain, run_scenario, task

ENTRY = (
    '{"body":"b2Rk","content-encoding":"utf-8","content-type":"application/json","headers":{"task":"t","id":"odd"%s},'
    '"properties":{"body_encoding":"base64","delivery_info":{"routing_key":"q"},"delivery_tag":"1"}%s}'
)
NINES = "9" * 25


@pytest.mark.parametrize("company", [False, True])
@pytest.mark.parametrize(
    ("header", "mark"),
    [
        *((f',"umbel_priority":{value}', "") for value in (NINES, f"-{NINES}", "300", "-0", "1.5", "1e5", "null")),
        *(("", f',"umbel":[{value}]') for value in (f"{NINES},0", f"1,0,{NINES}", "1,0,-300", "9999999999999999,1", "1,0,")),
    ],
)  # fmt: skip
def test_a_number_out_of_range_loses_nothing(
    redis_server: RedisServer, header: str, mark: str, company: bool
) -> None:
    async def scenario() -> None:
        broker = open_broker(redis_server.url())
        try:
            expected = ["odd", *(["other"] if company else [])]
            if company:  # of a priority for which all that waits has to be sorted
                await broker.send([task("other", priority=5)])
            redis_server.command("LPUSH", "q", ENTRY % (header, mark))
            held = await drain(broker, len(expected))
            assert sorted(bodies(held)) == expected
            assert len(await broker.browse("held", ["q"])) == len(expected)
            await broker.settle([Release(receipt=delivery.receipt) for delivery in held])
            assert len(await broker.browse("waiting", ["q"])) == len(expected)
            await drain(broker, len(expected), lease=SHORT)
            await asyncio.sleep(SHORT)  # their leases end: they are put back
            held = await drain(broker, len(expected), lease=LONG)
            await broker.settle([Bury(receipt=delivery.receipt, reason="r") for delivery in held])
            keys = [item.key for item in await broker.browse("dead", ["q"])]
            assert await broker.requeue("dead", keys) == len(expected)
            assert sorted(bodies(await drain(broker, len(expected)))) == expected
        finally:
            await broker.close()

    run_scenario(scenario())


def test_what_no_worker_knows_is_not_read_again_and_again(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        broker = open_broker(redis_server.url())
        try:
            await broker.send([task(str(n), name="tasks.unknown") for n in range(300)])
            held = await drain(broker, 300)
            name = "tasks.unknown"
            parks = [Park(receipt=delivery.receipt, reason="r", task=name) for delivery in held]
            assert list(await broker.settle(parks)) == []
            redis_server.command("CONFIG", "RESETSTAT")
            assert await broker.unpark(["tasks.add", "tasks.mul"]) == 0
            statistics = redis_server.command("INFO", "commandstats")
            assert isinstance(statistics, bytes)
            assert b"cmdstat_hgetall" in statistics
            assert b"cmdstat_hmget" not in statistics, "that reads messages"
            keys = [item.key for item in await broker.browse("parked", ["q"], limit=300)]
            assert await broker.discard("parked", keys[:100]) == 100
            assert await broker.requeue("parked", keys[100:200]) == 100
            assert await broker.unpark([name]) == 100
            assert redis_server.command("EXISTS", "umbel:{q}:parked:names", "umbel:{q}:parked:tasks") == 0
            assert len(await drain(broker, 200)) == 200
        finally:
            await broker.close()

    run_scenario(scenario())
