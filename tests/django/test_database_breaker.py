"""What cuts a connection that hangs keeps nothing of it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from umbel.contrib.django.database.breaker import Breaker, breaker
from umbel.testing.conformance.harness import in_forked_child


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    near, far = socket.socketpair()
    with near, far:
        yield near


def copies(sock: socket.socket) -> int:
    """How many descriptors of this process are that socket."""
    me = os.fstat(sock.fileno())
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.path.samestat(os.stat(f"/proc/self/fd/{name}"), me)
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def test_nothing_is_left_where_its_thread_cannot_start(sock: socket.socket) -> None:
    made = Breaker()
    usual = threading.stack_size(1 << 46)  # more than there are addresses
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"), made.within(60, sock.fileno()):
            pass
    finally:
        threading.stack_size(usual)
    assert copies(sock) == 1
    with made.within(0.1, sock.fileno()) as statement:
        assert sock.recv(1) == b"", "it was cut: the thread is tried again"
    assert statement.cut


def test_a_child_of_a_fork_does_not_hold_the_connections_of_its_parent_open(sock: socket.socket) -> None:
    under_way, done = threading.Event(), threading.Event()

    def ask() -> None:
        with breaker.within(60, sock.fileno()):
            under_way.set()
            done.wait(30)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert under_way.wait(30)
        assert copies(sock) == 2
        assert in_forked_child(lambda: bytes([copies(sock)])) == b"\x01"
    finally:
        done.set()
        thread.join()
    assert copies(sock) == 1
