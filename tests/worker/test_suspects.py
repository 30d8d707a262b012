"""Who is blamed when a process dies, and how suspects are begun: the parts, with the clock in the test's hand."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Iterator

import pytest

from umbel import Umbel
from umbel.core.frame import HISTORY_HEADER, Frame
from umbel.ports import Delivery, Receipt
from umbel.worker import exits
from umbel.worker.crew import TRIAL_SECONDS, Child, Crew
from umbel.worker.exits import Exits, OomWatch
from umbel.worker.inflight import Held, Inflight
from umbel.worker.journal import Journal
from umbel.worker.node import Node
from umbel.worker.settings import NodeSettings
from umbel.worker.settlements import is_spared
from umbel.worker.verdict import Judge

from .test_crew import Pair, held


def suspect() -> Held:
    call = held()
    call.suspect = True
    return call


@pytest.fixture
def shared() -> Iterator[tuple[Crew, Pair]]:
    """One child with four slots."""
    crew, pair = Crew(), Pair(0, 4)
    crew.add(pair.child)
    yield crew, pair
    pair.close()


# -- beginning them one by one


def test_a_suspect_is_begun_alone_and_the_next_one_when_it_has_lasted(shared: tuple[Crew, Pair]) -> None:
    crew, pair = shared
    first, second, other = suspect(), suspect(), held()
    crew.offer([first, second, other])
    crew.deal(0.0)
    assert list(pair.child.handed.values()) == [first]
    crew.deal(TRIAL_SECONDS * 0.9)
    assert len(pair.child.handed) == 1
    assert crew.wanted() == 0
    crew.deal(TRIAL_SECONDS)
    assert list(pair.child.handed.values()) == [first, second]
    crew.deal(TRIAL_SECONDS * 2)
    assert list(pair.child.handed.values()) == [first, second, other]


def test_a_suspect_that_has_ended_lets_the_next_one_begin_at_once(shared: tuple[Crew, Pair]) -> None:
    crew, pair = shared
    first, second = suspect(), suspect()
    crew.offer([first, second])
    crew.deal(0.0)
    del pair.child.handed[first.seq]
    crew.deal(0.01)
    assert list(pair.child.handed.values()) == [second]


def test_what_waits_before_a_suspect_goes_together(shared: tuple[Crew, Pair]) -> None:
    crew, pair = shared
    one, two, last = held(), held(), suspect()
    crew.offer([one, two, last])
    crew.deal(0.0)
    assert list(pair.child.handed.values()) == [one, two]
    crew.deal(0.0)
    assert list(pair.child.handed.values()) == [one, two, last]
    assert pair.child.culprit() is last


def test_a_child_with_one_slot_needs_no_trials() -> None:
    crew, pair = Crew(), Pair(0, 1)
    crew.add(pair.child)
    try:
        call = suspect()
        crew.offer([call])
        crew.deal(0.0)
        assert pair.child.on_trial is None
        assert pair.child.culprit() is call
    finally:
        pair.close()


def test_nobody_is_the_culprit_among_several_without_a_trial(shared: tuple[Crew, Pair]) -> None:
    crew, pair = shared
    assert pair.child.culprit() is None
    crew.offer([held(), held()])
    crew.deal(0.0)
    assert pair.child.culprit() is None


def test_who_is_left_when_the_node_has_killed_is_not_the_culprit(shared: tuple[Crew, Pair]) -> None:
    """The call on whose account it was killed may just have ended: its report is among the last words."""
    app = Umbel("tests", broker="memory://suspects", backend="memory://suspects", set_as_current=False)
    settings = NodeSettings(name="w@h", id="1", queues=("q",), pool="threads", children=1, slots=4)
    node = Node(settings, app.new_broker(), None, Judge(app, "w@h"), Journal())
    crew, pair = shared
    killed: list[Child] = []
    node.crew, node.kill = crew, killed.append
    node.revoking._crew = crew
    revoked, next_one = held(), held()
    crew.offer([revoked, next_one])
    crew.deal(0.0)
    node.revoking._revoke(revoked, terminate=True)
    assert killed == [pair.child]
    del pair.child.handed[revoked.seq]
    assert pair.child.culprit() is None


# -- counting


def test_a_call_is_spared_twice_and_suspected_at_the_second_time() -> None:
    call = held()
    assert is_spared(call, known=False)
    assert not call.suspect
    assert is_spared(call, known=False)
    assert call.suspect
    assert not is_spared(call, known=False)


def test_it_is_acquitted_when_it_was_another_one() -> None:
    call = held()
    is_spared(call, known=False)
    is_spared(call, known=False)
    assert is_spared(call, known=True)
    assert (call.suspect, call.mishaps) == (False, 0)


def test_a_mishap_is_not_forgotten_by_going_back_to_the_queue(shared: tuple[Crew, Pair]) -> None:
    crew, _ = shared
    spared, others = held(), [held(), held()]
    spared.mishaps = 1
    crew.offer([others[0], spared, others[1]])
    assert crew.overdue(2.0, 1.0) == others
    assert list(crew.buffer) == [spared]


def test_a_message_with_a_crash_in_its_history_is_a_suspect() -> None:
    frame = Frame(b"", "application/json", "utf-8", {"id": "a", HISTORY_HEADER: [{"what": "crashed"}]}, {})
    delivery = Delivery(receipt=Receipt("q", "t"), frame=frame)
    assert Inflight().add(delivery, frame, 0.0).suspect


def test_a_run_that_is_being_stopped_is_not_taken_up_again() -> None:
    inflight = Inflight()
    frame = Frame(b"", "application/json", "utf-8", {"id": "a"}, {})
    running = inflight.add(Delivery(receipt=Receipt("q", "old"), frame=frame), frame, 0.0)
    again = Delivery(receipt=Receipt("q", "new"), frame=frame, count=2)
    running.stopped = True
    assert not inflight.comes_back(again, frame)
    running.stopped = False
    assert inflight.comes_back(again, frame)
    assert running.receipt == again.receipt


# -- want of memory


def test_the_counters_of_kills_are_read_from_the_system(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, group = tmp_path / "vmstat", tmp_path / "shop.slice" / "memory.events"
    own = tmp_path / "cgroup"
    group.parent.mkdir()
    own.write_text("1:name=systemd:/x\n0::/shop.slice\n")
    machine.write_text("pgfault 7\noom_kill 1\n")
    group.write_text("oom 3\noom_kill 0\noom_group_kill 0\n")
    monkeypatch.setattr(exits, "_VMSTAT", machine)
    monkeypatch.setattr(exits, "_OWN_GROUP", own)
    monkeypatch.setattr(exits, "_GROUPS", tmp_path)
    watch = OomWatch()
    assert not watch.has_killed()
    machine.write_text("pgfault 9\noom_kill 2\n")
    assert watch.has_killed()
    assert not watch.has_killed()
    group.write_text("oom 4\noom_kill 1\n")
    assert watch.has_killed()
    machine.unlink()
    group.write_text("oom_kill many\n")
    assert watch.has_killed()  # what cannot be read counts as none
    assert not watch.has_killed()
    # What is older than two looks explains nothing; what is younger does, though one look lies between.
    watch.look(10.0)
    machine.write_text("oom_kill 3\n")
    watch.look(13.0)
    watch.look(15.9)
    assert watch.has_killed()
    machine.write_text("oom_kill 4\n")
    watch.look(16.0)
    watch.look(19.0)
    assert not watch.has_killed()


def test_what_the_worker_has_killed_did_not_want_memory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "vmstat"
    machine.write_text("oom_kill 1\n")
    monkeypatch.setattr(exits, "_VMSTAT", machine)
    monkeypatch.setattr(exits, "_OWN_GROUP", tmp_path / "none")
    ends = Exits()
    machine.write_text("oom_kill 2\n")
    assert ends.describe(signal.SIGKILL, ours=True) == "was killed by SIGKILL"
    assert ends.describe(signal.SIGSEGV) == "was killed by SIGSEGV"
    assert ends.describe(signal.SIGKILL) == "was killed by SIGKILL, probably for want of memory"
