"""What lies in Celery's lists may have been written by anybody: no number in it takes a queue out of service."""

from __future__ import annotations

import asyncio

import pytest

from servers import RedisServer
from umbel.backends import open_broker
from umbel.ports import Bury, Release
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
