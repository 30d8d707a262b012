"""The bridge between threads, event loops and forked processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from umbel import Umbel, portal


async def where() -> int:
    await asyncio.sleep(0)
    return threading.get_ident()


def in_child(work: str) -> int:
    """Exit status of a process that forks, runs `work` in the child, and passes on the child's status."""
    code = f"import os, sys\nfrom umbel import portal, Umbel\nimport asyncio\n{work}"
    return subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode


def test_all_coroutines_run_on_one_thread_of_their_own() -> None:
    here = threading.get_ident()
    assert portal.run(where()) == portal.run(where()) != here
    assert asyncio.run(portal.arun(where())) == portal.run(where())
    assert portal.submit(where()).result(5) == portal.run(where())


def test_errors_and_timeouts_come_through() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        portal.run(fail())
    cancelled = threading.Event()

    async def sleep() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        portal.run(sleep(), timeout=0.01)
    assert cancelled.wait(5)


def test_cancelling_the_caller_cancels_the_coroutine() -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def sleep() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async def main() -> None:
        waiter = asyncio.ensure_future(portal.arun(sleep()))
        await asyncio.to_thread(started.wait, 5)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter

    asyncio.run(main())
    assert cancelled.wait(5)


def test_waiting_on_its_own_thread_is_refused_not_deadlocked() -> None:
    async def nested() -> int:
        with pytest.raises(RuntimeError, match="own thread"):
            portal.run(where())
        return await portal.arun(where())

    assert portal.run(nested()) == portal.run(where())


def test_many_threads_start_it_once() -> None:
    seen: set[int] = set()
    threads = [threading.Thread(target=lambda: seen.add(portal.run(where()))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1


def test_a_forked_child_gets_a_portal_of_its_own() -> None:
    work = """
async def one(): return 1
assert portal.run(one()) == 1
pid = os.fork()
if pid == 0:
    os._exit(0 if portal.run(one(), timeout=10) == 1 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or portal.run(one()) - 1)
"""
    assert in_child(work) == 0


def test_the_interpreter_ends_at_once_whatever_still_runs() -> None:
    begun = time.monotonic()
    assert in_child("async def long(): await asyncio.sleep(60)\nportal.submit(long())") == 0
    assert time.monotonic() - begun < 20


def test_a_task_is_sent_before_and_after_a_fork(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    work = f"""
app = Umbel('x', broker={url!r}, backend={url!r})
add = app.task(name='add')(lambda x: x)
first = add.delay(1)
assert first.known()
pid = os.fork()
if pid == 0:
    ok = first.known() and add.delay(2).known() and asyncio.run(add.adelay(3)).known()
    os._exit(0 if ok else 1)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
add.delay(4)
app.close()
sys.exit(status)
"""
    assert in_child(work) == 0
    app = Umbel("x", broker=url, backend=url, set_as_current=False)

    async def count() -> int:
        await app.broker.open()
        return (await app.broker.depth(["celery"]))["celery"].waiting

    try:
        assert portal.run(count()) == 4
    finally:
        app.close()


def test_threads_send_at_the_same_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    app = Umbel("x", broker=url, backend=url, set_as_current=False)
    add = app.task(name="add")(lambda x: x)
    threads = [threading.Thread(target=lambda: [add.delay(i) for i in range(10)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def count() -> int:
        await app.broker.open()
        return (await app.broker.depth(["celery"]))["celery"].waiting

    try:
        assert portal.run(count()) == 80
    finally:
        app.close()
