"""Dealing and taking back in any order, on real pipes: every call is begun once, by whoever has its token."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter, deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from umbel.worker.crew import STUCK_SECONDS, Crew
from umbel.worker.inflight import Held
from umbel.worker.ipc import Done, Dropped, Report
from worker.test_crew import Pair, held

from .test_broker_model import SETTINGS, SOAK

which = st.integers(0, 2)


class Player:
    """A child that is played: what it has read, what it runs, and what it has said that nobody has heard yet."""

    def __init__(self, index: int, slots: int) -> None:
        self.pair = Pair(index, slots)
        self.child = self.pair.child
        self.waiting: deque[int] = deque()
        self.running: list[int] = []
        self.said: deque[Report] = deque()
        self.dead = False

    def read(self) -> None:
        try:
            data = self.pair.end.sock.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        self.waiting.extend(call.seq for call in self.pair.end.feed(data))


class CrewMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.crew = Crew()
        self.players: list[Player] = []
        self.now = 1000.0
        self.calls: dict[int, Held] = {}
        self.begun: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        """Finished, lost with its child, or given back to the broker."""

    @initialize(slots=st.lists(st.integers(1, 3), min_size=3, max_size=3), quick=st.booleans())
    def hire(self, slots: list[int], quick: bool) -> None:
        for index, number in enumerate(slots):
            self._hire(index, number, quick)

    def _hire(self, index: int, slots: int, quick: bool) -> None:
        player = Player(index, slots)
        if quick:
            player.child.seconds_per_call = 0.001
        self.crew.add(player.child)
        if index < len(self.players):
            self.players[index] = player
        else:
            self.players.append(player)

    # -- the node

    @rule(number=st.integers(1, 30))
    def fetch(self, number: int) -> None:
        some = [held(self.now) for _ in range(number)]
        self.calls.update({call.seq: call for call in some})
        self.crew.offer(some)

    @rule()
    def deal(self) -> None:
        self.crew.deal(self.now)

    @rule(seconds=st.sampled_from([0.0, STUCK_SECONDS / 2, 2 * STUCK_SECONDS]))
    def recall(self, seconds: float) -> None:
        self.now += seconds
        self.crew.recall(self.now)

    @rule()
    def give_back_what_waits_for_long(self) -> None:
        self.now += 0.5
        self._give_back(self.crew.overdue(self.now, 1.0))

    @rule()
    def recall_all(self) -> None:
        self._give_back(self.crew.recall_all(self.now))

    def _give_back(self, calls: list[Held]) -> None:
        for call in calls:
            assert not self.begun[call.seq], f"{call.seq} was given back, and runs"
            self.ended[call.seq] += 1

    @rule(index=which, number=st.integers(1, 5))
    def hear(self, index: int, number: int) -> None:
        player, finished = self.players[index], 0
        for _ in range(min(number, len(player.said))):
            report = player.said.popleft()
            if isinstance(report, Dropped):
                player.child.owed -= 1
                assert player.child.owed >= 0
            elif isinstance(report, Done):
                assert player.child.handed.pop(report.seq, None) is not None, (
                    f"{report.seq} was taken back, and ran"
                )
                self.ended[report.seq] += 1
                finished += 1
        if finished:
            self.now += 0.001
            player.child.measure(finished, self.now)

    # -- the children

    @rule(index=which)
    def read(self, index: int) -> None:
        self.players[index].read()

    @rule(index=which)
    def begin(self, index: int) -> None:
        player = self.players[index]
        if not player.waiting or len(player.running) >= player.child.slots:
            return
        seq = player.waiting.popleft()
        if player.pair.begin():
            self.begun[seq] += 1
            assert self.begun[seq] == 1, f"{seq} is begun twice"
            player.running.append(seq)
        else:
            player.said.append(Dropped(seq))

    @rule(index=which, at=st.integers(0, 2))
    def finish(self, index: int, at: int) -> None:
        player = self.players[index]
        if player.running:
            player.said.append(Done(player.running.pop(at % len(player.running)), "success"))

    @rule(index=which, slots=st.integers(1, 3), quick=st.booleans())
    @precondition(lambda self: self.calls)
    def die(self, index: int, slots: int, quick: bool) -> None:
        """It dies; all that it has said is heard, what it had not begun is taken back, and another one comes."""
        player = self.players[index]
        self.hear(index, len(player.said))
        back = player.child.take_back()
        assert not any(self.begun[call.seq] for call in back)
        self.crew.offer(back, first=True)
        assert sorted(player.child.handed) == sorted(player.running), "what is left is what it ran"
        self.ended.update(player.running)
        player.pair.close()
        self.crew.remove(player.child)
        self._hire(index, slots, quick)

    # -- what must hold

    @invariant()
    def every_call_is_in_one_place(self) -> None:
        places = Counter(call.seq for call in self.crew.buffer)
        for player in self.players:
            places.update(list(player.child.handed))
        places.update(self.ended.elements())
        assert places == Counter(dict.fromkeys(self.calls, 1))

    def teardown(self) -> None:
        """Let everything end: no call is neither taken back nor begun."""
        try:
            for _ in range(10 * len(self.calls) + 10):
                self.crew.deal(self.now)
                for index, player in enumerate(self.players):
                    player.read()
                    self.begin(index)
                    self.finish(index, 0)
                    self.hear(index, len(player.said))
                if len(self.ended) == len(self.calls):
                    break
            assert self.ended == Counter(dict.fromkeys(self.calls, 1))
        finally:
            for player in self.players:
                player.pair.close()


MANY = settings(SETTINGS, max_examples=60, stateful_step_count=60)


def test_no_call_is_begun_twice_or_left_out() -> None:
    run_state_machine_as_test(CrewMachine, settings=MANY)


@pytest.mark.soak
def test_no_call_is_begun_twice_or_left_out_for_long() -> None:
    until = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "120"))
    while time.monotonic() < until:
        run_state_machine_as_test(CrewMachine, settings=SOAK)
