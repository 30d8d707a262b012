"""``umbel.testing.start_worker``: the real node and runner in this process, for tests of applications."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from umbel import Task, Umbel
from umbel.core.envelope import Envelope
from umbel.errors import Reject, SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded, UmbelError
from umbel.testing.worker import start_worker
from umbel.worker import deaths
from worker.harness import eventually

WAIT = 20.0
POOLS = pytest.mark.parametrize("pool", ["threads", "asyncio"])


@pytest.fixture
def app() -> Iterator[Umbel]:
    """An app in memory."""
    url = f"memory://{uuid.uuid4().hex}"
    app = Umbel("tests", broker=url, backend=url, set_as_current=False)
    yield app
    app.close()


@POOLS
def test_a_worker_runs_tasks_of_both_kinds(app: Umbel, pool: str) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    @app.task
    async def aadd(x: int, y: int) -> int:
        await asyncio.sleep(0)
        return x + y

    with start_worker(app, pool=pool, concurrency=2):
        assert add.delay(1, 2).get(timeout=WAIT) == 3
        assert aadd.delay(1, 2).get(timeout=WAIT) == 3
        assert app.results(add.starmap_async([(n, n) for n in range(100)])).get(timeout=WAIT) == [
            2 * n for n in range(100)
        ]


@POOLS
def test_plain_functions_run_in_as_many_threads_as_there_are_slots(app: Umbel, pool: str) -> None:
    together = threading.Barrier(12)

    @app.task
    def meet() -> int:
        return together.wait(WAIT)

    with start_worker(app, pool=pool, concurrency=12):
        numbers = app.results(meet.starmap_async([()] * 12)).get(timeout=WAIT)
    assert sorted(numbers) == list(range(12))


@POOLS
def test_each_run_has_its_own_request(app: Umbel, pool: str) -> None:
    together = threading.Barrier(4)

    @app.task(bind=True)
    def who(self: Task[..., Any]) -> list[str | None]:
        before = self.request.id
        together.wait(WAIT)
        return [before, self.request.id]

    with start_worker(app, pool=pool, concurrency=4):
        results = who.starmap_async([()] * 4)
        for result in results:
            assert result.get(timeout=WAIT) == [result.id, result.id]


@POOLS
def test_at_the_end_of_the_block_running_tasks_have_finished(app: Umbel, pool: str) -> None:
    begun, go = threading.Event(), threading.Event()

    @app.task
    def slow() -> str:
        begun.set()
        go.wait(WAIT)
        return "finished"

    with start_worker(app, pool=pool):
        result = slow.delay()
        begun.wait(WAIT)
        threading.Timer(0.05, go.set).start()
    assert result.get(timeout=0) == "finished"


@POOLS
@pytest.mark.parametrize("wrong", ["routing_key", "middleware"])
def test_a_callback_that_cannot_be_sent_fails_its_own_task_only(app: Umbel, pool: str, wrong: str) -> None:
    begun, go, runs = threading.Event(), threading.Event(), []

    @app.task
    def long() -> None:
        runs.append("long")
        begun.set()
        go.wait(WAIT)

    @app.task
    def short() -> None:
        runs.append("short")

    @app.task
    def after(value: object) -> None:
        runs.append("after")

    def astray(envelope: Envelope) -> Envelope:
        return msgspec.structs.replace(envelope, queue=5) if envelope.task == after.name else envelope

    link = after.s()
    if wrong == "middleware":
        app.before_send(astray)
    else:
        link.options["routing_key"] = 5
    with start_worker(app, pool=pool, concurrency=2):
        neighbour = long.delay()
        assert begun.wait(WAIT)
        with pytest.raises(UmbelError, match=r"routing key must be a string|\$\.queue"):
            short.apply_async(link=link).get(timeout=WAIT)
        go.set()
        neighbour.get(timeout=WAIT)
    assert runs == ["long", "short"]


def test_after_the_grace_period_what_runs_goes_back(app: Umbel) -> None:
    begun, go, runs = threading.Event(), threading.Event(), []

    @app.task(bind=True)
    def slow(self: Task[..., Any]) -> int:
        runs.append(self.request.deliveries)
        begun.set()
        go.wait(WAIT)
        return len(runs)

    with start_worker(app, grace=0.05):
        result = slow.delay()
        begun.wait(WAIT)
    assert not result.ready()
    go.set()
    with start_worker(app):
        assert result.get(timeout=WAIT) == 2
    assert runs == [1, 1]


@POOLS
def test_a_hard_limit_ends_the_call_and_work_goes_on(app: Umbel, pool: str) -> None:
    go = threading.Event()

    @app.task(time_limit=0.1)
    def stuck() -> None:
        go.wait(WAIT)

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with start_worker(app, pool=pool):
        with pytest.raises(TimeLimitExceeded):
            stuck.delay().get(timeout=WAIT)
        assert add.delay(1, 2).get(timeout=WAIT) == 3
        # The thread that was cut off ends by itself, and what it says is heard by nobody.
        go.set()
        assert add.delay(3, 4).get(timeout=WAIT) == 7
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("task-")])


@POOLS
def test_a_soft_limit_reaches_the_task(app: Umbel, pool: str) -> None:
    @app.task(soft_time_limit=0.05)
    def slow() -> str:
        try:
            while True:
                time.sleep(0.001)
        except SoftTimeLimitExceeded:
            return "cleaned up"

    with start_worker(app, pool=pool):
        assert slow.delay().get(timeout=WAIT) == "cleaned up"


@POOLS
def test_a_child_whose_connection_breaks_is_replaced(
    app: Umbel, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaths, "PATIENCE", 0.01)

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with start_worker(app, pool=pool) as worker:
        assert add.delay(1, 2).get(timeout=WAIT) == 3
        assert worker.node is not None
        transport = worker.node.crew.children[0].transport
        assert transport is not None
        worker.node._loop.call_soon_threadsafe(transport.abort)
        assert add.delay(3, 4).get(timeout=WAIT) == 7


def test_dead_letters_are_there_to_be_looked_at(app: Umbel) -> None:
    @app.task
    def refuse() -> None:
        raise Reject("not today")

    with start_worker(app), pytest.raises(Reject, match="not today"):
        refuse.delay().get(timeout=WAIT)


def test_a_running_task_can_be_terminated(app: Umbel) -> None:
    begun, go = threading.Event(), threading.Event()

    @app.task
    def slow() -> None:
        begun.set()
        go.wait(WAIT)

    with start_worker(app):
        result = slow.delay()
        begun.wait(WAIT)
        result.revoke(terminate=True)
        with pytest.raises(TaskRevokedError):
            result.get(timeout=WAIT)
        go.set()


def test_only_its_queues_are_consumed(app: Umbel) -> None:
    @app.task
    def echo(value: int) -> int:
        return value

    with start_worker(app, queues=["mail"]):
        other = echo.delay(1)
        assert echo.apply_async((2,), queue="mail").get(timeout=WAIT) == 2
        assert not other.ready()


def test_an_error_at_the_start_is_raised(app: Umbel, monkeypatch: pytest.MonkeyPatch) -> None:
    app.conf.imports = ["no_such_module_anywhere"]
    with pytest.raises(ModuleNotFoundError), start_worker(app):
        raise AssertionError("not reached")


def test_no_thread_is_left(app: Umbel) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    before = set(threading.enumerate())

    def left() -> list[threading.Thread]:
        return [
            thread
            for thread in set(threading.enumerate()) - before
            if thread.name.startswith(("task-", "umbel-worker", "umbel-child"))
        ]

    with start_worker(app, concurrency=3):
        add.delay(1, 2).get(timeout=WAIT)
        assert left()
    eventually(lambda: not left())


def test_two_workers_share_the_work(app: Umbel) -> None:
    together = threading.Barrier(2)

    @app.task
    def meet() -> int:
        return together.wait(WAIT)

    make: Callable[..., Any] = start_worker
    with make(app, name="one"), make(app, name="two"):
        assert sorted(app.results(meet.starmap_async([(), ()])).get(timeout=WAIT)) == [0, 1]
