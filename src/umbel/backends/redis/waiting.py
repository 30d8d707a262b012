"""Waiting for work without asking for it: blocked connections, one for each list.

Each moves one message out of Celery's list into a list of ours. The server wakes one waiter for a message, the one that
has waited longest, whoever pushed it. A node that dies with the message still in the list of ours loses nothing: the next
``reserve`` of any node serves it. One that no longer waits gives it back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from umbel import faults
from umbel.backends.redis.keys import Keys
from umbel.backends.redis.scripts import UNWAKE
from umbel.backends.redis.server import Server
from umbel.backends.redis.subscriptions import Subscriptions
from umbel.backends.redis.wire import Lost, Refusal, Wire
from umbel.errors import OperationalError, UmbelError

__all__ = ["Moved", "Waiting"]

_BLOCK = 30
"""Seconds after which a blocked command returns by itself: a connection that is dead without knowing it ends then."""
_RETRY = 1.0
"""Seconds between attempts to block again after a failure; until then waiting is asking."""


class Moved(NamedTuple):
    """A message that a blocked connection moved out of Celery's list."""

    queue: str
    source: str
    target: str
    priority: int
    """Base priority of the list."""


class Bell(asyncio.Event):
    """Rings when there may be something to do, and knows why."""

    def __init__(self) -> None:
        super().__init__()
        self._reasons: list[Moved | None] = []

    def ring(self, moved: Moved | None) -> None:
        """`moved`: a message that was moved for whoever waits; None: look everywhere."""
        self._reasons.append(moved)
        self.set()

    def answer(self) -> Moved | None:
        """The message that was moved, if that is all that has happened; None when nothing has. Clears the bell."""
        reasons, self._reasons = self._reasons, []
        self.clear()
        return reasons[0] if len(reasons) == 1 else None


class Waiting:
    """The blocked connections of one broker."""

    def __init__(self, server: Server, keys: Keys, subscriptions: Subscriptions) -> None:
        self._server = server
        self._keys = keys
        self._subscriptions = subscriptions
        self._bells: dict[Bell, frozenset[str]] = {}
        self._blocked: dict[str, asyncio.Task[None]] = {}
        self._wires: dict[str, Wire] = {}
        self._listened: set[str] = set()
        self._hinted = False
        self._failed_at = float("-inf")

    @contextlib.contextmanager
    def session(self, queues: Sequence[str]) -> Iterator[Bell]:
        """A bell that rings when there may be something to do for `queues`."""
        bell = Bell()
        self._bells[bell] = frozenset(queues)
        try:
            yield bell
        finally:
            del self._bells[bell]

    async def wait(self, bell: Bell, queues: Sequence[str], timeout: float) -> None:
        """Until `bell` rings, at most `timeout` seconds."""
        loop = asyncio.get_running_loop()
        since_failure = loop.time() - self._failed_at
        if since_failure < _RETRY:
            timeout = min(timeout, _RETRY - since_failure)
        else:
            await self._listen_to_hints()
            for queue in queues:
                self._listened.add(queue)
                for band, source, target in zip(
                    self._keys.bands, self._keys.lists(queue), self._keys.woken(queue), strict=True
                ):
                    if source not in self._blocked:
                        self._blocked[source] = loop.create_task(
                            self._block(Moved(queue, source, target, band[1])),
                            name=f"umbel-redis-wait-{queue}",
                        )
        over = loop.call_later(timeout, bell.set)  # asyncio.timeout would cost a tenth of an idle pick-up
        try:
            await bell.wait()
        finally:
            over.cancel()

    async def close(self) -> None:
        """Let go of every connection, and of what they may just have moved."""
        tasks = list(self._blocked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        wires, self._wires = list(self._wires.values()), {}
        for wire in wires:
            wire.close()
            await wire.closed
        if self._listened:
            with contextlib.suppress(
                UmbelError
            ):  # out of reach: the next reserve of any node serves what was moved
                await self._server.run(UNWAKE, *self._keys.header, *self._listened)

    def _ring(self, queue: str | None, moved: Moved | None = None) -> bool:
        """Whether anybody waits for `queue` (None: any)."""
        heard = False
        for bell, queues in self._bells.items():
            if queue is None or queue in queues:
                bell.ring(moved)
                heard = True
        return heard

    async def _listen_to_hints(self) -> None:
        if self._hinted:
            return
        with contextlib.suppress(OperationalError):  # hints only; the caller asks again every few seconds
            await self._subscriptions.add([self._keys.hints], self._hint)
            self._hinted = True

    def _hint(self, _channel: str, payload: bytes | None) -> None:
        self._ring(payload.decode("utf-8", "replace") if payload is not None else None)

    async def _block(self, moved: Moved) -> None:
        queue, source = moved.queue, moved.source
        try:
            while True:
                answer = await (await self._wire(source)).call(*self._command(source, moved.target))
                if isinstance(answer, Refusal):
                    raise answer
                if answer is not None:
                    faults.point("redis.moved")
                    break
                if not any(queue in queues for queues in self._bells.values()):
                    return
        except (Lost, Refusal):
            self._fail(source)
            return
        finally:
            del self._blocked[source]
        if not self._ring(queue, moved):
            with contextlib.suppress(UmbelError):  # out of reach: the next reserve of any node serves it
                await self._server.run(UNWAKE, *self._keys.header, queue)

    def _fail(self, source: str) -> None:
        """The first failure in a while wakes everybody, who then learn from their own call whether the server is gone."""
        wire = self._wires.pop(source, None)
        if wire is not None:
            wire.close()
        now = asyncio.get_running_loop().time()
        if now - self._failed_at >= _RETRY:
            self._failed_at = now
            self._ring(None)

    def _command(self, source: str, target: str) -> tuple[str | int, ...]:
        if self._server.version >= (6, 2):
            return "BLMOVE", source, target, "RIGHT", "LEFT", _BLOCK
        return "BRPOPLPUSH", source, target, _BLOCK

    async def _wire(self, source: str) -> Wire:
        wire = self._wires.get(source)
        if wire is None or not wire.alive:
            options = self._server.options
            wire = await Wire.open(self._server.address, options, timeout=_BLOCK + options.socket_timeout)
            self._wires[source] = wire
        return wire
