"""A TCP proxy that breaks on demand: it stands between a worker (or a client) and its broker.

It runs on a thread of its own. What is broken stays so until ``heal``; each method returns when it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal

Direction = Literal["requests", "answers"]
"""From whoever connects to the server, and back."""
BOTH: tuple[Direction, ...] = ("requests", "answers")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Weather:
    """What happens to bytes now."""

    swallow: frozenset[Direction] = frozenset()
    latency: float = 0.0
    """Seconds that each piece waits before it goes on."""
    trickle: float | None = None
    """Not None: one byte at a time, with so many seconds between them."""


@dataclass(eq=False)
class _Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    deaf: set[Direction] = field(default_factory=set)
    """It has lost bytes in these directions. What came after them would make no sense, so nothing does any more."""


class FaultProxy:
    """Listens on ``port`` and passes on to ``target``. A context manager."""

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        self._host = host
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._weather = Weather()
        self.port = 0
        self.accepted = 0
        """Connections so far."""
        self.swallowed = 0
        """Bytes so far."""

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def open_links(self) -> int:
        """Connections now."""
        return len(self._links)

    # -- faults

    def heal(self) -> None:
        """Pass everything on again. A connection that has lost bytes stays dead: whoever has it must notice by itself."""
        self._weather = Weather()
        if self._listener is None:
            self._do(self._listen)

    def cut(self) -> None:
        """Reset every connection. New ones are welcome."""
        self._do(self._cut)

    def refuse(self) -> None:
        """Reset every connection, and refuse new ones."""
        self._do(self._close_listener)
        self.cut()

    def swallow(self, *directions: Direction) -> None:
        """Half-open: connections stay and are accepted, and what comes in these directions (none: both) vanishes."""
        self._weather = replace(self._weather, swallow=frozenset(directions or BOTH))

    def delay(self, seconds: float) -> None:
        """Let each piece wait, in both directions."""
        self._weather = replace(self._weather, latency=seconds)

    def trickle(self, pause: float) -> None:
        """One byte at a time."""
        self._weather = replace(self._weather, trickle=pause)

    # -- on the thread

    def _do(self, work: Callable[[], object]) -> None:
        async def done() -> None:
            answer = work()
            if asyncio.iscoroutine(answer):
                await answer

        asyncio.run_coroutine_threadsafe(done(), self._loop).result()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _cut(self) -> None:
        for link in list(self._links):
            for writer in (link.client, link.server):
                _reset(writer)

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        try:
            server_reader, server = await asyncio.open_connection(self._host, self._target_port)
        except OSError:
            _reset(writer)
            return
        link = _Link(writer, server)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(link, "requests", reader, server))
                group.create_task(self._pump(link, "answers", server_reader, writer))
        except* OSError:
            pass  # one side has gone
        finally:
            self._links.discard(link)
            for end in (writer, server):
                _reset(end)

    async def _pump(
        self, link: _Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(1 << 16):
            if direction in link.deaf or direction in self._weather.swallow:
                link.deaf.add(direction)
                self.swallowed += len(data)
            elif self._weather.trickle is not None:
                await self._trickle(data, writer)
            else:
                if self._weather.latency:
                    await asyncio.sleep(self._weather.latency)
                writer.write(data)
                await writer.drain()
        raise ConnectionResetError("one side has closed the connection")

    async def _trickle(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        for at in range(len(data)):
            if (pause := self._weather.trickle) is None:
                writer.write(data[at:])
                break
            writer.write(data[at : at + 1])
            await asyncio.sleep(pause)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a router does that has forgotten the connection."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
