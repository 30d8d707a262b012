"""One connection that listens to many channels, for as long as anybody wants to hear them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from umbel.backends.redis.server import Server
from umbel.backends.redis.wire import Lost, Refusal, Wire
from umbel.errors import UmbelError

__all__ = ["Listener", "Subscriptions"]

Listener = Callable[[str, bytes | None], None]
"""Called with a channel and a message; with None when messages may have been missed."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


def _commands(command: str, names: Collection[str]) -> list[tuple[str, list[str]]]:
    """Channels by name, and patterns, which end with a star, apart."""
    patterns = [name for name in names if name.endswith("*")]
    plain = [name for name in names if not name.endswith("*")]
    return [(c, n) for c, n in ((command, plain), (f"P{command}", patterns)) if n]


class Subscriptions:
    """Channels of one server; a name that ends with a star is a pattern. Reconnects by itself, and tells every listener that there was a gap."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listeners: dict[str, list[Listener]] = {}
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._wire: Wire | None = None
        self._lock = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def add(self, channels: Collection[str], listener: Listener) -> None:
        """Listen; when this returns, nothing published from then on is missed. Raises what ``Server`` raises."""
        for channel in channels:
            self._listeners.setdefault(channel, []).append(listener)
        try:
            await self._subscribe(channels)
        except BaseException:
            self.remove(channels, listener)
            raise

    def remove(self, channels: Collection[str], listener: Listener) -> None:
        """Listen no longer."""
        silent = []
        for channel in channels:
            listeners = self._listeners.get(channel, [])
            if listener in listeners:
                listeners.remove(listener)
                if not listeners:
                    del self._listeners[channel]
                    self._awaited.pop(channel, None)
                    silent.append(channel)
        if silent and self._wire is not None and self._wire.alive:
            for command, names in _commands("UNSUBSCRIBE", silent):
                self._wire.post(command, *names)

    async def close(self) -> None:
        """Let go of the connection and of all listeners."""
        self._listeners.clear()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
            await wire.closed

    async def _subscribe(self, channels: Collection[str]) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with self._lock:
                if self._wire is None or not self._wire.alive:
                    self._awaited.clear()
                    self._wire = await Wire.open(
                        self._server.address, self._server.options, on_push=self._heard
                    )
                    channels = list(self._listeners)
                fresh = [channel for channel in channels if channel not in self._awaited]
                for channel in fresh:
                    self._awaited[channel] = loop.create_future()
                for command, names in _commands("SUBSCRIBE", fresh):
                    self._wire.post(command, *names)
            if self._keeper is None:
                self._keeper = loop.create_task(self._keep(), name="umbel-redis-subscriptions")
            await self._confirmed(
                [self._awaited[channel] for channel in channels if channel in self._awaited]
            )
        except (Lost, Refusal) as exc:
            raise self._server.error(exc) from exc

    async def _confirmed(self, awaited: Collection[asyncio.Future[None]]) -> None:
        wire = self._wire
        assert wire is not None
        pending = {future for future in awaited if not future.done()}
        if not pending:
            return
        timeout = self._server.options.socket_timeout
        # The futures are shared: `wait` leaves them be when one caller is cancelled.
        while wire.alive and (pending := {future for future in pending if not future.done()}):
            done, _ = await asyncio.wait(
                {*pending, wire.closed}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                wire.close(f"no answer within {timeout:g} s")
        if not wire.alive:
            raise Lost("the connection was lost while subscribing")

    def _heard(self, push: Any) -> None:
        if not isinstance(push, list) or len(push) < 3:
            return
        kind, channel = push[0], push[1].decode() if isinstance(push[1], bytes) else ""
        if kind in (b"message", b"pmessage"):
            for listener in tuple(self._listeners.get(channel, ())):
                listener(channel, push[-1])
        elif kind in (b"subscribe", b"psubscribe"):
            future = self._awaited.get(channel)
            if future is not None and not future.done():
                future.set_result(None)

    async def _keep(self) -> None:
        """Reconnect whenever the connection is lost, and tell the listeners that they may have missed something."""
        while True:
            assert self._wire is not None
            await asyncio.shield(self._wire.closed)
            pause = _FIRST_PAUSE
            while self._listeners and not self._wire.alive:
                try:
                    await self._subscribe(list(self._listeners))
                except UmbelError:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
            if not self._wire.alive:  # nobody listens; the next one opens a connection and another keeper
                self._keeper = None
                return
            for channel, listeners in list(self._listeners.items()):
                for listener in tuple(listeners):
                    listener(channel, None)
