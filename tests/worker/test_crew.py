"""Who gets which call: dealing, taking back, and what to fetch, on real pipes with a child played by the test."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from typing import cast

import pytest

from umbel.core.frame import Frame
from umbel.ports import Receipt
from umbel.worker.crew import AHEAD_CALLS, IDLE_SECONDS, STUCK_SECONDS, Child, Crew
from umbel.worker.inflight import Held
from umbel.worker.ipc import ChildEnd, Done, Dropped, Ready, encode, make_ends

_numbers = itertools.count(1)


def held(since: float = 0.0) -> Held:
    seq = next(_numbers)
    frame = Frame(b"", "application/json", "utf-8", {"id": str(seq)}, {})
    return Held(seq=seq, frame=frame, receipt=Receipt("q", str(seq)), deliveries=1, since=since)


class Pair:
    """A child as the node sees it, and the child's own end."""

    def __init__(self, index: int, slots: int) -> None:
        self.end, ends = make_ends()
        ends[0].setblocking(False)
        self.child = Child(index, os.getpid(), slots, ends)
        self.child.transport = cast("asyncio.Transport", _Writer(self.child))
        self.child.ready = True
        self.closed = False
        self._rest: bytes | None = None

    def begin(self) -> bool:
        return self.end.claim()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.end.close()
            self.child.sock.close()
            self.rest()
            self.child.forget()

    def rest(self) -> bytes:
        """What the node reads when the connection has ended."""
        if self._rest is None:
            self._rest = self.child.last_words()
        return self._rest


class _Writer:
    """Stands for the transport: writes at once, to the real socket."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def write(self, data: bytes) -> None:
        self._child.sock.sendall(data)


@pytest.fixture
def crew() -> Iterator[tuple[Crew, list[Pair]]]:
    crew, pairs = Crew(), [Pair(0, 1), Pair(1, 1)]
    for pair in pairs:
        crew.add(pair.child)
    yield crew, pairs
    for pair in pairs:
        pair.close()


def received(end: ChildEnd) -> list[int]:
    calls = end.receive()
    return [call.seq for call in calls or ()]


def make_fast(child: Child, seconds: float = 0.0001) -> None:
    child.seconds_per_call = seconds


# -- dealing


def test_a_new_child_gets_one_call_at_a_time(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, two) = crew
    calls = [held() for _ in range(5)]
    team.offer(calls)
    team.deal(0.0)
    assert received(one.end) == [calls[0].seq]
    assert received(two.end) == [calls[1].seq]
    assert list(team.buffer) == calls[2:]
    assert team.busy() == 2
    assert team.wanted() == 0


def test_a_fast_child_is_given_work_ahead_in_equal_shares(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, two) = crew
    for pair in (one, two):
        make_fast(pair.child)
    calls = [held() for _ in range(40)]
    team.offer(calls)
    team.deal(0.0)
    assert received(one.end) == [call.seq for call in calls[:20]]
    assert received(two.end) == [call.seq for call in calls[20:]]


def test_work_ahead_has_a_bound() -> None:
    pair = Pair(0, 1)
    make_fast(pair.child, 1e-9)
    assert pair.child.room() == 1 + AHEAD_CALLS
    pair.close()


def test_calls_are_dealt_in_their_order(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, two) = crew
    two.child.retiring = True
    make_fast(one.child)
    first, late = [held() for _ in range(3)], [held() for _ in range(3)]
    team.offer(late)
    team.offer(first, first=True)
    team.deal(0.0)
    assert received(one.end) == [call.seq for call in (*first, *late)]


@pytest.mark.parametrize("state", ["retiring", "gone", "owed", "unready"])
def test_a_child_that_cannot_run_gets_nothing(crew: tuple[Crew, list[Pair]], state: str) -> None:
    team, (one, two) = crew
    for pair in (one, two):
        if state == "unready":
            pair.child.ready = False
        else:
            setattr(pair.child, state, 1 if state == "owed" else True)
    team.offer([held()])
    team.deal(0.0)
    assert len(team.buffer) == 1
    assert team.wanted() == 0


def test_a_child_runs_no_more_than_its_life_allows() -> None:
    team, pair = Crew(), Pair(0, 1)
    team.add(pair.child)
    make_fast(pair.child)
    pair.child.most = 3
    assert team.wanted() <= 3 * 2 + 1
    calls = [held() for _ in range(10)]
    team.offer(calls)
    team.deal(0.0)
    assert list(pair.child.handed) == [call.seq for call in calls[:3]]
    for call in calls[:2]:
        del pair.child.handed[call.seq]
    pair.child.measure(2, 1.0)
    assert pair.child.room() == 0
    pair.close()


# -- what to fetch


def test_free_slots_are_asked_for_and_then_a_batch_ahead(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, two) = crew
    assert team.wanted() == 2
    make_fast(one.child, 0.001)
    assert team.wanted() == 2 + 2 * 10
    team.offer([held() for _ in range(15)])
    two.child.retiring = True
    assert team.wanted() == 0  # more than half of what will be done soon lies in the buffer


def test_slots_count() -> None:
    team, pair = Crew(), Pair(0, 8)
    team.add(pair.child)
    assert team.wanted() == 8
    team.offer([held() for _ in range(3)])
    team.deal(0.0)
    assert team.wanted() == 5
    pair.close()


def test_why_nothing_is_wanted() -> None:
    team, pair = Crew(), Pair(0, 2)
    assert team.hindrance() == "no child process is ready"
    team.add(pair.child)
    pair.child.ready = False
    assert team.hindrance() == "no child process is ready"
    pair.child.ready = True
    team.offer([held()])
    team.deal(0.0)
    pair.child.retiring = True
    assert team.wanted() == 0
    assert "replaced when its last one has ended" in team.hindrance()
    pair.child.retiring = False
    suspect = held()
    suspect.suspect = True
    pair.child.put_on_trial(suspect, 0.0)
    assert team.wanted() == 0
    assert "runs alone" in team.hindrance()
    pair.child.on_trial = None
    team.offer([held()])
    team.deal(0.0)
    assert team.wanted() == 0
    assert team.hindrance() == ""
    pair.close()


# -- taking back


def test_what_waits_behind_a_long_call_is_taken_back(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, two) = crew
    two.child.retiring = True
    make_fast(one.child)
    calls = [held() for _ in range(10)]
    team.offer(calls)
    team.deal(0.0)
    assert one.begin()
    assert not team.recall(STUCK_SECONDS / 2)
    assert team.recall(STUCK_SECONDS * 2)
    assert list(one.child.handed) == [calls[0].seq]
    assert list(team.buffer) == calls[1:]
    assert {call.since for call in calls[1:]} == {STUCK_SECONDS * 2}
    # It is believed to be slow now, and owes nine reports before it gets anything.
    assert one.child.owed == 9
    assert one.child.room() == 0
    assert not one.begin()


def test_it_is_taken_back_sooner_when_another_child_is_idle(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, two) = crew
    two.child.ready = False
    make_fast(one.child)
    calls = [held() for _ in range(4)]
    team.offer(calls)
    team.deal(0.0)
    assert one.begin()
    assert not team.uneven()
    assert not team.recall(IDLE_SECONDS * 2)
    two.child.ready = True
    assert team.uneven()
    assert not team.recall(IDLE_SECONDS / 2)
    assert team.recall(IDLE_SECONDS * 2)
    team.deal(IDLE_SECONDS * 2)
    assert calls[1].seq in two.child.handed
    assert list(one.child.handed) == [calls[0].seq]


def test_recall_is_not_for_a_child_that_has_only_what_it_runs(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, _) = crew
    team.offer([held(), held()])
    team.deal(0.0)
    assert one.begin()
    assert not team.recall(1000.0)


def test_all_can_be_recalled_with_the_buffer_in_order(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, two) = crew
    two.child.retiring = True
    make_fast(one.child, 0.005)
    calls = [held() for _ in range(6)]
    team.offer(calls)
    team.deal(0.0)
    assert one.begin()
    assert team.recall_all(1.0) == calls[1:]
    assert team.busy() == 1
    assert not team.buffer


def test_what_lies_too_long_in_the_buffer_is_overdue() -> None:
    team = Crew()
    old, new = [held(since=1.0) for _ in range(2)], [held(since=5.0)]
    team.offer([*old, *new])
    assert team.overdue(5.5, 1.0) == old
    assert list(team.buffer) == new


def test_a_dead_child_tells_what_it_had_not_begun(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, two) = crew
    two.child.retiring = True
    make_fast(one.child)
    calls = [held() for _ in range(4)]
    team.offer(calls)
    team.deal(0.0)
    assert one.begin()
    assert one.begin()
    one.end.sock.close()
    assert one.child.take_back() == calls[2:]
    assert list(one.child.handed) == [calls[0].seq, calls[1].seq]


def test_the_last_words_of_a_dead_child_are_read_though_writing_to_it_fails(
    crew: tuple[Crew, list[Pair]],
) -> None:
    _, (one, _) = crew
    one.child.hand([held()], 0.0)  # unread by the child, so that its end resets the connection
    reports = [Done(1, "success"), Dropped(2), Ready(3)]
    for report in reports:
        one.end.report(report)
    one.end.sock.close()
    with pytest.raises(OSError):  # noqa: PT011 - EPIPE or ECONNRESET
        one.child.sock.sendall(b"x")
    one.child.sock.close()
    assert one.rest() == b"".join(encode(report) for report in reports)


# -- measuring


def test_a_slow_call_is_believed_at_once_a_fast_one_by_and_by() -> None:
    pair = Pair(0, 1)
    child = pair.child
    child.last_report = 0.0
    for n in range(1, 60):
        child.measure(10, n * 0.001)
    assert child.seconds_per_call == pytest.approx(0.0001, rel=0.1)
    assert child.ahead() > 80
    child.measure(1, 2.0)
    assert child.seconds_per_call > 1
    assert child.ahead() == 0
    assert child.finished == 591
    pair.close()


def test_a_replaced_child_is_not_removed_with_its_predecessor(crew: tuple[Crew, list[Pair]]) -> None:
    team, (one, _) = crew
    other = Pair(0, 1)
    team.add(other.child)
    team.remove(one.child)
    assert team.children[0] is other.child
    team.remove(other.child)
    assert 0 not in team.children
    other.close()


def test_a_call_that_cannot_be_packed_is_refused_and_its_neighbours_go_on(
    crew: tuple[Crew, list[Pair]],
) -> None:
    the_crew, [first, second] = crew
    refused: list[tuple[Held, str]] = []
    the_crew.refuse = lambda call, why: refused.append((call, why))
    first.child.seconds_per_call = 0.001
    second.child.retiring = True
    calls = [held() for _ in range(5)]
    deep: list[object] = []
    for _ in range(20_000):
        deep = [deep]
    calls[2].frame.headers["deep"] = deep
    the_crew.offer(calls)
    the_crew.deal(0.0)
    assert [call for call, _ in refused] == [calls[2]]
    assert "cannot be handed" in refused[0][1]
    good = [call.seq for call in calls if call is not calls[2]]
    assert [call.seq for call in first.end.receive() or []] == good
    assert list(first.child.handed) == good
    assert [first.begin() for _ in range(5)] == [True] * 4 + [False]
