"""Redis against the contract: over TCP, over a Unix socket, and behind a key prefix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from servers import RedisServer
from umbel.backends import open_broker, open_store
from umbel.ports import Broker, ResultStore
from umbel.testing.conformance import (
    AdoptionConformance,
    BrokerConformance,
    BrokerProcessConformance,
    ResultStoreConformance,
    ResultStoreProcessConformance,
    UnreadableConformance,
)


class OverTcp:
    options: ClassVar[dict[str, Any]] = {}
    list_prefix = ""

    @pytest.fixture
    def url(self, redis_server: RedisServer) -> str:
        return redis_server.url()

    @pytest.fixture
    def make_broker(self, url: str) -> Callable[[], Broker]:
        return lambda: open_broker(url, self.options)

    @pytest.fixture
    def make_store(self, url: str) -> Callable[[], ResultStore]:
        return lambda: open_store(url, self.options)

    @pytest.fixture
    def inject_garbage(self, redis_server: RedisServer) -> Callable[[str, bytes], None]:
        def inject(queue: str, data: bytes) -> None:
            redis_server.command("LPUSH", f"{self.list_prefix}{queue}", data)

        return inject


class OverUnixSocket(OverTcp):
    @pytest.fixture
    def url(self, redis_server: RedisServer) -> str:
        return redis_server.socket_url()


class BehindPrefix(OverTcp):
    options: ClassVar[dict[str, Any]] = {"global_keyprefix": "shop_"}
    list_prefix = "shop_"


class TestRedisBroker(OverTcp, BrokerConformance):
    pass


class TestRedisProcesses(OverTcp, BrokerProcessConformance):
    pass


class TestRedisUnreadable(OverTcp, UnreadableConformance):
    pass


class TestRedisStore(OverTcp, ResultStoreConformance):
    pass


class TestRedisStoreProcesses(OverTcp, ResultStoreProcessConformance):
    pass


class TestRedisAdoption(OverTcp, AdoptionConformance):
    pass


class TestRedisAdoptionOfAnotherDatabase(OverTcp, AdoptionConformance):
    @pytest.fixture
    def make_store(self, redis_server: RedisServer) -> Callable[[], ResultStore]:
        return lambda: open_store(redis_server.url(db=7))


class TestRedisSocketBroker(OverUnixSocket, BrokerConformance):
    pass


class TestRedisSocketStore(OverUnixSocket, ResultStoreConformance):
    pass


class TestRedisPrefixBroker(BehindPrefix, BrokerConformance):
    pass


class TestRedisPrefixUnreadable(BehindPrefix, UnreadableConformance):
    pass


class TestRedisPrefixStore(BehindPrefix, ResultStoreConformance):
    pass
