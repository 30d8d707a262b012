"""Workers whose clock is an hour off, by the real libfaketime: what waits for a time, and what must not, is not confused.

Redis has a clock of its own, and all times are its times. A database file has none: those who share it share a machine,
and so a clock. There, what is held is safe from it.
"""

from __future__ import annotations

import functools
import os
import pathlib
import time
from collections.abc import Callable
from unittest import mock

import pytest

from umbel.errors import TaskRevokedError
from worker.harness import Site, Worker, eventually

WAIT = 30.0
HOUR = 3600.0
LEASE = 8.0  # libfaketime makes a busy machine slow
HOLD = 1.2 * LEASE  # a lease that goes by a clock an hour off ends at once, or never


@functools.cache
def libfaketime() -> str:
    """The library that makes a process believe in another time."""
    for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib"):
        for found in sorted(pathlib.Path(folder).rglob("libfaketimeMT.so*")):
            return str(found)
    raise RuntimeError("libfaketime is not installed: scripts/need-servers installs it")


def _skewed_worker(site: Site, offset: str, *arguments: str) -> Worker:
    """A worker whose wall clock is wrong. Its steady clock is right, as on a machine where somebody has set the time."""
    wrong = {
        "LD_PRELOAD": libfaketime(),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Without it, libfaketime 0.9.10 takes the instant until which a thread waits for the interpreter for one of the clock that it
        # fakes: a thread that computes is never asked to give way, and whoever renews the leases may not get to it.
        "FAKETIME_FORCE_MONOTONIC_FIX": "1",
    }
    settings = {"worker_lease": LEASE}
    with mock.patch.dict(os.environ, wrong):
        return Worker(site, "-n", f"skewed{offset}@%h", *arguments, app="outcome_jobs", settings=settings)


def test_a_lease_does_not_end_for_a_wrong_clock(site: Site) -> None:
    """One worker is an hour ahead, one an hour behind; one whose clock is right waits for what they lose."""
    ahead = _skewed_worker(site, "+1h", "-Q", "ahead")
    behind = _skewed_worker(site, "-1h", "-Q", "behind")
    right = Worker(
        site,
        *("-n", "right@%h", "-Q", "ahead,behind"),
        app="outcome_jobs",
        settings={"worker_lease": LEASE},
    )
    try:
        for worker, queue, offset in ((ahead, "ahead", HOUR), (behind, "behind", -HOUR)):
            worker.start()
            shown = site.call("outcome_jobs.tells_time", queue=queue).get(timeout=WAIT)
            assert abs(shown - offset - time.time()) < 120, "its clock is right: this proves nothing"
        running = [site.call("outcome_jobs.holds_gil", HOLD, queue=queue) for queue in ("ahead", "behind")]
        for call in running:
            site.wait_for_note("ran", call.id)
        right.start()
        assert site.app.results(running).get(timeout=WAIT) == [1, 1]
        assert sorted(line for line in site.notes() if "ran" in line) == sorted(
            f"ran {c.id}" for c in running
        )
        assert "received" not in right.log
        for worker in (ahead, behind, right):
            assert "LeaseLost" not in worker.log, worker.log
            assert worker.stop() == 0
        site.assert_nothing_left()
    finally:
        for worker in (ahead, behind, right):
            worker.kill_everything()


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_on_redis_all_times_are_the_servers(
    tmp_path: pathlib.Path, make_site: Callable[[str, pathlib.Path], Site], offset: str
) -> None:
    site = make_site("redis", tmp_path)
    worker = _skewed_worker(site, offset)
    try:
        worker.start()
        begun = time.monotonic()
        scheduled = site.call("outcome_jobs.works", 1, countdown=1.5)
        retried = site.call("outcome_jobs.retries_later", 1.5)
        lives_on = site.call("outcome_jobs.works", 2, expires=60)
        expired = site.call("outcome_jobs.works", 3, countdown=1.5, expires=0.5)
        site.call("outcome_jobs.sends_once", "key").get(timeout=WAIT)
        assert lives_on.get(timeout=WAIT) == 2
        assert scheduled.get(timeout=WAIT) == 1
        assert time.monotonic() - begun >= 1.5
        assert retried.get(timeout=WAIT) >= 1.5
        with pytest.raises(TaskRevokedError, match="expired"):
            expired.get(timeout=WAIT)
        assert f"ran {expired.id}" not in site.notes()

        # A key that a skewed program has used is known to one whose clock is right.
        message = site.app.client.prepare("jobs.mark", (1,), {}, {"queue": "aside"}).outgoing
        message.dedupe_key, message.dedupe_window = "key", 60.0
        site.app.broker.send_now([message])
        eventually(lambda: site.shelf("waiting"), "the first of them")
        assert len(site.shelf("waiting")) == 1
        assert site.ask(lambda broker: broker.purge(["aside"])) == 1
        assert worker.stop() == 0
    finally:
        worker.kill_everything()
        site.close()
