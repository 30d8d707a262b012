"""Kill a process at every point between two steps, from the call to the settlement, and look at what there is then.

While the node lies dead and nobody has replaced it (the supervisor is stopped), a call is either still a message, or its
outcome is stored and what follows from it is sent: where broker and result store are one, never both and never neither.
Where they are two, both is allowed: it repeats, and loses nothing. Afterwards all goes on, and everything ends once.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import apsw
import pytest

from servers import RedisServer
from umbel import AsyncResult
from umbel.ports import Park, Shelf, Signal
from worker.harness import HERE, Site, Worker, eventually

from .points import Points, all_points

WAIT = 30.0
SHELVES: tuple[Shelf, ...] = ("waiting", "scheduled", "held", "parked", "dead")

IN_NODE = {
    "fetcher.reserved": "all",
    "fetcher.acknowledged": "all",
    "crew.promised": "all",
    "crew.handed": "all",
    "node.heard": "all",
    "node.child_lost": "all",
    "settler.recorded": "all",
    "settler.sent": "all",
    "settler.fenced": "apart",
    "settler.stored": "apart",
    "settler.settled": "all",
    "upkeep.unparked": "all",
    "sqlite.overdue_brought_back": "sqlite",
    "sqlite.reserve_written": "sqlite",
    "sqlite.settle_removed": "sqlite",
    "sqlite.settle_written": "sqlite",
    "sqlite.reclaim_written": "sqlite",
    "sqlite.unpark_written": "sqlite",
    "redis.moved": "redis apart",
    # "sql" is the database of a Django project: tests/django/test_database_chaos.py
    "sql.overdue_brought_back": "sql",
    "sql.reserve_written": "sql",
    "sql.settle_removed": "sql",
    "sql.settle_written": "sql",
    "sql.reclaim_written": "sql",
    "sql.unpark_written": "sql",
}
"""Points that the node passes, and on which backends."""
NEXT_NODE = ("sqlite.reclaim_written", "sql.reclaim_written")
"""Those that are passed by the node that replaces another one."""
IN_CHILD = ("child.claimed", "child.ran", "child.reported")
IN_CLIENT = (
    "client.prepared",
    "client.sent",
    "sqlite.send_written",
    "redis.send_written",
    "sql.send_written",
)
IN_COMMAND = ("sqlite.requeue_written", "sql.requeue_written")
ELSEWHERE = {"joining.arrived": "test_joins.py"}
"""Points that other tests visit: name, and the file of the test."""
BACKENDS = ("sqlite", "redis", "apart")
EARLY = ("fetcher.acknowledged", "settler.sent")
"""Here what matters is a call that is acknowledged before it runs."""


def test_every_fault_point_is_visited() -> None:
    assert set(all_points()) == {*IN_NODE, *IN_CHILD, *IN_CLIENT, *IN_COMMAND, *ELSEWHERE}


def visits(backends: Sequence[str] = BACKENDS) -> Iterator[Any]:
    for backend in backends:
        for name in [*IN_NODE, *IN_CHILD]:
            where = IN_NODE.get(name, "all")
            # Where results are kept apart, only the settler does other things than elsewhere.
            usual = where == "all" and (backend != "apart" or name.startswith(("settler.", "node.")))
            if usual or backend in where.split():
                yield pytest.param(backend, name, id=f"{backend}-{name}")


class Faulty(NamedTuple):
    """A worker whose fault points can be armed, and its site."""

    site: Site
    worker: Worker
    points: Points
    apart: bool
    """Results are kept on another server than the queues."""


@pytest.fixture(scope="module")
def faulty(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_site: Callable[[str, pathlib.Path], Site],
) -> Iterator[Faulty]:
    """One worker for all points of a backend: it survives every one of them."""
    backend, directory = request.param, tmp_path_factory.mktemp("site")
    if backend == "apart":
        with RedisServer(tmp_path_factory.mktemp("store")) as store:
            here = make_site("redis", directory / "unused")
            yield from _faulty(Site(directory, here.broker_url, store.url()), apart=True)
            here.close()
    else:
        yield from _faulty(make_site(backend, directory), apart=False)


def _faulty(site: Site, *, apart: bool) -> Iterator[Faulty]:
    points = Points(site.directory / "points")
    settings = {"fault_points": points.directory}
    with site.worker(app="outcome_jobs", settings=settings) as worker:
        yield Faulty(site, worker, points, apart)
        assert worker.stop() == 0, worker.log
    site.close()


class Workload:
    """Calls of every kind, and what must be true of them."""

    def __init__(self, faulty: Faulty) -> None:
        self.site, self.apart = faulty.site, faulty.apart
        self.plain: list[AsyncResult[Any]] = []
        self.followed: list[AsyncResult[Any]] = []
        self.retried: list[AsyncResult[Any]] = []
        self.rejected: list[AsyncResult[Any]] = []
        self.early: list[AsyncResult[Any]] = []

    def send(self, *, early: bool) -> None:
        """Send them, in an order in which no kind is always first."""
        call, follow = self._call, self.site.app.signature("outcome_jobs.follows")
        for n in range(3):
            if early:
                self.early.append(call("works_early", n, link=follow))
                continue
            self.followed.append(call("works", n, link=follow))
            self.plain.append(call("works_tracked", n))
            self.retried.append(call("works_at_second_try", n))
            self.rejected.append(call("is_rejected"))
            self.followed.append(call("works", n, chain=[follow]))
            self.plain.append(call("works", n, countdown=0.02 * n))

    def _call(self, task: str, *args: object, **options: Any) -> AsyncResult[Any]:
        return self.site.call(f"outcome_jobs.{task}", *args, **options)

    # -- while the node is dead

    def check_frozen(self) -> None:
        """Nothing moves just now: is each call in one place, or ended with all that belongs to it?"""
        # Shelves are looked at one after the other: nothing may fall due in between.
        eventually(lambda: not self.site.shelf("scheduled"), "that all is due")
        places = self._places()
        parents = {frame_parent for _, frame_parent in places.values() if frame_parent}
        parents |= set(self._follow_ups())
        for result in [*self.plain, *self.followed, *self.retried]:
            stored, kept = result.state == "SUCCESS", result.id in places
            assert stored or kept, f"{result.id} is lost"
            if not self.apart:
                assert not (stored and kept), f"{result.id} has ended and is there still"
        for result in self.followed:
            if result.id not in places:
                assert result.id in parents, f"what follows {result.id} is lost"
        for result in self.rejected:
            assert result.id in places, f"{result.id} is lost"
            if not self.apart:
                assert (result.state == "FAILURE") == (places[result.id][0] == "dead")

    def _places(self) -> dict[str, tuple[Shelf, str | None]]:
        """By task id: on which shelf its message is, and its parent's id. Each is on one shelf at most."""
        places: dict[str, tuple[Shelf, str | None]] = {}
        for shelf in SHELVES:
            for message in self.site.shelf(shelf):
                assert message.task_id not in places, f"{message.task_id} is in two places"
                assert message.frame is not None
                places[message.task_id] = (shelf, message.frame.headers.get("parent_id"))
        return places

    def _follow_ups(self) -> dict[str, set[str]]:
        """By parent: the ids of the follow-ups that have run."""
        found: dict[str, set[str]] = {}
        for line in self.site.notes():
            word, parent, *own = line.split()
            if word == "followed":
                found.setdefault(parent, set()).add(own[0])
        return found

    # -- at the end

    def check_ended(self) -> None:
        """Everything has ended, nothing is left, and nothing was sent twice."""
        for result in [*self.plain, *self.followed, *self.retried]:
            result.get(timeout=WAIT)
        eventually(lambda: all(result.state == "FAILURE" for result in self.rejected), "the rejections")
        self._check_early()
        eventually(
            lambda: set(self._follow_ups()) >= {result.id for result in self.followed}, "the follow-ups"
        )
        eventually(lambda: not any(self.site.shelf(shelf) for shelf in SHELVES[:4]), "nothing left")
        assert {parent: ids for parent, ids in self._follow_ups().items() if len(ids) > 1} == {}
        own = {result.id for result in self.rejected}
        letters = [letter for letter in self.site.shelf("dead") if letter.task_id in own]
        assert sorted(letter.task_id for letter in letters) == sorted(own)
        keys = [letter.key for letter in letters]
        assert self.site.ask(lambda broker: broker.discard("dead", keys)) == len(keys)
        runs = Counter(line.split()[1] for line in self.site.notes() if line.startswith("ran "))
        for result in [*self.plain, *self.followed, *self.rejected]:
            assert 1 <= runs[result.id] <= 2
        for result in self.retried:
            assert 2 <= runs[result.id] <= 3

    def _check_early(self) -> None:
        """Acknowledged before they ran, they run once at most: that is what was asked for."""
        runs = Counter(line.split()[1] for line in self.site.notes() if line.startswith("ran "))
        assert all(runs[result.id] <= 1 for result in self.early)


@pytest.mark.parametrize(("faulty", "name"), list(visits()), indirect=["faulty"], scope="module")
def test_a_process_killed_there_loses_nothing_and_doubles_nothing(faulty: Faulty, name: str) -> None:
    _site, worker, points, _apart = faulty
    wait_until_settled(worker)
    node, workload = worker.node_pid, Workload(faulty)
    points.arm(name)
    if name in IN_NODE and name not in NEXT_NODE:
        with _supervisor_stopped(worker):
            TRIGGERS.get(name, _send)(faulty, workload, name)
            eventually(lambda: _has_died(node), f"the end of the node at {name}")
            assert points.struck(name)
            workload.check_frozen()
    else:
        TRIGGERS.get(name, _send)(faulty, workload, name)
    eventually(lambda: points.struck(name), name)
    points.disarm(name)
    workload.check_ended()
    if name in IN_NODE:
        eventually(
            lambda: not pathlib.Path(f"/proc/{node}").exists(), "the end of the node for its parent, too"
        )
        wait_until_settled(worker, age=0)
    if faulty.site.broker_url.startswith("sqlite"):
        assert_sound(faulty.site)


def _send(faulty: Faulty, workload: Workload, name: str) -> None:
    workload.send(early=name in EARLY)


def _lose_a_child(faulty: Faulty, workload: Workload, name: str) -> None:
    """Something runs when its child is killed."""
    faulty.points.arm("child.ran", "hang")
    workload.send(early=False)
    eventually(lambda: faulty.points.struck("child.ran"), "a running task")
    for pid in faulty.worker.child_pids:
        os.kill(pid, signal.SIGKILL)
    faulty.points.disarm("child.ran")


def _lose_the_node(faulty: Faulty, workload: Workload, name: str) -> None:
    """The next node is the one that takes things back, and dies of it."""
    node = faulty.worker.node_pid
    faulty.points.arm("child.ran", "hang")
    workload.send(early=False)
    eventually(lambda: faulty.points.struck("child.ran"), "a running task")
    os.kill(node, signal.SIGKILL)
    faulty.points.disarm("child.ran")


def _park(faulty: Faulty, workload: Workload, name: str) -> None:
    """Something is parked that this worker knows."""
    site = faulty.site
    call = site.call("outcome_jobs.works", 1, queue="aside")

    async def park(broker: Any) -> None:
        (delivery,) = await broker.reserve(["aside"], limit=1, lease=60, wait=0)
        await broker.settle([Park(receipt=delivery.receipt, reason="the test has parked it")])
        await broker.publish(Signal(kind="parked", ids=["outcome_jobs.works"]))

    site.ask(park)
    eventually(lambda: faulty.points.struck(name), name)
    found = site.shelf("parked") + site.shelf("waiting")
    assert [message.task_id for message in found] == [call.id]
    if not site.shelf("waiting"):
        keys = [found[0].key]
        assert site.ask(lambda broker: broker.requeue("parked", keys)) == 1
    assert site.ask(lambda broker: broker.purge(["aside"])) == 1


TRIGGERS: dict[str, Callable[[Faulty, Workload, str], None]] = {
    "node.child_lost": _lose_a_child,
    "sqlite.reclaim_written": _lose_the_node,
    "sql.reclaim_written": _lose_the_node,
    "upkeep.unparked": _park,
    "sqlite.unpark_written": _park,
    "sql.unpark_written": _park,
}


@contextlib.contextmanager
def _supervisor_stopped(worker: Worker) -> Iterator[None]:
    """Nobody replaces what dies, so that one can look at what there is."""
    worker.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.signal(signal.SIGCONT)


def _has_died(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_settled(worker: Worker, age: float = 1.1) -> None:
    """A node that dies young, again and again, is given up: let it grow up between two tests."""
    eventually(lambda: _age(worker) > age, "a node that has lived for a while, and its children")


def _age(worker: Worker) -> float:
    try:
        stat = pathlib.Path(f"/proc/{worker.node_pid}/stat").read_text().rpartition(")")[2].split()
        if len(worker.child_pids) < 2:
            return 0.0
    except (ValueError, FileNotFoundError):  # there is no node just now
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / os.sysconf("SC_CLK_TCK")


def assert_sound(site: Site) -> None:
    """The database is not damaged."""
    connection = apsw.Connection(site.broker_url.removeprefix("sqlite:///"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        assert connection.pragma("integrity_check") == "ok"
    finally:
        connection.close()


# -- programs that call, and commands


def _run(site: Site, points: Points, *command: str) -> int:
    """Run a program on the site, with its fault points armed."""
    environment = {
        **os.environ,
        "JOBS_DIR": str(site.directory),
        "PYTHONPATH": str(HERE),
        "UMBEL_BROKER_URL": site.broker_url,
        "UMBEL_RESULT_BACKEND": site.result_url,
        "UMBEL_FAULT_POINTS": str(points.directory),
        **site.environment,
    }
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(done.stdout + done.stderr)
    return done.returncode


CALL = "from outcome_jobs import works; [works.apply_async((1,), task_id=id) for id in {}]"


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        (backend, name)
        for backend in ("sqlite", "redis")
        for name in IN_CLIENT
        if name.startswith(("client.", backend))
    ],
)
def test_a_program_killed_while_it_calls_has_sent_it_or_not(
    tmp_path: pathlib.Path, make_site: Callable[[str, pathlib.Path], Site], backend: str, name: str
) -> None:
    site, points = make_site(backend, tmp_path), Points(tmp_path / "points")
    number = points.arm(name)
    # The first call of a program also makes its queue known to Redis, on another path.
    warm_up = ["warm-up"] if name == "redis.send_written" else []
    code = _run(site, points, "-c", CALL.format([*warm_up, "first"]))
    assert code == -signal.SIGKILL
    assert points.passed(name) == number
    sent = len(site.shelf("waiting")) - len(warm_up)
    if name in ("redis.send_written", "sql.send_written"):
        # The server may carry out what it has read, now or a moment later.
        assert sent in (0, 1)
    else:
        assert sent == (1 if name == "client.sent" else 0)
    points.disarm(name)
    if backend == "sqlite":
        assert_sound(site)
    assert _run(site, points, "-c", CALL.format(["second"])) == 0
    assert "second" in [message.task_id for message in site.shelf("waiting")]
    site.close()


@pytest.mark.parametrize("name", ["sqlite.requeue_written"])
def test_a_command_killed_while_it_requeues_has_done_so_or_not(
    site: Site, tmp_path: pathlib.Path, name: str
) -> None:
    points = Points(tmp_path / "points")
    with site.worker(app="outcome_jobs"):
        result = site.call("outcome_jobs.is_rejected")
        site.wait_for_shelf("dead")
    command = ("-m", "umbel", "-A", "outcome_jobs", "dead", "requeue", result.id)
    points.arm(name)
    killed = not site.broker_url.startswith("redis")
    assert _run(site, points, *command) == (-signal.SIGKILL if killed else 0)
    assert len(site.shelf("dead")) + len(site.shelf("waiting")) == 1
    points.disarm(name)
    if site.broker_url.startswith("sqlite"):
        assert_sound(site)
    if killed:
        assert _run(site, points, *command) == 0
    (message,) = site.shelf("waiting")
    assert (message.task_id, site.shelf("dead")) == (result.id, [])
