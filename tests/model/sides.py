"""The backends beside one another, each with a clock that a test can move.

Memory and SQLite read Python's clocks, which are replaced here by ones that are ahead by what has been added to them.
Redis has its own: there every instant that it keeps is moved back instead, by a script of the test's.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from servers import RedisServer
from umbel.backends import _common_machine_clock as machine_clock
from umbel.backends import open_broker, open_store
from umbel.backends.memory import broker as memory_broker
from umbel.backends.memory import forget_memory
from umbel.backends.memory import place as memory_place
from umbel.ports import Broker, ResultStore

__all__ = ["Clock", "Side", "all_sides"]

_MOVE = b"""
local back = tonumber(ARGV[1])
for _, name in ipairs(redis.call('KEYS', '*')) do
  if name:find(':due$') or name:find(':leases$') then
    local flat = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
    for i = 1, #flat, 2 do redis.call('ZADD', name, tonumber(flat[i + 1]) - back, flat[i]) end
  elseif redis.call('PTTL', name) > 0 and not name:find('umbel:settled:') then
    redis.call('PEXPIRE', name, redis.call('PTTL', name) - back)
  end
end
"""


class Clock:
    """Stands in for the module ``time``; ``ahead`` seconds in front of it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def time_ns(self) -> int:
        return time.time_ns() + int(self.ahead * 1e9)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + int(self.ahead * 1e9)


class Side:
    """One backend: an empty broker with two handles, and the result store in its database that both have adopted."""

    def __init__(self, name: str, url: str, move_time: Callable[[float], None]) -> None:
        self.name = name
        self.url = url
        self.move_time = move_time
        """Let so many seconds have passed."""
        self.store: ResultStore = open_store(url)
        self.brokers: list[Broker] = []

    async def open(self) -> None:
        await self.store.open()
        self.brokers = [await self._another() for _ in range(2)]

    async def close(self) -> None:
        for broker in self.brokers:
            await broker.close()
        await self.store.close()

    async def replace(self, handle: int) -> None:
        """The program that had this handle is gone; what it held stays leased. Another one comes."""
        await self.brokers[handle].close()
        self.brokers[handle] = await self._another()

    async def _another(self) -> Broker:
        broker = open_broker(self.url)
        await broker.open()
        broker.adopt(self.store)
        return broker

    def __repr__(self) -> str:
        return self.name


@contextmanager
def all_sides(redis: RedisServer, folder: Path) -> Iterator[list[Side]]:
    """Memory, SQLite and Redis, all empty."""
    name = uuid.uuid4().hex
    path = folder / f"{name}.db"
    redis.command("FLUSHALL")

    def move_redis(seconds: float) -> None:
        redis.command("EVAL", _MOVE, "0", str(int(seconds * 1000)))

    with ExitStack() as stack:
        memory, sqlite = Clock(), Clock()
        for module in (memory_broker, memory_place):
            stack.enter_context(mock.patch.object(module, "time", memory))
        stack.enter_context(mock.patch.object(machine_clock, "time", sqlite))

        def ahead(clock: Clock) -> Callable[[float], None]:
            def move(seconds: float) -> None:
                clock.ahead += seconds

            return move

        try:
            yield [
                Side("memory", f"memory://{name}", ahead(memory)),
                Side("sqlite", f"sqlite:///{path}", ahead(sqlite)),
                Side("redis", redis.url(), move_redis),
            ]
        finally:
            forget_memory(name)
            for file in folder.glob(f"{name}.db*"):
                file.unlink()
