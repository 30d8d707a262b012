"""The fault proxy itself, between a plain socket and a server that echoes."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from chaos.proxy import FaultProxy
from worker.harness import eventually

PATIENCE = 10.0


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections are reset here on purpose."""


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with FaultProxy(server.server_address[1]) as made:
                yield made
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connect(proxy) as sock:
        echo(sock)
        yield sock


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)


def echo(sock: socket.socket, data: bytes = b"hello") -> None:
    sock.sendall(data)
    assert read(sock, len(data)) == data


def read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def test_it_passes_everything_on(client: socket.socket) -> None:
    echo(client, b"x" * 1_000_000)


def test_a_cut_connection_is_reset_and_the_next_one_works(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connect(proxy) as another:
        echo(another)
    assert proxy.accepted == 2


def test_refused_until_it_is_healed(proxy: FaultProxy, client: socket.socket) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.heal()
    assert proxy.port == port
    with connect(proxy) as another:
        echo(another)


@pytest.mark.parametrize("direction", ["requests", "answers"])
def test_what_is_swallowed_never_comes(proxy: FaultProxy, client: socket.socket, direction: str) -> None:
    proxy.swallow(direction)  # type: ignore[arg-type]
    client.sendall(b"lost")
    eventually(lambda: proxy.swallowed == 4)
    proxy.heal()
    # It has lost bytes: what follows them is swallowed too.
    client.sendall(b"lost")
    eventually(lambda: proxy.swallowed == 8)
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with connect(proxy) as another:
        echo(another)


def test_latency(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.delay(0.1)
    begun = time.monotonic()
    echo(client)
    assert time.monotonic() - begun >= 0.2  # there and back
    proxy.heal()


def test_one_byte_at_a_time(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.trickle(0.001)
    begun = time.monotonic()
    echo(client, bytes(range(100)))
    assert time.monotonic() - begun >= 0.1


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with FaultProxy(1) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as sock:
        sock.recv(1)
