"""A run that wakes up when another one has taken its place: it is stopped, it writes nothing, and the log says so."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import apsw
import pytest

from servers import RedisServer
from worker.harness import Site, Worker, eventually

WAIT = 30.0
LEASE = 1.0
ASYNC = {"asyncio": "says_which_async"}


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    tmp_path: pathlib.Path,
    make_site: Callable[[str, pathlib.Path], Site],
) -> Iterator[Site]:
    """A site; on ``apart`` the results are on another server than the queues."""
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


def _worker(site: Site, name: str, pool: str = "prefork", lease: float = LEASE) -> Worker:
    return Worker(site, "-n", f"{name}@%h", app="outcome_jobs", pool=pool, settings={"worker_lease": lease})


CASES = [
    *(
        (place, pool, "running")
        for place in ("sqlite", "redis")
        for pool in ("prefork", "threads", "asyncio")
    ),
    ("apart", "prefork", "running"),
    *((place, "prefork", "finished") for place in ("sqlite", "redis", "apart")),
]


@pytest.mark.parametrize(("place", "pool", "late"), CASES, indirect=["place"], ids=map("-".join, CASES))
def test_a_run_that_wakes_up_late_writes_nothing(place: Site, pool: str, late: str) -> None:
    site, old, new = place, _worker(place, "old", pool), _worker(place, "new", pool, lease=30)
    try:
        old.start()
        result = site.call(f"outcome_jobs.{ASYNC.get(pool, 'says_which')}", "a")
        site.wait_for_note("begun", "a", 1)
        old.freeze()
        new.start()
        site.wait_for_note("begun", "a", 2)
        site.open_gate("a-2")
        assert result.get(timeout=WAIT) == 2
        if late == "finished":
            site.open_gate("a-1")
        old.signal_group(signal.SIGCONT)
        old.wait_for(rf"{result.id}\] LeaseLost")
        if late == "running" and pool == "prefork":
            old.wait_for(rf"{result.id}\] LeaseLost.*Its process is killed")
            old.wait_for("was killed by SIGKILL; starting another one")
        if late == "running" and pool == "asyncio":
            site.wait_for_note("interrupted a 1 CancelledError")
        site.open_gate("a-1")
        if pool == "threads":
            site.wait_for_note("ended a 1")
        assert old.stop() == 0
        assert "dead letters" not in old.log
        assert new.stop() == 0
        assert (site.app.AsyncResult(result.id).result, result.state) == (2, "SUCCESS")
        if late == "running" and pool != "threads":
            assert "ended a 1" not in site.notes()
        site.assert_nothing_left()
    finally:
        old.kill_everything()
        new.kill_everything()


@pytest.mark.parametrize("pool", ["prefork", "asyncio"])
def test_stopping_a_superseded_run_leaves_its_neighbours_alone(
    tmp_path: pathlib.Path, make_site: Callable[[str, pathlib.Path], Site], pool: str
) -> None:
    site = make_site("sqlite", tmp_path)
    old, new = _worker(site, "old", pool, lease=3), _worker(site, "new", pool)
    try:
        old.start()
        task = f"outcome_jobs.{ASYNC.get(pool, 'says_which')}"
        lost, kept = site.call(task, "a"), site.call(task, "b")
        site.wait_for_note("begun a 1")
        site.wait_for_note("begun b 1")
        token = _token(site, lost.id)
        new.start()
        # Again, should its node renew it just then.
        eventually(lambda: _end_lease(site, token) or "begun a 2" in site.notes(), "another run")
        old.wait_for(rf"{lost.id}\] LeaseLost")
        for gate in ("a-2", "b-1"):
            site.open_gate(gate)
        assert [lost.get(timeout=WAIT), kept.get(timeout=WAIT)] == [2, 1]
        # The place of the process that was killed is taken again.
        eventually(lambda: len(old.child_pids) == (2 if pool == "prefork" else 1), "its children")
        assert site.call("jobs.add", 1, 1).get(timeout=WAIT) == 2
        assert old.stop() == new.stop() == 0
        site.assert_nothing_left()
    finally:
        old.kill_everything()
        new.kill_everything()
        site.close()


def _token(site: Site, task_id: str) -> str:
    return str(_ask_file(site, "SELECT id || '.' || token FROM messages WHERE task_id = ?", task_id))


def _end_lease(site: Site, token: str) -> None:
    """As if nobody had renewed it in time."""
    _ask_file(site, "UPDATE messages SET lease_until = 0 WHERE id || '.' || token = ?", token)


def _ask_file(site: Site, sql: str, value: object) -> Any:
    connection = apsw.Connection(site.broker_url.removeprefix("sqlite:///"))
    try:
        connection.set_busy_timeout(5000)
        return connection.execute(sql, (value,)).get
    finally:
        connection.close()
