"""One Redis, one client and one worker of each side for all tests of this process; a test that needs its own has it."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from interop import harness
from interop.harness import CeleryClient, Place, Process
from interop.umbel_side import make_app
from servers import RedisServer
from umbel import Umbel

SAFE = ["json", "yaml", "msgpack"]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        where = Place(server)
        yield where
        where.close()


@pytest.fixture(scope="session")
def celery(place: Place) -> Iterator[CeleryClient]:
    """A Celery client; its calls go to Umbel's worker unless it says otherwise."""
    client = CeleryClient(place, "to-umbel")
    yield client
    client.close()


@pytest.fixture(scope="session")
def app(place: Place) -> Umbel:
    """An Umbel client, in the test's process; its calls go to Celery's worker unless it says otherwise."""
    return make_app(place.broker, place.backend, "to-celery")


@pytest.fixture(scope="session")
def umbel_worker(place: Place) -> Iterator[Process]:
    with harness.umbel_worker(place, "to-umbel", "both", concurrency=2, accept_content=SAFE) as worker:
        yield worker


@pytest.fixture(scope="session")
def celery_worker(place: Place) -> Iterator[Process]:
    with harness.celery_worker(
        place, "to-celery", "both", concurrency=2, accept_content=[*SAFE, "pickle"]
    ) as worker:
        yield worker


@pytest.fixture
def fresh() -> str:
    """A name that nothing else has: for queues, gates and notes of one test."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def run_umbel(place: Place) -> Callable[..., str]:
    """Run a command of Umbel's for the app and return what it prints."""

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "umbel", "-A", "interop.umbel_side", *arguments],
            env=place.environment("umbel", "to-umbel", {}),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return run
