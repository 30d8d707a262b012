"""Connections that speak Redis' protocol, for a loop and for a thread, on hiredis' parser.

redis-py is not used: on one machine in one run, a call over its asynchronous connection took 57-97 µs and over this one
30-44 µs, importing it takes longer than importing the rest of Umbel, and many callers share one connection here,
their calls pipelined, where there each needs one of its own.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

from umbel.backends.redis.address import Address
from umbel.backends.redis.options import Options

__all__ = ["Arg", "Command", "Lost", "Refusal", "SyncWire", "Wire", "find_master", "pack_one"]

Arg = bytes | str | int | float
Command = Sequence[Arg]
Refusal = hiredis.ReplyError
"""An answer that is an error; it is returned by calls, not raised."""

_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


_CLOSE_ENOUGH = 0.02
"""Seconds by which a socket's timeout may miss what is left of a deadline: setting it is a system call."""


class Lost(Exception):
    """The connection is gone, was not to be had, or gave no answer in time."""

    def __init__(self, reason: str, *, in_doubt: bool = False) -> None:
        super().__init__(reason)
        self.in_doubt = in_doubt
        """A whole request had been sent: the server may have carried it out."""


# Its type stub says a tuple of one.
pack_one: Callable[[tuple[Arg, ...]], bytes] = cast(Any, hiredis.pack_command)


def pack(commands: Sequence[Command]) -> bytes:
    if len(commands) == 1:
        return pack_one(tuple(commands[0]))
    return b"".join([pack_one(tuple(command)) for command in commands])


def greeting(address: Address) -> list[Command]:
    """What a new connection says first."""
    commands: list[Command] = []
    if address.password is not None:
        user = (address.username,) if address.username else ()
        commands.append(("AUTH", *user, address.password))
    if address.db:
        commands.append(("SELECT", address.db))
    return commands or [("PING",)]


def tune(sock: socket.socket, options: Options) -> None:
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.socket_keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # the names differ between systems; without them, their defaults hold
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Wire(asyncio.Protocol):
    """One connection in a loop. Calls are pipelined in the order in which they are made.

    With `on_push` the connection subscribes: whatever comes that is not awaited by a call goes there.
    """

    def __init__(self, timeout: float, on_push: Callable[[Any], None] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.timeout = timeout
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self._on_push = on_push
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._progress = 0.0
        self._watchdog: asyncio.TimerHandle | None = None
        self._reason = "the server closed the connection"

    @property
    def alive(self) -> bool:
        """Whether calls can be made, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    def call(self, *command: Arg) -> asyncio.Future[Any]:
        """Send a command; the future gives the answer, which may be a Refusal, or raises Lost."""
        return self.send(pack_one(command), 1)[0]

    def send(self, packed: bytes, answers: int) -> list[asyncio.Future[Any]]:
        """Send packed commands that have so many answers."""
        if self._transport is None or self._transport.is_closing():
            raise Lost(self._reason)
        if not self._pending:
            self._progress = self.loop.time()
            if self._watchdog is None:
                self._watchdog = self.loop.call_later(self.timeout, self._watch)
        futures = [self.loop.create_future() for _ in range(answers)]
        self._pending.extend(futures)
        self._transport.write(packed)
        return futures

    def post(self, *command: Arg) -> None:
        """Send a command whose answers come as pushes."""
        if self._transport is None or self._transport.is_closing():
            raise Lost(self._reason)
        self._transport.write(pack_one(command))

    def close(self, reason: str = "the connection was closed here") -> None:
        """Let go of the connection; calls without an answer raise Lost. Await ``closed`` for the end."""
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reader, pending = self._reader, self._pending
        reader.feed(data)
        self._progress = self.loop.time()
        try:
            while (answer := reader.gets()) is not False:
                if self._on_push is not None and not pending:
                    self._on_push(answer)
                elif pending:
                    future = pending.popleft()
                    if not future.done():
                        future.set_result(answer)
        except hiredis.ProtocolError as exc:
            self.close(f"the answer is not Redis' protocol ({exc})")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        reason = f"{self._reason} ({exc})" if exc else self._reason
        pending, self._pending = self._pending, deque()
        for future in pending:
            if not future.done():
                future.set_exception(Lost(reason, in_doubt=True))
                future.exception()  # whoever awaits it is told; if nobody does any more, that is no error
        if not self.closed.done():
            self.closed.set_result(None)

    def _watch(self) -> None:
        self._watchdog = None
        if not self._pending:
            return
        left = self._progress + self.timeout - self.loop.time()
        if left <= 0:
            self.close(f"no answer within {self.timeout:g} s")
        else:
            self._watchdog = self.loop.call_later(left, self._watch)

    # -- opening

    @classmethod
    async def open(
        cls,
        address: Address,
        options: Options,
        *,
        timeout: float | None = None,
        on_push: Callable[[Any], None] | None = None,
    ) -> Wire:
        """A connection that has logged in. Raises Lost, and Refusal when the server refuses the login."""
        loop = asyncio.get_running_loop()
        until = time.monotonic() + options.socket_connect_timeout

        def factory() -> Wire:
            return cls(timeout or options.socket_timeout, on_push)

        try:
            async with asyncio.timeout(options.socket_connect_timeout):
                if address.sentinel:
                    address = await asyncio.to_thread(find_master, address, options, until)
                if address.path is not None:
                    _, wire = await loop.create_unix_connection(factory, address.path)
                else:
                    (host, port), tls = address.hosts[0], address.tls
                    _, wire = await loop.create_connection(
                        factory,
                        host,
                        port,
                        ssl=tls.context() if tls else None,
                        server_hostname=host if tls else None,
                    )
                    assert wire._transport is not None
                    tune(wire._transport.get_extra_info("socket"), options)
                try:
                    await wire._greet(address)
                except BaseException:
                    wire.close()
                    raise
        except TimeoutError:
            raise Lost(f"no connection within {options.socket_connect_timeout:g} s") from None
        except OSError as exc:  # ssl.SSLError is one too
            raise Lost(_explain(exc)) from exc
        return wire

    async def _greet(self, address: Address) -> None:
        commands = greeting(address)
        for future in self.send(pack(commands), len(commands)):
            answer = await future
            if isinstance(answer, Refusal):
                raise answer


class SyncWire:
    """One connection in a thread. Not to be used by two threads at once, nor in a forked child."""

    def __init__(self, address: Address, options: Options, until: float | None = None) -> None:
        """Connects and logs in, before `until` by ``time.monotonic()``. Raises Lost, and Refusal when the server refuses
        the login."""
        latest = time.monotonic() + options.socket_connect_timeout
        latest = latest if until is None else min(latest, until)
        if address.sentinel:
            address = find_master(address, options, latest)
        self._reader = hiredis.Reader()
        self._patience = self._timeout = options.socket_timeout
        self._sock = self._connect(address, options, max(latest - time.monotonic(), 0.001))
        try:
            self._sock.settimeout(self._timeout)
            self.limit(latest)
            for answer in self.calls(greeting(address)):
                if isinstance(answer, Refusal):
                    raise answer
        except Lost as exc:
            self.close()
            raise Lost(str(exc)) from exc  # a greeting that was heard does nothing
        except BaseException:
            self.close()
            raise
        self.limit(until)

    @staticmethod
    def _connect(address: Address, options: Options, timeout: float) -> socket.socket:
        try:
            if address.path is not None:
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(timeout)
                try:
                    sock.connect(address.path)
                except OSError:
                    sock.close()
                    raise
                return sock
            sock = socket.create_connection(address.hosts[0], timeout)
            try:
                tune(sock, options)
                if address.tls:
                    return address.tls.context().wrap_socket(sock, server_hostname=address.hosts[0][0])
            except BaseException:
                sock.close()
                raise
            return sock
        except OSError as exc:
            raise Lost(_explain(exc)) from exc

    @property
    def spent(self) -> bool:
        """It has been closed."""
        return self._sock.fileno() < 0

    def call(self, *command: Arg) -> Any:
        """Send a command and return its answer, which may be a Refusal. Raises Lost."""
        self.post(pack_one(command))
        return self.read()

    def calls(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one go and return their answers. Raises Lost."""
        self.post(pack(commands))
        return [self.read() for _ in commands]

    def limit(self, until: float | None) -> None:
        """From now on wait no longer than `until`, by ``time.monotonic()``; None: the usual time for each answer."""
        self._until = until
        if until is None and self._timeout != self._patience:
            self.settimeout(self._patience)

    def _heed_limit(self) -> None:
        if self._until is not None:
            left = min(self._patience, max(self._until - time.monotonic(), 0.001))
            if abs(left - self._timeout) > min(_CLOSE_ENOUGH, left):
                self.settimeout(left)

    def post(self, packed: bytes) -> None:
        """Send packed commands. Raises Lost; then the last of them is not whole, and none of one batch is carried out."""
        self._heed_limit()
        try:
            self._sock.sendall(packed)
        except OSError as exc:
            raise Lost(_explain(exc)) from exc

    def read(self, deadline: float | None = None) -> Any:
        """The next answer. `deadline`: by ``time.monotonic()``; TimeoutError when it passes, and Lost without one."""
        reader = self._reader
        try:
            while (answer := reader.gets()) is False:
                if deadline is not None:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise TimeoutError
                    self._sock.settimeout(left)
                else:
                    self._heed_limit()
                data = self._sock.recv(65536)
                if not data:
                    raise Lost("the server closed the connection", in_doubt=True)
                reader.feed(data)
        except TimeoutError:
            if deadline is None:
                raise Lost(f"no answer within {self._timeout:.3g} s", in_doubt=True) from None
            raise
        except (OSError, hiredis.ProtocolError) as exc:
            raise Lost(_explain(exc), in_doubt=True) from exc
        return answer

    def settimeout(self, timeout: float | None) -> None:
        """How long a read waits for an answer."""
        self._sock.settimeout(timeout)
        self._timeout = float("inf") if timeout is None else timeout

    def idle(self) -> bool:
        """Whether the connection is open and silent: one that has something to say between calls is not usable."""
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Let go of the connection."""
        self._sock.close()


_answered: dict[tuple[tuple[str, int], ...], tuple[str, int]] = {}
"""Of several sentinels the one that answered last: it is asked first. One whose machine is gone costs its share of the time."""


def find_master(address: Address, options: Options, until: float) -> Address:
    """Ask the sentinels, one after the other, where the master is. Raises Lost when none has said it `until` then.

    What is left of the time is shared by those that are still to be asked, and the master: one that does not answer must not
    keep us from asking the others.
    """
    if not options.master_name:
        raise Lost("sentinel:// needs the transport option master_name")
    login = options.sentinel_kwargs
    said: list[str] = []
    best = _answered.get(address.hosts)
    hosts = sorted(address.hosts, key=lambda host: host != best)
    for asked, (host, port) in enumerate(hosts):
        now = time.monotonic()
        share = now + max(until - now, 0) / (len(hosts) - asked + 1)
        sentinel = Address(
            url=address.url,
            hosts=((host, port),),
            username=login.get("username"),
            password=login.get("password"),
            tls=address.tls if login.get("ssl") else None,
        )
        try:
            wire = SyncWire(sentinel, options, share)
        except (Lost, Refusal) as exc:
            said.append(f"{host}:{port}: {exc}")
            continue
        try:
            answer = wire.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.master_name)
        except Lost as exc:
            said.append(f"{host}:{port}: {exc}")
            continue
        finally:
            wire.close()
        if isinstance(answer, list) and len(answer) == 2:
            _answered[address.hosts] = (host, port)
            where = (answer[0].decode(), int(answer[1]))
            return Address(
                url=address.url,
                hosts=(where,),
                db=address.db,
                username=address.username,
                password=address.password,
                tls=address.tls,
            )
        said.append(f"{host}:{port}: {answer if isinstance(answer, Refusal) else 'does not know it'}")
    raise Lost(f"no sentinel knows the master {options.master_name!r}: {'; '.join(said)}")


def _explain(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
