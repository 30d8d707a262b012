"""Which queues an exchange feeds, in the sets that kombu keeps on Redis: it sees our queues, and we see its own."""

from __future__ import annotations

from collections.abc import Sequence

from umbel.backends.redis.keys import Keys
from umbel.backends.redis.server import Server
from umbel.backends.redis.wire import Command

__all__ = ["BindingTables"]

_SEPARATOR = "\x06\x16"


class BindingTables:
    """The bindings of one broker. Implements ``umbel.ports.Bindings``."""

    _server: Server
    _keys: Keys

    async def bind(self, exchange: str, binding: tuple[str, str, str]) -> None:
        await self._server.calls(self._both("SADD", exchange, binding))

    async def unbind(self, exchange: str, binding: tuple[str, str, str]) -> None:
        await self._server.calls(self._both("SREM", exchange, binding))

    async def bindings(self, exchange: str) -> Sequence[tuple[str, str, str]]:
        members = await self._server.call("SMEMBERS", self._table("binding", exchange))
        parts = [member.decode().split(_SEPARATOR) for member in members]
        return sorted((part[0], part[1], part[2]) for part in parts if len(part) == 3)

    def _table(self, kind: str, exchange: str) -> str:
        return f"{self._keys.prefix}_kombu.{kind}.{exchange}"

    def _both(self, command: str, exchange: str, binding: tuple[str, str, str]) -> list[Command]:
        """For the table, and for the one by which newer versions of kombu know what must not expire with their own."""
        member = _SEPARATOR.join(binding)
        return [(command, self._table(kind, exchange), member) for kind in ("binding", "binding_permanent")]
