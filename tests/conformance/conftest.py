"""One redis-server for all tests of this process that need no particular one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers import RedisServer


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """A server that is empty."""
    redis_process.command("FLUSHALL")
    redis_process.command("SCRIPT", "FLUSH")
    return redis_process
