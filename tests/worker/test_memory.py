"""What a worker remembers does not depend on how much there is to do, nor on how much it has done."""

from __future__ import annotations

import contextlib
import pathlib
import re

import pytest

from umbel.backends.sqlite.database import CACHE_KIB
from worker.harness import Site, Worker, eventually

pytestmark = pytest.mark.serial

QUEUE = "celery"
AN_HOUR = 3600.0
BATCH = 2000
WARM = 5000
"""By then every buffer of a worker has been as full as it gets."""
MEGABYTE = 1 << 20
ROOM = 6 * MEGABYTE
"""For what the memory allocator keeps. A node that remembered 150 bytes of each message would need more."""


def quiet(site: Site) -> contextlib.AbstractContextManager[Worker]:
    """A worker that writes no line for each task (nor that it is ready: that a task has run says as much)."""
    return site.worker(loglevel="warning", ready=False)


def cache_of(site: Site) -> int:
    """Bytes that the broker's driver may keep of what it has read, however much there is."""
    return CACHE_KIB * 1024 if site.broker_url.startswith("sqlite:") else 0


def memory(pid: int, field: str = "VmRSS") -> int:
    """Bytes of physical memory: now, or (``VmHWM``) at most since the process began."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) * 1024


def send(site: Site, count: int, **options: object) -> None:
    for lo in range(0, count, BATCH):
        site.calls("nothing", [()] * min(BATCH, count - lo), **options)


def wait_until_done(site: Site, patience: float) -> None:
    """Wait until nothing waits and nothing runs."""

    def idle() -> bool:
        depth = site.ask(lambda broker: broker.depth([QUEUE]))[QUEUE]
        return depth.waiting + depth.held == 0

    eventually(idle, "an empty queue", patience)


def run(site: Site, count: int) -> None:
    """Run so many no-ops, with never more than some thousands of them in the queue."""
    for lo in range(0, count, 5 * BATCH):
        send(site, min(5 * BATCH, count - lo))
        wait_until_done(site, 60)


def assert_node_does_not_grow(site: Site, due: int, waiting: int, room: int) -> None:
    """A worker that meets a full broker needs no more memory than one that met an empty one."""
    with quiet(site) as worker:
        run(site, WARM)
        before = memory(worker.node_pid, "VmHWM")
        assert worker.stop() == 0
    send(site, due, countdown=AN_HOUR)
    send(site, waiting)
    with quiet(site) as worker:
        wait_until_done(site, 60 + waiting / 100)
        grown = memory(worker.node_pid, "VmHWM") - before
        assert site.ask(lambda broker: broker.depth([QUEUE]))[QUEUE].scheduled == due
        assert worker.stop() == 0
    assert grown < room + cache_of(site)


def assert_flat(site: Site, count: int, most: int) -> None:
    """After a warm-up, `count` more tasks leave nothing behind in any process of the worker.

    `most` is a number of bytes per task: less than the smallest thing that could be kept of each.
    """
    with quiet(site) as worker:
        run(site, 2 * WARM)
        before = {pid: memory(pid) for pid in processes(worker)}
        run(site, count)
        grown = {pid: memory(pid) - bytes_before for pid, bytes_before in before.items()}
        assert set(processes(worker)) == set(before)
        assert worker.stop() == 0
    assert max(grown.values()) < count * most, grown


def processes(worker: Worker) -> list[int]:
    return [worker.pid, worker.node_pid, *worker.child_pids]


def test_a_node_does_not_grow_with_what_waits(site: Site) -> None:
    assert_node_does_not_grow(site, due=40_000, waiting=10_000, room=ROOM)


def test_a_worker_does_not_grow_with_what_it_has_done(site: Site) -> None:
    assert_flat(site, 30_000, most=60)


@pytest.mark.soak
def test_a_node_does_not_grow_with_a_million_that_wait(site: Site) -> None:
    assert_node_does_not_grow(site, due=1_000_000, waiting=200_000, room=20 * MEGABYTE - cache_of(site))


@pytest.mark.soak
def test_a_worker_does_not_grow_with_a_million_that_it_has_done(site: Site) -> None:
    assert_flat(site, 1_000_000, most=3)
