"""Supervisor and node talk over one Unix socket of whole messages, which also carries the children's sockets."""

from __future__ import annotations

import socket
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


Message = NewChild | ChildDied | Stop | Beat

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
