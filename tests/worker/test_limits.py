"""Time limits: soft ones reach the task, hard ones end its process, in every pool; neighbours are not to blame."""

from __future__ import annotations

import pytest

from umbel.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from worker.conftest import Running
from worker.harness import Site

WAIT = 20.0
POOLS = ("prefork", "threads", "asyncio", "solo")


# -- soft


def test_a_task_may_catch_its_soft_limit(running: Running) -> None:
    assert running.site.call("cleans_up").get(timeout=WAIT) == "cleaned up"


@pytest.mark.parametrize("task", ["over_soft", "over_soft_async"])
def test_a_soft_limit_that_is_not_caught_is_a_failure(running: Running, task: str) -> None:
    result = running.site.call(task)
    with pytest.raises(SoftTimeLimitExceeded):
        result.get(timeout=WAIT)
    assert result.state == "FAILURE"


def test_a_coroutine_may_catch_its_soft_limit(running: Running) -> None:
    assert running.site.call("over_soft_async", True).get(timeout=WAIT) == "cleaned up"


def test_a_call_may_bring_a_soft_limit(running: Running, unique: str) -> None:
    result = running.site.call("gated", unique, soft_time_limit=0.2)
    with pytest.raises(SoftTimeLimitExceeded):
        result.get(timeout=WAIT)


def test_no_limit_is_left_for_the_next_task(running: Running) -> None:
    """Tasks that end just before, at and after their limit, then some without one: only limited ones are hit."""
    site = running.site
    limited = [site.call("sleeps", 0.02, soft_time_limit=0.02 + (n - 10) / 5000) for n in range(20)]
    free = site.calls("sleeps", [(0.01,)] * 20)
    for result in limited:
        outcome = result.get(timeout=WAIT, propagate=False)
        assert outcome == "slept" or isinstance(outcome, SoftTimeLimitExceeded)
    assert site.app.results(free).get(timeout=WAIT) == ["slept"] * 20


# -- hard


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
@pytest.mark.parametrize("task", ["over_hard", "over_hard_async"])
def test_a_hard_limit_ends_the_task(site: Site, pool: str, task: str) -> None:
    with site.worker(pool=pool) as worker:
        result = site.call(task, "limited")
        with pytest.raises(TimeLimitExceeded, match=r"0\.4"):
            result.get(timeout=WAIT)
        (letter,) = site.wait_for_shelf("dead")
        assert letter.task_id == result.id
        assert "0.4" in letter.reason
        assert site.notes() == ["begun limited"]
        worker.wait_for(rf"{result.id}\] timeout")
        # Where it ran there is room again.
        assert site.app.results(site.calls("add", [(n, n) for n in range(4)])).get(timeout=WAIT) == [
            0,
            2,
            4,
            6,
        ]
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_neighbours_of_a_task_over_its_hard_limit_run_again_uncounted(site: Site, pool: str) -> None:
    task = "gated_counting_async" if pool == "asyncio" else "gated_counting"
    with site.worker(pool=pool, concurrency=3):
        neighbours = site.calls(task, [("a",), ("b",)])
        site.wait_for_note("begun", "a")
        site.wait_for_note("begun", "b")
        guilty = site.call("over_hard")
        with pytest.raises(TimeLimitExceeded):
            guilty.get(timeout=WAIT)
        site.wait_for_note("begun", "a", count=2)
        site.wait_for_note("begun", "b", count=2)
        site.open_gate("a")
        site.open_gate("b")
        assert site.app.results(neighbours).get(timeout=WAIT) == [1, 1]


def test_a_call_may_bring_a_hard_limit(site: Site) -> None:
    with site.worker():
        result = site.call("gated", "never", time_limit=0.3)
        with pytest.raises(TimeLimitExceeded, match=r"0\.3"):
            result.get(timeout=WAIT)


def test_a_worker_may_set_the_limits(site: Site) -> None:
    with site.worker("--time-limit", "0.5", "--soft-time-limit", "0.2"):
        with pytest.raises(SoftTimeLimitExceeded):
            site.call("gated", "never").get(timeout=WAIT)
        with pytest.raises(TimeLimitExceeded):
            site.call("stubborn").get(timeout=WAIT)


def test_a_hard_limit_in_solo_ends_the_worker_and_the_task(site: Site) -> None:
    """There is one process, so it goes; the task still has its ending, and does not come back."""
    with site.worker(pool="solo") as worker:
        result = site.call("over_hard", "limited")
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=WAIT)
        assert worker.wait() != 0
        assert [letter.task_id for letter in site.wait_for_shelf("dead")] == [result.id]
    assert site.notes() == ["begun limited"]
