"""Processes that die in the middle of work: nothing is lost, nothing loops, and the cause has a name."""

from __future__ import annotations

import os
import signal

import pytest

from umbel.core.frame import DELIVERIES_HEADER, HISTORY_HEADER
from umbel.errors import WorkerLostError
from worker.harness import Site, eventually

WAIT = 20.0


# -- a child


@pytest.mark.parametrize(
    ("task", "argument", "cause"),
    [
        ("exits", 3, "exited with code 3"),
        ("kills_itself", int(signal.SIGKILL), "was killed by SIGKILL"),
        ("kills_itself", int(signal.SIGSEGV), "was killed by SIGSEGV"),
    ],
    ids=["exit", "sigkill", "sigsegv"],
)
def test_a_task_that_always_crashes_ends_after_three_deliveries(
    site: Site, task: str, argument: int, cause: str
) -> None:
    with site.worker() as worker:
        result = site.call(task, argument)
        with pytest.raises(WorkerLostError, match=cause):
            result.get(timeout=WAIT)
        assert result.state == "FAILURE"
        assert site.notes() == [f"ran {task}"] * 3

        (letter,) = site.wait_for_shelf("dead")
        assert letter.task_id == result.id
        assert letter.task == f"jobs.{task}"
        assert cause in letter.reason
        assert letter.frame is not None
        history = letter.frame.headers[HISTORY_HEADER]
        assert [cause in entry["what"] for entry in history] == [True] * len(history)
        assert all(entry["worker"].startswith("umbel@") and entry["at"] for entry in history)
        assert letter.frame.headers[DELIVERIES_HEADER] == len(history) == 2

        worker.wait_for(rf"{result.id}\] lost: {cause}.*delivery 1 of 3")
        worker.wait_for(rf"{result.id}\] lost: {cause}.*dead letters")
        assert site.call("add", 1, 1).get(timeout=WAIT) == 2
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_a_task_whose_process_died_once_is_run_again(site: Site, pool: str) -> None:
    with site.worker(pool=pool):
        assert site.call("crashes_once", "a").get(timeout=WAIT) == "second delivery"
    assert site.notes() == ["ran a", "ran a"]
    site.assert_nothing_left()


def test_a_dead_letter_can_be_replayed(site: Site) -> None:
    with site.worker(settings={"task_max_deliveries": 1}):
        result = site.call("crashes_once", "a")
        with pytest.raises(WorkerLostError):
            result.get(timeout=WAIT)
        (letter,) = site.wait_for_shelf("dead")
        assert site.ask(lambda broker: broker.requeue("dead", [letter.key])) == 1
        eventually(lambda: site.app.AsyncResult(result.id).state == "SUCCESS")
    site.assert_nothing_left()


def test_max_deliveries_of_a_task_without_reject_on_worker_lost_is_one(site: Site) -> None:
    with site.worker():
        with pytest.raises(WorkerLostError, match="exited with code 3"):
            site.call("not_again").get(timeout=WAIT)
        assert site.notes() == ["ran not_again"]


def test_an_early_acknowledged_task_is_lost_with_its_process_and_says_so(site: Site) -> None:
    with site.worker():
        result = site.call("crashes_early")
        with pytest.raises(WorkerLostError, match="exited with code 3"):
            result.get(timeout=WAIT)
        assert site.notes() == ["ran crashes_early"]
    site.assert_nothing_left()


def test_link_error_hears_of_a_crash(site: Site) -> None:
    with site.worker(settings={"task_max_deliveries": 1}):
        result = site.call("exits", 3, link_error=site.signature("errback"))
        site.wait_for_note("errback", result.id)


def test_link_error_that_cannot_be_called_does_not_keep_a_crash_from_ending(site: Site) -> None:
    with site.worker(settings={"task_max_deliveries": 1}) as worker:
        result = site.call("exits", 3, link_error=site.signature("takes_nothing"))
        with pytest.raises(WorkerLostError):
            result.get(timeout=WAIT)
        worker.wait_for("errback .*cannot be called")


def test_a_crash_is_noticed_though_a_process_keeps_the_connection_open(site: Site) -> None:
    with site.worker():
        assert site.call("forks_and_crashes", "gate").get(timeout=WAIT) == "second delivery"
        site.open_gate("gate")


def test_a_task_that_closes_its_connection_is_dead_before_it_runs_again(site: Site) -> None:
    with site.worker() as worker:
        assert site.call("closes_everything").get(timeout=WAIT) == "it is gone"
        assert worker.stop() == 0
    site.assert_nothing_left()


def test_killing_an_idle_child_costs_nothing(site: Site) -> None:
    with site.worker() as worker:
        site.call("add", 1, 1).get(timeout=WAIT)
        victims = worker.child_pids
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        results = site.calls("add", [(n, n) for n in range(20)])
        assert site.app.results(results).get(timeout=WAIT) == [2 * n for n in range(20)]
        eventually(lambda: len(worker.child_pids) == 2, "two children")
        assert not set(victims) & set(worker.child_pids)
    site.assert_nothing_left()


# -- the node


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_node_is_replaced_and_its_work_resumes(site: Site, pool: str) -> None:
    with site.worker(pool=pool) as worker:
        running = site.calls("gated", [("a", 1), ("b", 2)])
        waiting = site.calls("add", [(n, n) for n in range(50)])
        site.wait_for_note("begun", "a")
        site.wait_for_note("begun", "b")
        old_node, old_children = worker.node_pid, worker.child_pids
        os.kill(old_node, signal.SIGKILL)
        worker.wait_for("The node .* was killed by SIGKILL")
        worker.wait_for(r" ready\.", count=2)
        site.wait_for_note("begun", "a", count=2)
        site.open_gate("a")
        site.open_gate("b")
        assert site.app.results(running).get(timeout=WAIT) == [1, 2]
        assert site.app.results(waiting).get(timeout=WAIT) == [2 * n for n in range(50)]
        # What ran under the old node was stopped before it ran again: nobody ran beside it.
        assert site.notes().count("ended a") == 1
        assert not {old_node, *old_children} & {worker.node_pid, *worker.child_pids}
        assert worker.stop() == 0
    site.assert_nothing_left()


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)  # not a matter of the broker
def test_a_node_that_is_slow_to_read_is_told_of_all_its_children(site: Site) -> None:
    """They are started long before it reads, and the link has no room for so many."""
    with site.worker(program="narrow", concurrency=16) as worker:
        results = site.calls("gated", [(str(n), n) for n in range(16)])
        for n in range(16):
            site.wait_for_note("begun", n)
        for n in range(16):
            site.open_gate(str(n))
        assert site.app.results(results).get(timeout=WAIT) == list(range(16))
        assert worker.stop() == 0
        assert "The node" not in worker.log


def test_when_the_node_dies_in_a_shutdown_what_runs_is_stopped(site: Site) -> None:
    with site.worker(settings={"worker_lease": 2}) as worker:
        result = site.call("gated", "a", 1)
        site.wait_for_note("begun", "a")
        worker.signal(signal.SIGTERM)
        worker.wait_for("waiting for 1 running task")
        os.kill(worker.node_pid, signal.SIGKILL)
        worker.wait_for("The node .* was killed by SIGKILL during the shutdown")
        # Its end could be told to nobody, and it will be run again.
        site.open_gate("a")
        assert worker.wait() == 1
        assert site.notes() == ["begun a"]
        assert worker.left_behind() == []
    with site.worker():
        assert result.get(timeout=WAIT) == 1
    assert site.notes() == ["begun a", "begun a", "ended a"]
    site.assert_nothing_left()


def test_a_node_that_never_lives_long_is_given_up(site: Site) -> None:
    with site.worker() as worker:
        for attempt in range(5):
            worker.wait_for(r" ready\.", count=attempt + 1)
            os.kill(worker.node_pid, signal.SIGKILL)
        assert worker.wait() == 1
        assert "Giving up" in worker.log
        assert worker.left_behind() == []


# -- the supervisor


def test_when_the_supervisor_dies_all_end_and_another_worker_goes_on(site: Site) -> None:
    with site.worker() as worker:
        results = site.calls("gated_counting", [("a",), ("b",)])
        site.wait_for_note("begun", "a")
        site.wait_for_note("begun", "b")
        worker.signal(signal.SIGKILL)
        eventually(lambda: worker.left_behind() == [], "the end of all its processes")
    with site.worker("-n", "second@%h"):
        site.wait_for_note("begun", "a", count=2)
        site.open_gate("a")
        site.open_gate("b")
        # The node had time to give them back, so it was no crash of theirs.
        assert site.app.results(results).get(timeout=WAIT) == [1, 1]
    site.assert_nothing_left()


def test_when_all_processes_die_at_once_the_leases_bring_the_work_back(site: Site) -> None:
    with site.worker(settings={"worker_lease": 2}) as worker:
        result = site.call("gated_counting", "a")
        site.wait_for_note("begun", "a")
        worker.signal_group(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL
    with site.worker():
        site.wait_for_note("begun", "a", count=2)
        site.open_gate("a")
        assert result.get(timeout=WAIT) == 2
    site.assert_nothing_left()
