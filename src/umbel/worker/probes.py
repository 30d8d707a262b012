"""The HTTP side of health: ``/live`` and ``/ready``, answered by the supervisor between two looks at its processes.

No thread and no event loop: the supervisor stays a clean template to fork from. Whatever a client does, it costs a bounded
number of connections, bytes and seconds, and never makes the supervisor wait.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

from umbel.errors import ConfigurationError

__all__ = ["Answer", "Probes", "listen"]

Answer = tuple[HTTPStatus, dict[str, Any]]

MOST_CONNECTIONS = 16
"""Beyond that the one that has been open for longest is closed."""
MOST_BYTES = 8192
DEADLINE = 5.0
"""Seconds that a client may take to ask."""
_REST = 1.0
"""Seconds without new connections after the system has refused one."""


def listen(address: str) -> socket.socket:
    """A socket that listens on ``port``, ``host:port`` or ``[v6]:port``; without a host, on 127.0.0.1.

    Raises ConfigurationError for what is no address, and for one that cannot be had.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise ConfigurationError(
            f"{address!r} is no address for health checks. Expected PORT, HOST:PORT or [IPv6]:PORT, as 127.0.0.1:8080."
        )
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind)
    except OSError as exc:
        raise ConfigurationError(f"No health checks on {address}: {exc.strerror or exc}.") from exc
    try:
        sock.setblocking(False)
        # Connections of a worker that has just ended must not keep the port from the next one.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
        sock.listen(MOST_CONNECTIONS)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            why = "something else listens there, another worker perhaps. Give each a port of its own (0: any that is free)"
        else:
            why = exc.strerror or str(exc)
        raise ConfigurationError(f"No health checks on {address}: {why}.") from exc
    return sock


class _Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.said = bytearray()
        self.until = time.monotonic() + DEADLINE


class Probes:
    """Answers on a listening socket. ``answer(path)`` says what; None: there is no such page."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._answer: Callable[[str], Answer | None] = lambda path: None
        self._selector: selectors.BaseSelector | None = None
        self._clients: dict[int, _Client] = {}
        self._resting_until = 0.0
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def join(self, selector: selectors.BaseSelector, answer: Callable[[str], Answer | None]) -> None:
        """Be called by whoever runs `selector`: the data of our keys are functions without arguments."""
        self._selector, self._answer = selector, answer
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Let go of everything. In a forked process: of its copies, so that they keep nothing open."""
        self._listener.close()
        for client in self._clients.values():
            client.sock.close()
        self._clients.clear()

    def timeout(self) -> float | None:
        """Seconds until ``expire`` has something to do; None: nothing is open."""
        moments = [client.until for client in self._clients.values()]
        if self._resting_until:
            moments.append(self._resting_until)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def expire(self) -> None:
        """Close what has taken too long."""
        now = time.monotonic()
        for client in list(self._clients.values()):
            if client.until <= now:
                self._drop(client)
        if self._resting_until and self._resting_until <= now:
            self._resting_until = 0.0
            assert self._selector is not None
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        assert self._selector is not None
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except (
            OSError
        ):  # no descriptors left: asking again at once would keep the supervisor from everything else
            self._selector.unregister(self._listener)
            self._resting_until = time.monotonic() + _REST
            return
        sock.setblocking(False)
        if len(self._clients) >= MOST_CONNECTIONS:
            self._drop(min(self._clients.values(), key=lambda client: client.until))
        client = self._clients[sock.fileno()] = _Client(sock)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._read(client))

    def _read(self, client: _Client) -> None:
        if client.sock.fileno() not in self._clients:
            return  # dropped a moment ago, in the same round
        try:
            data = client.sock.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.said += data
        if not data:
            self._drop(client)
        elif b"\r\n\r\n" in client.said or b"\n\n" in client.said:
            self._reply(client, *self._respond(client.said))
        elif len(client.said) >= MOST_BYTES:
            error = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._reply(client, error, {"error": error.phrase})

    def _respond(self, said: bytearray) -> Answer:
        words = bytes(said).split(b"\n", 1)[0].split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/"):
            return HTTPStatus.BAD_REQUEST, {"error": "this is not HTTP"}
        if words[0] not in (b"GET", b"HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "use GET"}
        found = self._answer(words[1].partition(b"?")[0].decode("latin-1"))
        return found or (HTTPStatus.NOT_FOUND, {"error": "there are /live and /ready"})

    def _reply(self, client: _Client, status: HTTPStatus, body: dict[str, Any]) -> None:
        content = msgspec.json.encode(body) + b"\n"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        try:
            # A few hundred bytes always fit into the buffer of a new connection.
            client.sock.send(head.encode() + (b"" if client.said.startswith(b"HEAD") else content))
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the client has gone
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        assert self._selector is not None
        self._selector.unregister(client.sock)
        del self._clients[client.sock.fileno()]
        client.sock.close()
