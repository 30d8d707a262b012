"""Kill children with SIGKILL while they work through many tasks. The ledger that decides is a file that tasks append to."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter

import pytest

from worker.harness import Site, Worker, eventually

TASKS = 2_000
KILLS = 12
WAIT = 60.0


def kill_on_the_way(site: Site, worker: Worker, times: int) -> int:
    """Kill a child at `times` points of the way; returns how many were killed."""
    kills = 0
    chance = random.Random(5)
    for step in range(times):
        goal = TASKS * (step + 1) // (times + 1)
        eventually(lambda: len(site.notes()) >= goal, f"{goal} runs", WAIT)  # noqa: B023 - called at once
        pids = worker.child_pids
        if pids:
            os.kill(chance.choice(pids), signal.SIGKILL)
            kills += 1
    return kills


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_killing_children_in_the_middle_of_2000_tasks_loses_none(site: Site, pool: str) -> None:
    slots = {"prefork": 1, "threads": 8, "asyncio": 8}[pool]
    # With one process for all slots, each kill costs the pause before the next start.
    times = KILLS if pool == "prefork" else KILLS // 2
    # More deliveries than kills: what is tested is that nothing is lost, not that crashes are capped.
    settings = {"task_max_deliveries": KILLS + 2}
    with site.worker(pool=pool, concurrency=2 if pool == "prefork" else slots, settings=settings) as worker:
        results = site.calls("mark", [(n,) for n in range(TASKS)])
        kills = kill_on_the_way(site, worker, times)
        assert kills >= times // 2
        # Every result is there and is its own.
        assert site.app.results(results).get(timeout=WAIT) == list(range(TASKS))
        assert worker.stop() == 0
    runs = Counter(int(line.removeprefix("ran ")) for line in site.notes())
    assert set(runs) == set(range(TASKS))
    # A kill makes run again what had begun, no more: one call for each slot.
    assert sum(runs.values()) - TASKS <= kills * slots
    site.assert_nothing_left()


def test_killing_the_node_in_the_middle_of_2000_tasks_loses_none(site: Site) -> None:
    with site.worker(settings={"task_max_deliveries": KILLS + 2}) as worker:
        results = site.calls("mark", [(n,) for n in range(TASKS)])
        for step in range(4):
            goal = TASKS * (step + 1) // 5
            eventually(lambda: len(site.notes()) >= goal, f"{goal} runs", WAIT)  # noqa: B023 - called at once
            os.kill(worker.node_pid, signal.SIGKILL)
            worker.wait_for(r" ready\.", count=step + 2)
        assert site.app.results(results).get(timeout=WAIT) == list(range(TASKS))
        assert worker.stop() == 0
    runs = Counter(int(line.removeprefix("ran ")) for line in site.notes())
    assert set(runs) == set(range(TASKS))
    site.assert_nothing_left()
