"""The one thread on which the asynchronous interface of a broker or a store does its work."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from umbel.backends.sqlite.database import Database, Unavailable
from umbel.backends.sqlite.location import Location

__all__ = ["DatabaseThread"]

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]


class DatabaseThread:
    """A thread with a database connection. It starts with the first job, and anew in a forked child.

    A store that its broker adopted uses the thread of the broker: it ends when the last of its users has left.
    """

    def __init__(self, location: Location, unavailable: Unavailable) -> None:
        self.database = Database(location, unavailable)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._users: set[int] = set()

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``work(...)`` called on the thread, after what was submitted before."""
        future: Future[T] = Future()
        self._ensure_running()
        self._jobs.put((future, lambda: work(*args, **kwargs)))
        return future

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``submit``, awaited. A job that is cancelled before it began is not done."""
        return await asyncio.wrap_future(self.submit(work, *args, **kwargs))

    def join(self, user: object) -> None:
        """`user` needs the thread until it leaves."""
        self._users.add(id(user))

    async def leave(self, user: object) -> None:
        """`user` needs it no more. The last one ends the thread and closes the connection, after all jobs."""
        self._users.discard(id(user))
        if self._users:
            return
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None or self._pid != os.getpid():
                return
            closed = Future[None]()
            self._jobs.put((closed, self.database.close))
            self._jobs.put(None)
        await asyncio.wrap_future(closed)

    def _ensure_running(self) -> None:
        if self._thread is not None and self._pid == os.getpid():
            return
        with self._lock:
            if self._thread is not None and self._pid == os.getpid():
                return
            # A new queue as well: the old thread may still be emptying the old one, or, after a fork, its
            # lock may be held by a thread that does not exist here.
            self._jobs, self._pid = queue.SimpleQueue(), os.getpid()
            self._thread = threading.Thread(
                target=_work,
                args=(self._jobs,),
                name=f"umbel {self.database.location.path.name}",
                daemon=True,
            )
            self._thread.start()


def _work(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, work = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            result = work()
        except BaseException as exc:  # noqa: BLE001  (goes to whoever waits for the future)
            future.set_exception(exc)
        else:
            future.set_result(result)
        del job, future, work  # or the last job's frames stay alive until the next one
