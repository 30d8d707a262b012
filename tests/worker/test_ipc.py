"""Frames and tokens between node and child, over real sockets and pipes."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.core.frame import Frame
from umbel.ports import Outgoing
from umbel.worker import link
from umbel.worker.ipc import (
    LENGTH,
    Begun,
    ChildEnd,
    Done,
    Dropped,
    FrameBuffer,
    Handed,
    Progress,
    Ready,
    decode_handed,
    decode_report,
    decode_word,
    encode,
    make_ends,
)

FRAME = Frame(b"\x00\xff body", "application/json", "utf-8", {"id": "1", "n": [1, None]}, {"priority": 3})


class NodeEnd:
    """The node's side, held by the test."""

    def __init__(self, ends: tuple[socket.socket, int, int]) -> None:
        self.sock, self.read_end, self.write_end = ends
        self.frames = FrameBuffer()

    def hand(self, *seqs: int) -> None:
        os.write(self.write_end, bytes(len(seqs)))
        self.sock.sendall(encode([Handed(seq, FRAME, 1) for seq in seqs]))

    def take_back(self) -> int:
        try:
            return len(os.read(self.read_end, 1 << 16))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self.sock.close()
        os.close(self.read_end)
        os.close(self.write_end)


@pytest.fixture
def ends() -> Iterator[tuple[ChildEnd, NodeEnd]]:
    child, node_ends = make_ends()
    node = NodeEnd(node_ends)
    yield child, node
    child.close()
    if node.sock.fileno() >= 0:
        node.close()


# -- frames


REPORTS = [
    Done(
        1, "success", 0.5, payload=b"\x00\xff", then=[Outgoing(frame=FRAME, queue="q", priority=-3)], ttl=None
    ),
    Done(2, "retry", settle="retry", replacement=Outgoing(frame=FRAME, queue="q", due_in=1.5)),
    Begun(3, b"payload", 60.0, 1.5),
    Begun(4),
    Progress(5, "id", "PROGRESS", b"{}", None),
    Dropped(6),
    Ready(7),
]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)
def test_a_report_arrives_as_it_was(report: object) -> None:
    (payload,) = [bytes(view) for view in FrameBuffer().feed(encode(report))]
    assert decode_report(memoryview(payload)) == report


@given(st.lists(st.binary(max_size=300), max_size=20), st.randoms(use_true_random=False))
def test_frames_arrive_however_the_stream_is_cut(payloads: list[bytes], chance: random.Random) -> None:
    stream = b"".join(LENGTH.pack(len(payload)) + payload for payload in payloads)
    buffer, found, start = FrameBuffer(), [], 0
    while start < len(stream):
        end = start + chance.choice((1, 2, 3, 5, 100, 10_000))
        found += [bytes(view) for view in buffer.feed(stream[start:end])]
        start = end
    assert found == payloads


def test_half_a_frame_waits_for_the_other_half() -> None:
    buffer, data = FrameBuffer(), encode(Ready(1))
    assert list(buffer.feed(data[:-1])) == []
    assert list(buffer.feed(b"")) == []
    assert [bytes(view) for view in buffer.feed(data[-1:])] == [data[4:]]


def test_a_large_frame_travels_whole(ends: tuple[ChildEnd, NodeEnd]) -> None:
    child, node = ends
    large = Frame(bytes(8 << 20), "application/json", "utf-8", {}, {})
    sender = threading.Thread(target=node.sock.sendall, args=(encode([Handed(1, large, 1)]),))
    sender.start()
    calls = child.receive()
    sender.join()
    assert list(calls or ()) == [Handed(1, large, 1)]


def test_several_calls_come_in_one_batch(ends: tuple[ChildEnd, NodeEnd]) -> None:
    child, node = ends
    node.hand(1, 2, 3)
    calls = list(child.receive() or ())
    assert [call.seq for call in calls] == [1, 2, 3]
    assert calls[0].frame == FRAME


def test_the_end_of_the_node_is_the_end_of_receiving(ends: tuple[ChildEnd, NodeEnd]) -> None:
    child, node = ends
    node.close()
    assert child.receive() is None
    with pytest.raises(ConnectionError):
        child.report(Ready(1))


def test_reports_of_several_threads_do_not_mix(ends: tuple[ChildEnd, NodeEnd]) -> None:
    child, node = ends
    threads = [
        threading.Thread(
            target=lambda n=n: [child.report(Progress(n, "i" * 5000, "S", b"x" * 5000)) for _ in range(50)]
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    reports = []
    while len(reports) < 200:
        reports += [decode_report(view) for view in node.frames.feed(node.sock.recv(1 << 16))]
    for thread in threads:
        thread.join()
    assert {len(report.payload) for report in reports if isinstance(report, Progress)} == {5000}


# -- tokens


def test_a_token_is_the_right_to_begin_one_call(ends: tuple[ChildEnd, NodeEnd]) -> None:
    child, node = ends
    assert not child.claim()
    node.hand(1, 2)
    assert child.claim()
    assert child.claim()
    assert not child.claim()


def test_what_is_taken_back_cannot_begin(ends: tuple[ChildEnd, NodeEnd]) -> None:
    child, node = ends
    node.hand(1, 2, 3, 4)
    assert child.claim()  # 1 runs
    assert node.take_back() == 3  # 2, 3 and 4 are the node's again
    assert not child.claim()
    assert node.take_back() == 0


def test_no_token_is_taken_twice_when_both_reach_for_them(ends: tuple[ChildEnd, NodeEnd]) -> None:
    child, node = ends
    os.write(node.write_end, bytes(20_000))
    claimed = [0] * 3

    def claim(n: int) -> None:
        while child.claim():
            claimed[n] += 1

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads):
        try:
            taken += len(os.read(node.read_end, 7))
        except BlockingIOError:
            break
    for thread in threads:
        thread.join()
    assert sum(claimed) + taken + node.take_back() == 20_000


def test_without_a_node_nothing_can_be_claimed(ends: tuple[ChildEnd, NodeEnd]) -> None:
    child, node = ends
    node.close()
    assert not child.claim()


# -- the link between supervisor and node


def test_messages_of_the_link_arrive_whole_and_with_their_descriptors() -> None:
    ours, theirs = link.make_link()
    read_end, write_end = os.pipe()
    left, right = socket.socketpair()
    with ours, theirs, left, right:
        assert link.send(ours, link.NewChild(1, 42, 1), [left.fileno(), read_end, write_end])
        assert link.send(ours, link.ChildDied(42, "exited with code 1"))
        assert link.send(ours, link.Stop("cold"))
        message, fds = link.receive(theirs)
        assert message == link.NewChild(1, 42, 1)
        assert len(fds) == 3
        os.write(fds[2], b"x")
        assert os.read(read_end, 1) == b"x"
        assert link.receive(theirs) == (link.ChildDied(42, "exited with code 1"), [])
        assert link.receive(theirs) == (link.Stop("cold"), [])
        for fd in (*fds, read_end, write_end):
            os.close(fd)


def test_the_link_says_when_the_other_side_has_gone() -> None:
    ours, theirs = link.make_link()
    ours.close()
    with theirs:
        assert link.receive(theirs) == (None, [])
        assert not link.send(theirs, link.Stop("warm"))


def test_what_the_other_side_does_not_read_waits_and_keeps_its_order() -> None:
    ours, theirs = link.make_link()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the system makes it as small as it may be
    outbox = link.Outbox(ours)
    pipes = [os.pipe() for _ in range(100)]
    with ours, theirs:
        for number, (_read_end, write_end) in enumerate(pipes):
            outbox.put(link.NewChild(number, 42, 1), [write_end])
        outbox.put(link.Stop("warm"))
        assert len(outbox) > 50
        for number, (read_end, _write_end) in enumerate(pipes):
            message, [fd] = link.receive(theirs)
            assert message == link.NewChild(number, 42, 1)
            os.write(fd, b"x")
            os.close(fd)
            assert os.read(read_end, 2) == b"x"
            outbox.flush()
            assert os.read(read_end, 1) == b""  # ours is closed too
            os.close(read_end)
        assert link.receive(theirs) == (link.Stop("warm"), [])
        assert len(outbox) == 0


def test_nothing_stays_open_of_what_was_never_read() -> None:
    ours, theirs = link.make_link()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    outbox = link.Outbox(ours)
    pipes = [os.pipe() for _ in range(20)]
    for number, (_read_end, write_end) in enumerate(pipes):
        outbox.put(link.NewChild(number, 42, 1), [write_end])
    outbox.close()
    ours.close()
    theirs.close()
    for read_end, _write_end in pipes:
        assert os.read(read_end, 1) == b""
        os.close(read_end)


def test_an_integer_that_msgpack_does_not_have_comes_as_it_was() -> None:
    headers = {"id": "1", "trace": 2**127 + 1, "deep": [{"n": -(2**70), "edge": 2**64 - 1}]}
    frame = Frame(b"", "application/json", "utf-8", headers, {"n": 2**64})
    said = decode_word(memoryview(encode([Handed(1, frame, 1)]))[LENGTH.size :])
    assert isinstance(said, list)
    assert [decode_handed(raw).frame for raw in said] == [frame]
    again = Outgoing(frame=frame, queue="q")
    done = decode_report(memoryview(encode(Done(1, "retry", replacement=again)))[LENGTH.size :])
    assert isinstance(done, Done)
    assert done.replacement == again
