"""The loop that fetches, in a real node in this process: when it is woken, and what becomes of what it has in hand."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Collection, Iterator, Sequence

import pytest

from umbel import Umbel
from umbel.core.frame import HISTORY_HEADER
from umbel.ports import Broker, Receipt, Settlement
from umbel.testing.worker import InProcessWorker, start_worker
from umbel.worker import crew
from umbel.worker.health import Limits
from umbel.worker.settings import NodeSettings

WAIT = 20.0
NEVER = 3600.0


@pytest.fixture
def app() -> Iterator[Umbel]:
    """An app in memory."""
    url = f"memory://{uuid.uuid4().hex}"
    app = Umbel("tests", broker=url, backend=url, set_as_current=False)
    yield app
    app.close()


def made(app: Umbel, slots: int) -> InProcessWorker:
    """A worker whose watchdog never helps the loop that fetches."""
    app.finalize()
    settings = NodeSettings(
        name="w@h",
        id=os.urandom(8).hex(),
        queues=("celery",),
        pool="threads",
        children=1,
        slots=slots,
        limits=Limits(stuck=NEVER),
    )
    return InProcessWorker(app, settings)


def test_a_suspect_that_has_lasted_keeps_nobody_from_being_fetched(
    app: Umbel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "TRIAL_SECONDS", 0.1)
    begun, go = threading.Event(), threading.Event()

    @app.task
    def long() -> None:
        begun.set()
        go.wait(NEVER)

    @app.task
    def quick() -> int:
        return 1

    worker = made(app, 4)
    worker.start()
    try:
        suspect = app.client.prepare(long.name, (), {}, {}).outgoing
        suspect.frame.headers[HISTORY_HEADER] = [{"what": "was killed by SIGSEGV"}]
        app.broker.send_now([suspect])
        assert begun.wait(WAIT)
        assert quick.delay().get(timeout=WAIT) == 1
    finally:
        go.set()
        worker.stop()


def test_what_a_shutdown_finds_just_acknowledged_is_sent_back(
    app: Umbel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    @app.task(acks_late=False)
    def early(number: int) -> int:
        runs.append(number)
        return number

    new_broker = app.new_broker
    acknowledged = threading.Event()
    stopping: list[asyncio.Event] = []

    def slow_to_answer() -> Broker:
        broker = new_broker()
        settle = broker.settle

        async def settles(batch: Sequence[Settlement]) -> Collection[Receipt]:
            stale = await settle(batch)
            if not stopping:
                stopping.append(asyncio.Event())
                acknowledged.set()
                await stopping[0].wait()
                await asyncio.sleep(0.2)  # the fetch loop is cancelled meanwhile
            return stale

        broker.settle = settles  # type: ignore[method-assign]
        return broker

    def stop() -> None:
        assert worker.node is not None
        worker.node.stop()
        stopping[0].set()

    monkeypatch.setattr(app, "new_broker", slow_to_answer)
    results = early.starmap_async([(number,) for number in range(3)])
    worker = made(app, 4)
    worker.start()
    try:
        assert acknowledged.wait(WAIT)
        worker._loop.call_soon_threadsafe(stop)
    finally:
        worker.stop()
    assert worker.node is not None
    assert len(worker.node.inflight) == 0
    assert runs == []
    monkeypatch.undo()
    with start_worker(app):
        assert app.results(results).get(timeout=WAIT) == [0, 1, 2]
    assert sorted(runs) == [0, 1, 2]
