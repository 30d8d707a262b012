"""C code that never gives up the GIL stalls its process, and no lease: the process that renews them runs no user code."""

from __future__ import annotations

import contextlib

from worker.harness import Site

WAIT = 30.0
LEASE = 3.0
HOLD = 3.2 * LEASE


def test_a_task_that_holds_the_gil_for_three_leases_runs_once(site: Site) -> None:
    """In each pool, while a worker with free hands waits for a lease to end."""
    settings = {"worker_lease": LEASE}
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                site.worker(
                    *("-n", f"{pool}@%h", "-Q", pool), app="outcome_jobs", pool=pool, settings=settings
                )
            )
            for pool in ("prefork", "threads", "asyncio")
        ]
        results = [
            site.call("outcome_jobs.holds_gil", HOLD, queue="prefork"),
            site.call("outcome_jobs.holds_gil", HOLD, queue="threads"),
            site.call("outcome_jobs.holds_gil_async", HOLD, queue="asyncio"),
        ]
        for result in results:
            site.wait_for_note("ran", result.id)
        arguments = ("-n", "idle@%h", "-Q", "prefork,threads,asyncio")
        idle = stack.enter_context(
            site.worker(*arguments, app="outcome_jobs", concurrency=4, settings=settings)
        )
        assert site.app.results(results).get(timeout=WAIT) == [1, 1, 1]
        assert all("LeaseLost" not in worker.log for worker in [*workers, idle])
        assert "received" not in idle.log
    assert sum(line.startswith("ran ") for line in site.notes()) == 3
    site.assert_nothing_left()
