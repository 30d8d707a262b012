"""Supervisor and node talk over one Unix socket of whole messages, which also carries the children's sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Iterable
from typing import Literal

import msgspec

from umbel.ports import NodeHealth

MAX_MESSAGE = 1 << 16


class NewChild(msgspec.Struct, array_like=True, tag=0):
    """supervisor -> node: a child has been forked; its socket and the two ends of its token pipe come along."""

    index: int
    pid: int
    slots: int


class ChildDied(msgspec.Struct, array_like=True, tag=1):
    """supervisor -> node: how a child ended, for people."""

    pid: int
    how: str


class Stop(msgspec.Struct, array_like=True, tag=2):
    """supervisor -> node: shut down."""

    mode: Literal["warm", "cold"]


class Beat(msgspec.Struct, array_like=True, tag=3):
    """node -> supervisor: how it is, every second."""

    health: NodeHealth
    running: int
    """Calls that children work on."""
    held: int
    """Messages under lease, those in the buffer included."""


class Killing(msgspec.Struct, array_like=True, tag=4):
    """node -> supervisor: it is about to kill this child, and nobody else is."""

    pid: int


class Resize(msgspec.Struct, array_like=True, tag=5):
    """node -> supervisor: so many children there shall be. Those of higher numbers are let go by the node."""

    children: int


Message = NewChild | ChildDied | Stop | Beat | Killing | Resize

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def make_link() -> tuple[socket.socket, socket.socket]:
    """Both ends of a link: the supervisor's and the node's. Neither waits for the other."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def send(sock: socket.socket, message: Message, fds: list[int] | None = None) -> bool:
    """Send `message` and descriptors. False: the other side has gone. Raises BlockingIOError when it does not read."""
    try:
        if fds:
            socket.send_fds(sock, [_encoder.encode(message)], fds)
        else:
            sock.send(_encoder.encode(message))
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


_LATER = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS})
"""The other side has to read first. The last is of descriptors, of which only so many may be on their way."""


class Outbox:
    """What the other side is told, in order and at its own pace: nothing is lost, and nobody waits."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting: deque[tuple[Message, list[int]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message, fds: Iterable[int] = ()) -> None:
        """Send `message` now or later. The descriptors are closed here when they are on their way."""
        self._waiting.append((message, list(fds)))
        self.flush()

    def flush(self) -> None:
        """Send what can be sent."""
        while self._waiting:
            message, fds = self._waiting[0]
            try:
                send(self._sock, message, fds)
            except OSError as exc:
                if exc.errno in _LATER:
                    return
                raise
            self._drop()

    def close(self) -> None:
        """Nobody will read the rest."""
        while self._waiting:
            self._drop()

    def _drop(self) -> None:
        _message, fds = self._waiting.popleft()
        for fd in fds:
            os.close(fd)


def receive(sock: socket.socket) -> tuple[Message | None, list[int]]:
    """The next message and its descriptors; None: the other side has gone. Raises BlockingIOError when there is none."""
    try:
        data, fds, _flags, _address = socket.recv_fds(sock, MAX_MESSAGE, 3)
    except ConnectionResetError:
        return None, []
    if not data:
        return None, []
    message: Message = _decoder.decode(data)
    return message, fds
