"""Workers that stop fetching: the node stopped, its loop blocked, its fetch hanging inside a loop that lives."""

from __future__ import annotations

import signal
import time

import pytest

from umbel.faults import VARIABLE
from worker.harness import Site, eventually
from worker.probing import ask, command, wait_for_answer, wait_for_command

from .points import Points

TASKS = 500
LIMIT = 10.0
"""Within so many seconds the truth is told."""


def test_a_stopped_node_is_replaced_and_nothing_is_lost(site: Site) -> None:
    with site.worker("--health", "0", program="impatient") as worker:
        results = site.calls("mark", [(n,) for n in range(TASKS)])
        eventually(lambda: len(site.notes()) >= TASKS // 5, "runs")
        wait_for_answer(worker, "/live", 200)
        node = worker.node_pid
        worker.freeze(node)
        assert "has said nothing" in wait_for_answer(worker, "/live", 503)["reason"]
        assert ask(worker, "/ready").status == 503
        worker.wait_for(rf"The node \(pid {node}\) has said nothing for 6 s")
        worker.wait_for(r" ready\.", count=2)
        wait_for_answer(worker, "/ready", 200)
        assert ask(worker, "/live").body["node_pid"] != node
        assert site.app.results(results).get(timeout=60) == list(range(TASKS))
        assert {line.removeprefix("ran ") for line in site.notes()} == {str(n) for n in range(TASKS)}
        # The one that was killed is not remembered as a worker that is ill.
        wait_for_command(site, 0)
        assert worker.stop() == 0
    site.assert_nothing_left()


def test_a_node_that_hangs_with_what_it_has_reserved_is_replaced(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = Points(site.directory / "points")
    monkeypatch.setenv(VARIABLE, str(points.directory))
    with site.worker("--health", "0", program="impatient") as worker:
        wait_for_answer(worker, "/ready", 200)
        points.arm("fetcher.reserved", "hang")
        results = site.calls("add", [(n, 1) for n in range(20)])
        wait_for_answer(worker, "/live", 503)
        worker.wait_for("has said nothing for 6 s")
        # Long before their leases end: the next node takes them back.
        assert site.app.results(results).get(timeout=60) == [n + 1 for n in range(20)]
        wait_for_answer(worker, "/live", 200)
        assert worker.stop() == 0
    site.assert_nothing_left()


@pytest.mark.parametrize("site", ["redis"], indirect=True)  # not a matter of the broker
def test_a_worker_that_was_stopped_as_a_whole_goes_on(site: Site) -> None:
    """Ctrl-Z, a suspended machine: the supervisor has not seen the node be silent for so long."""
    with site.worker("--health", "0", program="impatient") as worker:
        wait_for_answer(worker, "/ready", 200)
        node = worker.node_pid
        worker.freeze()
        time.sleep(7)  # longer than a node may be silent with these limits
        worker.signal_group(signal.SIGCONT)
        assert site.call("add", 1, 2).get(timeout=60) == 3
        wait_for_answer(worker, "/ready", 200)
        assert worker.node_pid == node
        assert worker.stop() == 0
        assert "has said nothing" not in worker.log
        assert "has not moved" not in worker.log


def test_a_fetch_that_hangs_in_a_living_loop_is_started_anew(site: Site) -> None:
    with site.worker("--health", "0", program="impatient") as worker:
        site.call("gated", "a")
        site.wait_for_note("begun a")
        wait_for_answer(worker, "/ready", 200)
        node = worker.node_pid
        (site.directory / "hang-once").touch()
        worker.wait_for("The fetch loop has not moved for 4 s")
        assert site.call("add", 1, 2).get(timeout=60) == 3
        wait_for_answer(worker, "/ready", 200)
        # What ran meanwhile has not noticed anything.
        assert worker.node_pid == node
        site.open_gate("a")
        assert worker.stop() == 0
    assert [line for line in site.notes() if line != "hangs"] == ["begun a", "ended a"]
    site.assert_nothing_left()


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)  # not a matter of the broker
def test_a_worker_that_cannot_fetch_whatever_is_tried_ends(site: Site) -> None:
    with site.worker("--health", "0", program="impatient") as worker:
        wait_for_answer(worker, "/ready", 200)
        site.call("gated", "a")
        site.wait_for_note("begun a")
        (site.directory / "hang").touch()
        worker.wait_for("Starting it anew has not helped: this node ends")
        assert worker.wait(patience=90) == 1
        assert "3 nodes in a row hung, and none of them fetched anything. Giving up." in worker.log
        assert "Traceback" not in worker.log
        assert not worker.left_behind()
    # Its task is not lost: the next worker runs it.
    (site.directory / "hang").unlink()
    site.open_gate("a")
    with site.worker(settings={"worker_lease": 3}) as worker:
        site.wait_for_note("ended a")
        assert worker.stop() == 0
    site.assert_nothing_left()


def test_the_truth_is_told_within_ten_seconds(site: Site) -> None:
    """With the limits that hold by default; the fetch hangs while the node goes on saying that it lives."""
    with site.worker("--health", "0", program="obstructed") as worker:
        wait_for_answer(worker, "/ready", 200)
        wait_for_command(site, 0)
        (site.directory / "hang").touch()
        site.wait_for_note("hangs")
        # Whoever asks after ten seconds is told, however long the answer takes.
        time.sleep(LIMIT)
        ready = ask(worker, "/ready")
        assert ready.status == 503
        assert "no fetch has been answered" in ready.body["reason"]
        assert command(site).code == 1
        assert ask(worker, "/live").status == 200
