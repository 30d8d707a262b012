"""What a node does now and then for everybody, on a real broker."""

from __future__ import annotations

import asyncio
import logging
import uuid

import pytest

from umbel.backends import open_broker
from umbel.core.frame import Frame
from umbel.ports import Bury, Outgoing
from umbel.testing.conformance.harness import eventually
from umbel.worker import upkeep as upkeep_module
from umbel.worker.settings import NodeSettings
from umbel.worker.upkeep import Upkeep

NUMBER = 23


def test_however_many_dead_letters_are_too_many_are_deleted_in_one_round(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep_module, "PRUNE_SECONDS", 0.0)
    monkeypatch.setattr(upkeep_module, "FIRST_PAUSE", 3600.0)  # there is one round
    monkeypatch.setattr(upkeep_module, "PRUNED_AT_ONCE", 4)
    settings = NodeSettings(
        name="w@h", id="node", queues=("q",), pool="solo", children=1, slots=1, dead_letter_limit=2
    )
    frame = Frame(b"[]", "application/json", "utf-8", {"id": "x", "task": "t"}, {})

    async def main() -> None:
        broker = open_broker(f"memory://{uuid.uuid4().hex}")
        await broker.open()
        await broker.send([Outgoing(frame=frame, queue="q")] * NUMBER)
        held = await broker.reserve(["q"], limit=NUMBER, lease=60, wait=1)
        await broker.settle([Bury(receipt=delivery.receipt, reason="r") for delivery in held])
        working = asyncio.create_task(Upkeep(settings, broker, None, ["t"]).run())

        async def told() -> bool:
            return "Deleted" in caplog.text

        await eventually(told)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert (await broker.depth(["q"]))["q"].dead == 2
        await broker.close()

    with caplog.at_level(logging.WARNING, "umbel.worker"):
        asyncio.run(main())
    assert f"Deleted {NUMBER - 2} dead letters" in caplog.text
