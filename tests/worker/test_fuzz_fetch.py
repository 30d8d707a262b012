"""Whatever lies in a queue, the worker goes on, and every message has an end that can be seen."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from servers import RedisServer
from umbel.backends.sqlite import parse_location
from umbel.backends.sqlite.database import Database
from umbel.errors import BrokerUnavailable
from umbel.ports import Depth, Shelved
from umbel.testing.worker import InProcessWorker, start_worker
from wire.frames import TASK, odd_entries
from worker.harness import Site, eventually

# The worker's threads may draw random numbers while hypothesis draws its own; it takes that for the test's doing.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

WAIT = 30.0
ENDS_IN_ACK = ("success", "failure", "ignored")
Inject = Callable[[list[bytes]], None]

FEW = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # a smaller example costs as many waits in vain as it takes to find it
)


class Target:
    """A worker, its broker, and a way to put bytes into its queue."""

    def __init__(self, site: Site, worker: InProcessWorker, inject: Inject) -> None:
        self.site = site
        self.worker = worker
        self.inject = inject

    def survives(self, batch: list[bytes]) -> None:
        """Put `batch` into the queue: all of it has an end, and the call after it is run."""
        before = self.acknowledged()
        self.inject(batch)
        assert self.site.call(TASK, "still there").get(timeout=WAIT) == [["still there"], {}]
        eventually(lambda: self.depth().waiting + self.depth().held == 0, "every message to have its end")
        aside = self.aside()
        acknowledged = self.acknowledged() - before - 1
        assert acknowledged + len(aside) + self.depth().scheduled == len(batch), (acknowledged, aside)
        assert all(item.reason for item in aside), aside
        self.clear(aside)

    def depth(self) -> Depth:
        return self.site.ask(lambda broker: broker.depth(["celery"]))["celery"]

    def acknowledged(self) -> int:
        assert self.worker.node is not None
        return sum(self.worker.node.journal.counters[ending] for ending in ENDS_IN_ACK)

    def aside(self) -> list[Shelved]:
        return [*self.site.shelf("parked"), *self.site.shelf("dead")]

    def clear(self, aside: list[Shelved]) -> None:
        self.site.ask(lambda broker: broker.purge(["celery"]))
        self.site.ask(lambda broker: broker.discard("parked", [item.key for item in aside]))
        self.site.ask(lambda broker: broker.discard("dead", [item.key for item in aside]))


def injector(backend: str, site: Site, server: Callable[[], RedisServer]) -> Inject:
    if backend == "redis":
        database = site.broker_url.rpartition("/")[2]

        def into_redis(batch: list[bytes]) -> None:
            # LPUSH by a script: the connection of `command` knows one database only.
            script = "redis.call('SELECT', KEYS[1]); return redis.call('LPUSH', KEYS[2], unpack(ARGV))"
            server().command("EVAL", script, "2", database, "celery", *batch)

        return into_redis
    location = parse_location(site.broker_url, {})
    file = Database(location, BrokerUnavailable)

    def into_sqlite(batch: list[bytes]) -> None:
        with file.write() as connection:
            connection.executemany(
                "INSERT INTO messages (queue, shelf, priority, rank, due, since, task_id, task, frame)"
                " VALUES ('celery', 0, 0, 1, 1, 1, '', '', ?)",
                [(data,) for data in batch],
            )

    return into_sqlite


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def target(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_site: Callable[[str, Path], Site],
) -> Iterator[Target]:
    site = make_site(request.param, tmp_path_factory.mktemp("site"))

    @site.app.task(name=TASK)
    def echo(*args: Any, **kwargs: Any) -> list[Any]:
        return [list(args), kwargs]

    logging.getLogger("umbel").setLevel(logging.CRITICAL)
    with start_worker(site.app, concurrency=2) as worker:
        inject = injector(request.param, site, lambda: request.getfixturevalue("redis_process"))
        yield Target(site, worker, inject)
    logging.getLogger("umbel").setLevel(logging.NOTSET)
    site.close()


@FEW
@given(batch=st.lists(odd_entries(alone=True), min_size=1, max_size=8))
def test_a_worker_survives_whatever_lies_in_its_queue(target: Target, batch: list[bytes]) -> None:
    target.survives(batch)


@pytest.mark.soak
def test_a_worker_survives_for_long(target: Target) -> None:
    @settings(FEW, max_examples=100, derandomize=False)
    @given(batch=st.lists(odd_entries(alone=True), min_size=1, max_size=20))
    def survives(batch: list[bytes]) -> None:
        target.survives(batch)

    until = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "120"))
    while time.monotonic() < until:
        survives()
