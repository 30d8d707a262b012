"""Sites for the tests of the worker: on SQLite and on Redis."""

from __future__ import annotations

import itertools
import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from servers import RedisServer
from worker.harness import Site, Worker

_BACKENDS = ("sqlite", "redis")
_DATABASES = 1000
_databases = itertools.count()
"""Each site has a database of its own."""


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory = tmp_path_factory.mktemp("redis")
    with RedisServer(directory, config=("--databases", str(_DATABASES))) as server:
        yield server


@pytest.fixture(scope="session")
def make_site(request: pytest.FixtureRequest) -> Callable[[str, pathlib.Path], Site]:
    """Make a site on a backend, in a directory."""

    def make(backend: str, directory: pathlib.Path) -> Site:
        directory.mkdir(parents=True, exist_ok=True)
        if backend == "sqlite":
            file = directory / "queue.db"
            return Site(directory, f"sqlite:///{file}", files=[file])
        server: RedisServer = request.getfixturevalue("redis_process")
        return Site(directory, server.url(db=next(_databases)))

    return make


@pytest.fixture(params=_BACKENDS)
def site(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, make_site: Callable[[str, pathlib.Path], Site]
) -> Iterator[Site]:
    """A site of this test's own, on each backend in turn."""
    made = make_site(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def unique() -> str:
    """A word that no other test uses: for the notes and gates of a worker that several tests share."""
    return uuid.uuid4().hex[:12]


class Running(NamedTuple):
    """A worker that several tests share, and its site."""

    site: Site
    worker: Worker
    pool: str


@pytest.fixture(
    scope="module",
    params=[(pool, backend) for pool in ("prefork", "threads", "asyncio", "solo") for backend in _BACKENDS],
    ids="-".join,
)
def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_site: Callable[[str, pathlib.Path], Site],
) -> Iterator[Running]:
    """A worker of each pool on each backend. It must not be ended, and no task may crash in it."""
    pool, backend = request.param
    site = make_site(backend, tmp_path_factory.mktemp("site"))
    with site.worker(pool=pool, concurrency=2) as worker:
        yield Running(site, worker, pool)
    site.close()
