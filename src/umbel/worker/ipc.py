"""What node and children say to one another, and how: msgpack frames over a socketpair, tokens over a pipe.

A child may be handed several calls at once, so that tiny tasks travel by the hundred. Every call that is handed
over puts one byte, a *token*, into a pipe; before the child begins a call it must read one. The node can read
them too: whatever number of tokens it gets is the number of calls, counted from the last, that the child has not
begun and cannot begin any more. So work is taken back from a child that is busy with something long, without
asking it, and when a child dies the tokens that are left say how many of its calls had not begun.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from umbel.core.frame import Frame
from umbel.ports import Outgoing

LENGTH = struct.Struct("<I")
_libc = ctypes.PyDLL(None)
"""Its functions keep the interpreter to themselves: only for what never waits."""
_UNSENT = 100
"""When so many reports wait for the thread that sends, the others wait for it too."""


# ------------------------------------------------------------------------------------------- node -> child

# A frame is a list of calls to run, or the number of a call to cancel.


class Handed(msgspec.Struct, array_like=True, gc=False):
    """A call for a child to run. `seq` names it on this connection."""

    seq: int
    frame: Frame
    deliveries: int
    """How often the call has been delivered, this time included."""
    report_begin: bool = False
    """Say when it begins: somebody times it or shows it as STARTED."""
    queue: str = ""
    """The queue that it came from."""


# ------------------------------------------------------------------------------------------- child -> node


class Done(msgspec.Struct, array_like=True, tag=0, gc=False):
    """A call has ended, and how: everything that had to be encoded is encoded."""

    seq: int
    ending: str
    runtime: float = 0.0
    settle: str = "ack"
    state: str = ""
    payload: bytes | None = None
    ttl: float | None = None
    then: list[Outgoing] = []
    replacement: Outgoing | None = None
    counted: bool = False
    reason: str = ""
    """Why it is buried, parked, retried or failed: one line for people."""
    summary: str = ""
    """The result's repr, when somebody logs it."""
    traceback: str = ""
    name: str = ""
    task_id: str = ""
    records: list[tuple[str, str, bytes, float | None]] = []
    """Of calls that will not be made, because this one has failed: id, state, payload, ttl."""
    joined: str = ""
    """The join that it has completed."""


class Begun(msgspec.Struct, array_like=True, tag=1, gc=False):
    """A call begins now. With `payload`: record it as STARTED."""

    seq: int
    payload: bytes | None = None
    ttl: float | None = None
    hard: float | None = None
    """Hard limit in seconds, as task and message give it."""


class Progress(msgspec.Struct, array_like=True, tag=2, gc=False):
    """A state that the task set for itself (``update_state``)."""

    seq: int
    task_id: str
    state: str
    payload: bytes
    ttl: float | None = None


class Dropped(msgspec.Struct, array_like=True, tag=3, gc=False):
    """A call that the child found taken back."""

    seq: int


class Ready(msgspec.Struct, array_like=True, tag=4, gc=False):
    """The child has started."""

    pid: int


Report = Done | Begun | Progress | Dropped | Ready


class Unreadable(msgspec.Struct, gc=False):
    """What the node makes of a report that it cannot decode."""

    seq: int
    """0: not even that can be read."""
    done: bool
    """It was to end the call."""
    why: str


Heard = Report | Unreadable


class _Head(msgspec.Struct, array_like=True, gc=False):
    """How every report begins."""

    tag: int
    seq: int


_BIG_INTEGER = 1
"""The extension type of msgpack under which an integer of more than 64 bits travels: its digits, in hexadecimal."""


def _extension(code: int, data: memoryview) -> int:
    if code != _BIG_INTEGER:
        raise ValueError(f"Frames between node and child have no extension {code}.")
    return int(bytes(data), 16)


_encoder = msgspec.msgpack.Encoder()
_word_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw] | int)
_handed_decoder = msgspec.msgpack.Decoder(Handed, ext_hook=_extension)
_report_decoder = msgspec.msgpack.Decoder(Report, ext_hook=_extension)
_head_decoder = msgspec.msgpack.Decoder(_Head)


def encode(message: Any) -> bytes:
    """One frame: four bytes of length, then msgpack. Raises RecursionError for headers that are nested too deeply."""
    try:
        data = _encoder.encode(message)
    except (UnicodeEncodeError, OverflowError):
        # Half of a surrogate pair, as in the name of a file that is not UTF-8: shown as an escape from here on.
        # Or a header that is a larger integer than msgpack has.
        plain = msgspec.to_builtins(message, builtin_types=(bytes, bytearray, memoryview))
        data = _encoder.encode(writable(plain))
    return LENGTH.pack(len(data)) + data


def text(value: str) -> str:
    """`value` as UTF-8 can hold it."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def writable(value: Any) -> Any:
    r"""`value` with every text in it made fit for UTF-8, and every integer for msgpack.

    >>> writable(["caf\udce9"])
    ['caf\\udce9']
    """
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return msgspec.msgpack.Ext(_BIG_INTEGER, b"%x" % value)
    if isinstance(value, dict):
        return {writable(key): writable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [writable(item) for item in value]
    return value


class FrameBuffer:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Yield the payload of every frame that is complete after `data`. Views are valid until the next step."""
        buffer = self._data
        buffer += data
        start, size = 0, len(buffer)
        with memoryview(buffer) as view:
            while size - start >= 4:
                (length,) = LENGTH.unpack_from(buffer, start)
                end = start + 4 + length
                if end > size:
                    break
                with view[start + 4 : end] as payload:
                    yield payload
                start = end
        if start:
            del buffer[:start]


def decode_word(payload: memoryview) -> list[msgspec.Raw] | int:
    """What the node said: calls to run, each for ``decode_handed``, or the number of one to cancel."""
    said: list[msgspec.Raw] | int = _word_decoder.decode(bytes(payload))
    return said


def decode_handed(raw: msgspec.Raw) -> Handed:
    """One of the calls to run."""
    call: Handed = _handed_decoder.decode(raw)
    return call


def decode_report(payload: memoryview) -> Heard:
    """What a child said. Never raises: a bad report must not cost the connection, and with it all other calls."""
    try:
        report: Report = _report_decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        return _unreadable(payload, str(exc))
    return report


def _unreadable(payload: memoryview, why: str) -> Unreadable:
    try:
        head: _Head = _head_decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError):
        return Unreadable(0, done=False, why=why)
    return Unreadable(head.seq, done=head.tag == 0, why=why)


class ChildEnd:
    """The child's side of the connection: a blocking socket and the reading end of its tokens."""

    def __init__(self, sock: socket.socket, tokens: int) -> None:
        self.sock = sock
        self._tokens = tokens
        self._token = ctypes.create_string_buffer(1)
        self._frames = FrameBuffer()
        self._sending = threading.Lock()
        self._unsent: deque[bytes] = deque()
        self.cancelled: Callable[[int], None] = lambda seq: None
        """Called with the number of a call that the node wants to be cancelled."""

    def receive(self) -> Iterator[Handed] | None:
        """The next calls, each of them decoded when its turn comes; None when the node has closed the connection.

        Decoded all together, they would be out of the processor's cache again before they run.
        """
        calls: list[msgspec.Raw] = []
        while not calls:
            try:
                data = self.sock.recv(1 << 18)
            except (ConnectionResetError, BrokenPipeError):
                return None
            if not data:
                return None
            calls = self._heard(data)
        return map(decode_handed, calls)

    def feed(self, data: bytes) -> Iterator[Handed]:
        """The calls that `data` completes."""
        return map(decode_handed, self._heard(data))

    def _heard(self, data: bytes) -> list[msgspec.Raw]:
        calls: list[msgspec.Raw] = []
        for payload in self._frames.feed(data):
            said = decode_word(payload)
            if isinstance(said, int):
                self.cancelled(said)
            else:
                calls += said
        return calls

    def claim(self) -> bool:
        """Take one token: the right to begin the oldest call not yet begun. False: it was taken back."""
        try:
            return bool(os.read(self._tokens, 1))
        except BlockingIOError:
            return False

    def claim_among_threads(self) -> bool:
        """``claim`` without letting go of the interpreter: among a hundred threads, getting it back takes longer than a task."""
        return bool(_libc.read(self._tokens, self._token, 1) == 1)

    def report(self, report: Report) -> None:
        """Tell the node. Raises ConnectionError when it has gone.

        A thread that finds another one sending leaves its report to that: to wait would cost more than many reports.
        """
        unsent = self._unsent
        unsent.append(encode(report))
        while unsent and self._sending.acquire(blocking=len(unsent) > _UNSENT):
            try:
                self.sock.sendall(b"".join([unsent.popleft() for _ in range(len(unsent))]))
            finally:
                self._sending.release()

    def interject(self, report: Report) -> None:
        """``report`` while a task runs. Its soft limit may strike at any moment, but not in the middle of a frame."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        try:
            self.report(report)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """Close socket and pipe."""
        self.sock.close()
        with contextlib.suppress(OSError):
            os.close(self._tokens)


def make_ends() -> tuple[ChildEnd, tuple[socket.socket, int, int]]:
    """A connection: the child's end, and the node's (socket, tokens to read, tokens to write)."""
    node_sock, child_sock = socket.socketpair()
    for sock in (node_sock, child_sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    # The two readers share one file description, so non-blocking holds for both.
    return ChildEnd(child_sock, os.dup(read_end)), (node_sock, read_end, write_end)
