"""The watchdog and the first connection by themselves, in this process."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from umbel import Umbel
from umbel.backends import open_broker
from umbel.ports import Broker
from umbel.testing.worker import InProcessWorker
from umbel.worker import watchdog
from umbel.worker.fetcher import Fetcher
from umbel.worker.health import Health, Limits
from umbel.worker.settings import NodeSettings
from umbel.worker.watchdog import FetchStuck, Watchdog

LIMIT = 0.2
LONG = 30.0


def test_a_loop_that_is_right_to_wait_for_room_is_left_alone() -> None:
    async def scenario() -> None:
        health, hindrance = Health(), [""]
        health.hindrance = lambda: hindrance[0] if hindrance else None
        begun = 0

        async def fetch() -> None:
            nonlocal begun
            begun += 1
            health.wait_for_room()
            await asyncio.Event().wait()

        dog = asyncio.create_task(Watchdog(fetch, health, limit=LIMIT, tries=2).run())
        done, _ = await asyncio.wait([dog], timeout=5 * LIMIT)
        assert not done
        assert begun == 1
        assert health.report().state == "full"
        # Now there is room, and nobody has woken it: a lost wake-up.
        hindrance.clear()
        with pytest.raises(FetchStuck, match="waiting for room"):
            await asyncio.wait_for(dog, LONG)
        assert begun == 2
        assert health.report().state == "stuck"

    asyncio.run(scenario())


def test_tries_that_helped_are_not_counted() -> None:
    async def scenario() -> None:
        health = Health()
        begun = 0

        async def fetch() -> None:
            nonlocal begun
            begun += 1
            if begun == 5:
                raise ValueError("not the watchdog's business")
            if begun > 1:
                health.fetched()
            await asyncio.Event().wait()

        with pytest.raises(ValueError, match="not the watchdog's business"):
            await asyncio.wait_for(Watchdog(fetch, health, limit=LIMIT, tries=2).run(), LONG)

    asyncio.run(scenario())


def test_a_loop_that_cannot_be_cancelled_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LETTING_GO", LIMIT)

    async def scenario() -> None:
        released = asyncio.Event()

        async def fetch() -> None:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue

        with pytest.raises(FetchStuck):
            await asyncio.wait_for(Watchdog(fetch, Health(), limit=LIMIT, tries=10).run(), LONG)
        released.set()

    asyncio.run(scenario())


def test_the_steps_of_its_own_calls_move_the_loop() -> None:
    """However many there are, and however slow they are; what other loops get answered says nothing of this one."""

    async def scenario() -> None:
        broker = open_broker("memory://steps")
        settings = NodeSettings(name="w@h", id="node", queues=("q",), pool="threads", children=1, slots=1)
        unused: Any = None
        fetcher = Fetcher(settings, broker, unused, unused, unused, unused)
        fetcher.wanted = lambda: 1
        broker.on_step = fetcher.step
        turned: list[float] = []
        done = asyncio.Event()

        async def other_call() -> None:
            broker.on_step()

        async def reserve(*_args: Any, **_options: Any) -> Any:
            turned.append(fetcher.health.turned)
            await asyncio.create_task(other_call())
            turned.append(fetcher.health.turned)
            broker.on_step()
            turned.append(fetcher.health.turned)
            done.set()
            await asyncio.Event().wait()

        broker.reserve = reserve  # type: ignore[method-assign]
        fetching = asyncio.create_task(fetcher.run())
        await asyncio.wait_for(done.wait(), LONG)
        fetching.cancel()
        before, after_another, after_its_own = turned
        assert before == after_another < after_its_own

    asyncio.run(scenario())


def test_an_attempt_to_connect_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    app = Umbel("hanging", broker="memory://hanging", backend="memory://hanging", set_as_current=False)
    new_broker = app.new_broker
    attempts: list[str] = []

    def hanging() -> Broker:
        broker = new_broker()
        opens = broker.open
        broker.patience = 0.01

        async def hangs_once() -> Any:
            attempts.append("")
            if len(attempts) == 1:
                await asyncio.Event().wait()
            await opens()

        broker.open = hangs_once  # type: ignore[method-assign]
        return broker

    app.new_broker = hanging  # type: ignore[method-assign]
    settings = NodeSettings(
        name="w@h",
        id=os.urandom(8).hex(),
        queues=("celery",),
        pool="threads",
        children=1,
        slots=1,
        limits=Limits(slack=LIMIT),
    )
    worker = InProcessWorker(app, settings)
    worker.start()
    worker.stop()
    assert len(attempts) == 2
    assert "neither answers nor refuses" in caplog.text
