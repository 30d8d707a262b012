"""What can happen to a database file: no room on its disk, a lock that somebody keeps, a process killed as it writes."""

from __future__ import annotations

import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apsw
import pytest

from umbel import AsyncResult
from umbel.errors import BrokerUnavailable, OperationalError, StoreFull
from worker.harness import HERE, Site, Worker, eventually

from .points import Points

WAIT = 30.0
DISKS = ["tmpfs", "quota"] if os.geteuid() == 0 else ["quota"]


def assert_sound(path: pathlib.Path) -> None:
    """The database is not damaged, as SQLite itself sees it."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(10_000)  # whoever closes the file last holds it for a moment
        assert connection.pragma("integrity_check") == "ok"
    finally:
        connection.close()


# -- no room


class Disk:
    """A directory whose room can be taken away and given back."""

    error: type[OperationalError] = StoreFull

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory

    def fill(self, worker: Worker) -> None:
        """Leave no room for one more page."""
        with (self.directory / "filler").open("wb", buffering=0) as filler:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    continue

    def make_room(self, worker: Worker) -> None:
        (self.directory / "filler").unlink()


class Quota(Disk):
    """Where nobody may mount: no process that uses the database may let a file grow."""

    error = OperationalError

    def fill(self, worker: Worker) -> None:
        self._limit(worker, 1)

    def make_room(self, worker: Worker) -> None:
        self._limit(worker, resource.RLIM_INFINITY)

    def _limit(self, worker: Worker, size: int) -> None:
        for pid in (os.getpid(), worker.node_pid):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture(params=DISKS)
def disk(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Disk]:
    directory = tmp_path / "disk"
    directory.mkdir()
    if request.param == "quota":
        yield Quota(directory)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return
    # Larger than the log may become before it is emptied into the file, for which there must be room as well.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "umbel-test", str(directory)], check=True)
    try:
        yield Disk(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_full_disk_refuses_calls_and_loses_nothing(disk: Disk, tmp_path: pathlib.Path) -> None:
    path = disk.directory / "queue.db"
    site = Site(tmp_path / "site", f"sqlite:///{path}")
    with site.worker(app="outcome_jobs") as worker:
        running = site.calls("gated", [("a", "x"), ("b", "y")])
        site.wait_for_note("begun", "a")
        site.wait_for_note("begun", "b")
        accepted = [site.call("add", n, n) for n in range(20)]
        site.open_gate("a")
        site.open_gate("b")
        late = [site.call("gated_where", "c"), site.call("gated_where", "d")]
        site.wait_for_note("begun", "c")
        site.wait_for_note("begun", "d")
        assert site.app.results([*running, *accepted]).get(timeout=WAIT) == [
            "x",
            "y",
            *(2 * n for n in range(20)),
        ]
        waiting = [site.call("add", 1, n) for n in range(50)]

        disk.fill(worker)
        begun = time.monotonic()
        with pytest.raises(disk.error, match=r"nothing was written|cannot be .*written"):
            _call_until_refused(site, waiting)
        assert time.monotonic() - begun < WAIT
        site.open_gate("c")
        site.open_gate("d")
        worker.wait_for("Cannot (settle|fetch)")
        disk.make_room(worker)

        assert len(set(site.app.results(late).get(timeout=WAIT))) == 2
        answers = site.app.results(waiting).get(timeout=WAIT)
        assert answers[:50] == [1 + n for n in range(50)]
        assert site.call("add", 2, 2).get(timeout=WAIT) == 4
        site.assert_nothing_left()
        assert worker.stop() == 0
    runs = Counter(line for line in site.notes() if line.startswith("begun"))
    assert set(runs.values()) == {1}
    site.close()
    assert_sound(path)


def _call_until_refused(site: Site, accepted: list[AsyncResult[Any]]) -> None:
    """The log has room of its own, which is used up first."""
    for _ in range(500):
        accepted.append(site.call("add", 1, 1, headers={"large": "x" * 20_000}))


# -- a lock


def test_a_lock_that_somebody_keeps_stops_all_until_he_dies(tmp_path: pathlib.Path) -> None:
    """A program hangs in the middle of its transaction for longer than anybody waits for it, and is killed there."""
    path = tmp_path / "queue.db"
    site = Site(tmp_path, f"sqlite:///{path}?busy_timeout=0.5")
    site.app.conf.broker_send_timeout = 2
    points = Points(tmp_path / "points")
    with site.worker(app="outcome_jobs") as worker:
        running = site.calls("gated", [("a", 1), ("b", 2)])
        site.wait_for_note("begun", "a")
        site.wait_for_note("begun", "b")
        waiting = [site.call("add", n, n) for n in range(50)]
        holder = _hang_inside_a_transaction(site, points)

        begun = time.monotonic()
        with pytest.raises(
            BrokerUnavailable, match=r"has been locked by another process .*nothing was written"
        ):
            site.call("add", 1, 1)
        assert time.monotonic() - begun < WAIT / 2
        site.open_gate("a")
        site.open_gate("b")
        worker.wait_for("Cannot settle .*locked by another process")
        assert running[0].state == "PENDING"  # one can still read

        holder.kill()
        holder.wait()
        assert site.app.results(running).get(timeout=WAIT) == [1, 2]
        assert site.app.results(waiting).get(timeout=WAIT) == [2 * n for n in range(50)]
        assert site.call("add", 1, 1).get(timeout=WAIT) == 2
        assert site.app.AsyncResult("half-sent").state == "PENDING"
        assert worker.stop() == 0
    assert sorted(site.notes()) == ["begun a", "begun b", "ended a", "ended b"]
    site.assert_nothing_left()
    site.close()
    assert_sound(path)


def _hang_inside_a_transaction(site: Site, points: Points) -> subprocess.Popen[bytes]:
    number = points.arm("sqlite.send_written", "hang")
    environment = {
        **os.environ,
        "JOBS_DIR": str(site.directory),
        "PYTHONPATH": str(HERE),
        "UMBEL_BROKER_URL": site.broker_url,
        "UMBEL_FAULT_POINTS": str(points.directory),
    }
    program = "from outcome_jobs import works; works.apply_async((1,), task_id='half-sent')"
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    eventually(lambda: points.passed("sqlite.send_written") >= number, "a program inside a transaction")
    return process


# -- kills


def test_everything_killed_again_and_again_leaves_a_sound_database(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "queue.db"
    site = Site(tmp_path, f"sqlite:///{path}")
    settings = {"worker_lease": 1, "task_max_deliveries": 20}
    results = site.calls("mark", [(n,) for n in range(600)])
    for kill in range(4):
        with site.worker("-n", f"{kill}@%h", settings=settings) as worker:
            eventually(lambda: len(site.notes()) > 120 * kill, "some runs")  # noqa: B023 - called at once
            worker.signal_group(signal.SIGKILL)
            worker.wait()
        assert_sound(path)
    with site.worker("-n", "last@%h", settings=settings):
        assert site.app.results(results).get(timeout=WAIT) == list(range(600))
    assert set(site.notes()) == {f"ran {n}" for n in range(600)}
    site.assert_nothing_left()
    site.close()
    assert_sound(path)
