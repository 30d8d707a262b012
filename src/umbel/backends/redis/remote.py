"""Celery's remote control on Redis, as kombu has it: commands are published, replies are pushed to a list of the one who asked.

A worker of Celery answers only where kombu's table of bindings names a queue for the address, so an address is entered there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from umbel.backends.redis.keys import Keys
from umbel.backends.redis.server import Server
from umbel.backends.redis.subscriptions import Subscriptions

__all__ = ["Pidbox"]

_KEPT_SECONDS = 60
_MOST = 10_000
"""Commands or events that wait to be looked at; older ones are lost when more come."""
_SEPARATOR = "\x06\x16"


class Pidbox:
    """The commands of one broker. Implements ``umbel.ports.Remote``."""

    _server: Server
    _keys: Keys

    def _listening(self) -> Subscriptions:
        raise NotImplementedError

    def _channel(self, box: str) -> str:
        return f"{self._keys.prefix}/{self._server.address.db}.{box}"

    def _replies(self, box: str, address: str) -> str:
        return f"{self._keys.prefix}{address}.reply.{box}"

    def _binding(self, box: str, address: str) -> tuple[str, str]:
        return f"{self._keys.prefix}_kombu.binding.reply.{box}", _SEPARATOR.join(
            (address, "", f"{address}.reply.{box}")
        )

    async def broadcast(self, box: str, message: bytes) -> None:
        await self._server.call("PUBLISH", self._channel(box), message)

    async def commands(self, box: str) -> AsyncIterator[bytes]:
        return await self._published(self._channel(box))

    async def events(self, exchange: str) -> AsyncIterator[bytes]:
        return await self._published(f"{self._channel(exchange)}/*")

    async def _published(self, channel: str) -> AsyncIterator[bytes]:
        inbox: deque[bytes] = deque(maxlen=_MOST)
        bell = asyncio.Event()

        def heard(_channel: str, payload: bytes | None) -> None:
            if payload is not None:
                inbox.append(payload)
                bell.set()

        subscriptions = self._listening()
        await subscriptions.add([channel], heard)

        async def listen() -> AsyncIterator[bytes]:
            try:
                while True:
                    await bell.wait()
                    bell.clear()
                    while inbox:
                        yield inbox.popleft()
            finally:
                subscriptions.remove([channel], heard)

        return listen()

    async def emit(self, exchange: str, routing_key: str, message: bytes) -> None:
        await self._server.call("PUBLISH", f"{self._channel(exchange)}/{routing_key}", message)

    async def reply(self, box: str, address: str, message: bytes) -> None:
        key = self._replies(box, address)
        await self._server.calls([("LPUSH", key, message), ("EXPIRE", key, _KEPT_SECONDS)])

    async def expect(self, box: str, address: str) -> None:
        await self._server.call("SADD", *self._binding(box, address))

    async def replies(self, box: str, address: str) -> list[bytes]:
        found = []
        while (message := await self._server.call("RPOP", self._replies(box, address))) is not None:
            found.append(message)
        return found

    async def dismiss(self, box: str, address: str) -> None:
        await self._server.calls(
            [("SREM", *self._binding(box, address)), ("DEL", self._replies(box, address))]
        )
