"""Children that are replaced while there is work, and work that is shared out so that nothing waits behind something long."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from worker.harness import Site, eventually

WAIT = 30.0


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
@pytest.mark.parametrize("most", [1, 7])
def test_a_child_is_replaced_after_max_tasks_and_nothing_is_lost(site: Site, pool: str, most: int) -> None:
    count = 6 if most == 1 else 60
    with site.worker("--max-tasks-per-child", str(most), pool=pool) as worker:
        places = site.app.results(site.calls("where", [()] * count)).get(timeout=WAIT)
        tally = Counter(place["pid"] for place in places)
        assert max(tally.values()) <= most
        # Exactly so many, but for those that still live.
        assert sum(number < most for number in tally.values()) <= 2
        assert worker.stop() == 0
        assert "lost" not in worker.log
        assert not any("ERROR" in line for line in worker.lines)
    site.assert_nothing_left()


def test_a_child_that_has_grown_is_replaced_after_its_task(site: Site) -> None:
    with site.worker("--max-memory-per-child", "120000", concurrency=1) as worker:
        pid = site.call("grows", 150).get(timeout=WAIT)
        worker.wait_for(f"Child {pid} uses more than 120000 KiB")
        eventually(lambda: pid not in worker.child_pids and len(worker.child_pids) == 1)
        assert site.call("where").get(timeout=WAIT)["pid"] != pid
        assert worker.stop() == 0
        assert not any("ERROR" in line for line in worker.lines)


def assert_each_ran_once(site: Site, count: int) -> None:
    ran = Counter(site.notes())
    assert len(ran) == count
    assert {line: times for line, times in ran.items() if times != 1} == {}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_thousands_of_tasks_outlive_children_of_a_hundred(site: Site, pool: str) -> None:
    """Children are replaced while the queue is never empty: every task runs, none twice, and none is begun in vain."""
    count, most = 3000, 100
    with site.worker("--max-tasks-per-child", str(most), pool=pool) as worker:
        results = site.calls("hoards", [(n, 0) for n in range(count)])
        assert site.app.results(results).get(timeout=2 * WAIT) == list(range(count))
        assert worker.stop() == 0
        assert "lost" not in worker.log
        assert not any("ERROR" in line for line in worker.lines)
    assert_each_ran_once(site, count)
    site.assert_nothing_left()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_thousands_of_tasks_outlive_children_that_grow(site: Site, pool: str) -> None:
    """Each task keeps 256 KiB: children come over the limit again and again, and are replaced between tasks."""
    count = 2000
    with site.worker("--max-memory-per-child", "150000", pool=pool) as worker:
        results = site.calls("hoards", [(n, 256) for n in range(count)])
        assert site.app.results(results).get(timeout=2 * WAIT) == list(range(count))
        worker.wait_for("uses more than 150000 KiB")
        assert worker.stop() == 0
        assert "lost" not in worker.log
        assert not any("ERROR" in line for line in worker.lines)
    assert_each_ran_once(site, count)
    site.assert_nothing_left()


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_a_long_task_delays_no_short_one(site: Site, pool: str) -> None:
    """The child is fast at first, so that many calls are handed to it at once; the long one is in the middle of them."""
    long = "gated_async" if pool == "asyncio" else "gated"
    with site.worker(pool=pool) as worker:
        warm = site.calls("add", [(n, n) for n in range(300)])
        site.app.results(warm).get(timeout=WAIT)
        calls = [site.signature("add", n, n) for n in range(100)]
        calls.insert(20, site.signature(long, "long", "end"))
        results = site.app.send_many(calls)
        slow = results.pop(20)
        site.wait_for_note("begun", "long")
        assert site.app.results(results).get(timeout=WAIT) == [2 * n for n in range(100)]
        assert not slow.ready()
        site.open_gate("long")
        assert slow.get(timeout=WAIT) == "end"
        assert worker.stop() == 0


def test_what_a_worker_cannot_begin_goes_to_another(site: Site) -> None:
    """The first worker is busy with one long task; what it had fetched beside it is not kept from the second."""
    with site.worker(concurrency=1) as first:
        site.app.results(site.calls("add", [(n, n) for n in range(300)])).get(timeout=WAIT)
        results = site.app.send_many(
            [site.signature("gated", "long"), *(site.signature("add", n, n) for n in range(50))]
        )
        site.wait_for_note("begun", "long")
        with site.worker("-n", "second@%h", concurrency=1):
            assert site.app.results(results[1:]).get(timeout=WAIT) == [2 * n for n in range(50)]
            site.open_gate("long")
            results[0].get(timeout=WAIT)
        assert first.stop() == 0
    site.assert_nothing_left()


def test_a_lease_is_renewed_for_as_long_as_the_task_runs(site: Site) -> None:
    lease = {"worker_lease": 1}
    with site.worker(settings=lease) as one, site.worker("-n", "second@%h", settings=lease) as two:
        result = site.call("sleeps", 3)  # three leases long
        assert result.get(timeout=WAIT) == "slept"
        assert one.stop() == two.stop() == 0
        assert (one.log + two.log).count(f"{result.id}] received") == 1
    site.assert_nothing_left()


def test_a_superseded_run_writes_nothing(site: Site) -> None:
    """A node that does not run for longer than its lease loses its work to another; what it says later is void."""
    with site.worker(settings={"worker_lease": 1}) as late:
        result = site.call("gated_where", "a")
        site.wait_for_note("begun", "a")
        late.freeze(late.node_pid)
        with site.worker("-n", "second@%h") as other:
            site.wait_for_note("begun", "a", count=2)
            site.open_gate("a")
            site.wait_for_note("ended", "a", count=2)
            assert result.get(timeout=WAIT) in other.child_pids
            os.kill(late.node_pid, signal.SIGCONT)
            late.wait_for(rf"{result.id}\] LeaseLost")
            assert site.app.AsyncResult(result.id).result in other.child_pids
            assert late.stop() == other.stop() == 0
    site.assert_nothing_left()
