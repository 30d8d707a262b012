"""Chords whose workers die: each slot is filled once, each body is sent once, and no chord waits for ever."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from servers import RedisServer
from umbel import Signature, chord
from worker.harness import Site, Worker, eventually

from .points import Points
from .test_fault_points import wait_until_settled

WAIT = 60.0
MEMBERS = 3
BACKENDS = ("sqlite", "redis", "apart")
POINTS = ("joining.arrived", "child.ran", "child.reported", "node.heard", "settler.settled")
"""Where the process dies that has the last member of a chord."""


@pytest.fixture
def place(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, make_site: Callable[[str, pathlib.Path], Site]
) -> Iterator[Site]:
    """A site; on ``apart`` the results, and so the joins, are on another server than the queues."""
    if request.param != "apart":
        site = make_site(request.param, tmp_path)
        yield site
        site.close()
        return
    with RedisServer(tmp_path / "store") as store:
        here = make_site("redis", tmp_path / "unused")
        site = Site(tmp_path, here.broker_url, store.url())
        yield site
        site.close()
        here.close()


def send(site: Site, numbers: list[int], body: Signature, member: str = "add") -> Any:
    header = [Signature(f"flow.{member}", (n,)) for n in numbers]
    whole = chord(header, body)
    whole._app = site.app
    return whole.apply_async()


def body(word: object) -> Signature:
    """Notes that it has run, and with what."""
    return Signature("flow.total_noted", kwargs={"word": str(word)})


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("place", BACKENDS, indirect=True)
def test_whoever_completes_a_join_dies(place: Site, point: str) -> None:
    joins_that_complete_while_somebody_dies(place, point)


def joins_that_complete_while_somebody_dies(site: Site, point: str) -> None:
    points = Points(site.directory / "points")
    settings = {"fault_points": points.directory, "worker_lease": 2}
    with site.worker(app="flow_jobs", settings=settings) as worker:
        for passage in range(1, MEMBERS + 1):
            points.arm(point, passage=passage)
            result = send(site, [1, 2, 3], body(passage))
            assert result.get(timeout=WAIT) == 6
            eventually(lambda: points.struck(point), "the passage")
            points.disarm(point)
            # Else it could die in the shutdown that follows, which is told by the exit code.
            deaths = passage
            eventually(lambda: worker.log.count("starting another one") >= deaths, "another process")  # noqa: B023
            eventually(lambda: not site.shelf("held"), "an end of all runs")
            wait_until_settled(worker)
        assert worker.stop() == 0
    # The body runs again only where its own run was cut short, or its end was not known: not for a second message.
    assert {line.split()[-1] for line in site.notes()} == {"6"}
    sent_twice = [line for line, times in Counter(site.notes()).items() if times > 1]
    assert not sent_twice or point in ("child.ran", "child.reported", "node.heard", "settler.settled")
    site.assert_nothing_left()


CHORDS, SIZE, KILLS = 30, 12, 15


def test_no_chord_is_lost_in_a_storm(site: Site) -> None:
    chords_in_a_storm(site)


def chords_in_a_storm(site: Site) -> None:
    chance = random.Random(20261126)
    settings = {"worker_lease": 2, "task_max_deliveries": 1_000_000}
    with site.worker(app="flow_jobs", settings=settings) as worker:
        results = []
        for number in range(CHORDS):
            member = "retries_once" if number % 3 == 0 else "add"
            results.append(send(site, list(range(SIZE)), body(number), member))
        nodes = 1
        for kill in range(KILLS):
            if kill % 5 == 4:
                wait_until_settled(worker)
                os.kill(worker.node_pid, signal.SIGKILL)
                nodes += 1
                worker.wait_for(r" ready\.", count=nodes)
            else:
                kill_a_child(worker, chance)
            done = len(site.notes())
            eventually(lambda done=done: len(site.notes()) > done or len(site.notes()) >= CHORDS, "progress")  # type: ignore[misc]
        assert [result.get(timeout=WAIT) for result in results] == [sum(range(SIZE))] * CHORDS
        assert worker.stop() == 0
    assert set(site.notes()) == {f"{number} {sum(range(SIZE))}" for number in range(CHORDS)}
    site.assert_nothing_left()


def kill_a_child(worker: Worker, chance: random.Random) -> None:
    pids = eventually(lambda: worker.child_pids, "a child")
    with contextlib.suppress(
        ProcessLookupError
    ):  # the kill before this one has struck it, and it is only now gone
        os.kill(chance.choice(pids), signal.SIGKILL)


def test_a_superseded_member_changes_nothing(site: Site) -> None:
    """Frozen with a run, it wakes up when another has arrived in its place, and the body has been sent."""
    header = [Signature("flow.waits_as", (name,)) for name in ("a", "b")]
    whole = chord(header, body("joined"))
    whole._app = site.app
    with site.worker("-n", "late@%h", app="flow_jobs", concurrency=1, settings={"worker_lease": 1}) as late:
        result = whole.apply_async()
        eventually(site.notes, "a run")
        late.freeze()
        with site.worker("-n", "other@%h", app="flow_jobs") as other:
            site.open_gate("go")
            assert result.get(timeout=WAIT) == 2
            late.signal_group(signal.SIGCONT)
            late.wait_for("LeaseLost")
            assert other.stop() == 0
        assert late.stop() == 0
    assert [line for line in site.notes() if line.startswith("joined")] == ["joined 2"]
    site.assert_nothing_left()
