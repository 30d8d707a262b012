"""The child: where user code runs. It knows the node's socket and nothing of brokers, leases or settlements."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from umbel import faults
from umbel.worker.eventloop import loop_factory
from umbel.worker.ipc import ChildEnd, Done, Dropped, Handed, Ready


class Runs(Protocol):
    """What a pool needs of the runner. It never raises: every ending is a Done."""

    def run(self, call: Handed) -> Done:
        """Run a call in this thread."""
        ...

    async def arun(self, call: Handed) -> Done:
        """Run a call in this loop; a plain function runs in a thread beside it."""
        ...

    def leave(self) -> None:
        """This thread runs nothing more."""
        ...


def serve_serially(end: ChildEnd, runner: Runs, slots: int = 1) -> None:
    """One call after the other, in this thread: ``prefork`` and ``solo``."""
    while (calls := end.receive()) is not None:
        for call in calls:
            if end.claim():
                faults.point("child.claimed")
                done = runner.run(call)
                faults.point("child.ran")
                end.report(done)
                faults.point("child.reported")
            else:
                end.report(Dropped(call.seq))


def serve_in_threads(end: ChildEnd, runner: Runs, slots: int) -> None:
    """`slots` calls at a time, each in a thread: ``threads``."""
    _ThreadPool(end, runner, slots).serve()


class _ThreadPool:
    """A thread that has ended a call begins the next one itself: only an idle one has to be woken."""

    def __init__(self, end: ChildEnd, runner: Runs, slots: int) -> None:
        self._end = end
        self._runner = runner
        self._slots = slots
        self._lock = threading.Lock()
        self._waiting: deque[Handed] = deque()
        self._idle = slots
        self._begun: queue.SimpleQueue[Handed | None] = queue.SimpleQueue()
        """Calls for idle threads; None: go home."""

    def serve(self) -> None:
        for number in range(1, self._slots + 1):
            threading.Thread(target=self._work, name=f"task-{number}", daemon=True).start()
        while (calls := self._end.receive()) is not None:
            with self._lock:
                self._waiting.extend(calls)
                while self._idle and (call := self._next()) is not None:
                    self._idle -= 1
                    self._begun.put(call)
        for _ in range(self._slots):
            self._begun.put(None)

    def _next(self) -> Handed | None:
        """The oldest call that may begin. Taking it and its token is one step, under the lock: a token that the node
        takes back between them would stand for another call than the node thinks."""
        while self._waiting:
            call = self._waiting.popleft()
            if self._end.claim_among_threads():
                return call
            self._end.report(Dropped(call.seq))
        return None

    def _work(self) -> None:
        try:
            while (call := self._begun.get()) is not None:
                while call is not None:
                    self._end.report(self._runner.run(call))
                    with self._lock:
                        call = self._next()
                        self._idle += call is None
        except OSError:
            return  # the node has gone, and this process goes too
        finally:
            self._runner.leave()


def serve_in_loop(end: ChildEnd, runner: Runs, slots: int) -> None:
    """`slots` calls at a time as tasks of one event loop, uvloop's where it is installed: ``asyncio``."""
    with asyncio.Runner(loop_factory=loop_factory()) as loop:
        loop.run(_LoopPool(end, runner.arun, slots).run())


class _LoopPool:
    def __init__(self, end: ChildEnd, arun: Callable[[Handed], Awaitable[Done]], slots: int) -> None:
        self._end = end
        self._arun = arun
        self._slots = slots
        self._waiting: deque[Handed] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        # Plain functions run here. The loop's own executor has a few threads, however many slots there are.
        loop.set_default_executor(ThreadPoolExecutor(self._slots, thread_name_prefix="task"))
        loop.add_reader(self._end.sock, self._readable)
        # uvloop has made it non-blocking: half of a large report would be sent, and the process end by it.
        self._end.sock.setblocking(True)
        await self._closed.wait()
        loop.remove_reader(self._end.sock)
        for task in self._running:
            task.cancel()

    def _readable(self) -> None:
        try:
            data = self._end.sock.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._closed.set()
            return
        self._waiting.extend(self._end.feed(data))
        self._start()

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._slots and not self._closed.is_set():
            call = self._waiting.popleft()
            if self._end.claim():
                task = asyncio.create_task(self._run(call))
                self._running.add(task)
                task.add_done_callback(self._ended)
            else:
                self._end.report(Dropped(call.seq))

    async def _run(self, call: Handed) -> None:
        self._end.report(await self._arun(call))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and isinstance(task.exception(), ConnectionError):
            self._closed.set()
        self._start()


SERVE: dict[str, Callable[[ChildEnd, Runs, int], None]] = {
    "prefork": serve_serially,
    "solo": serve_serially,
    "threads": serve_in_threads,
    "asyncio": serve_in_loop,
}
"""How each pool serves its calls."""


def serve(end: ChildEnd, runner: Runs, pool: str, slots: int, pid: int) -> None:
    """Run what the node hands over, until it closes the connection."""
    try:
        end.report(Ready(pid))
        SERVE[pool](end, runner, slots)
    except (BrokenPipeError, ConnectionResetError):
        # The node has gone: there is nobody to report to. The supervisor starts both anew.
        return
