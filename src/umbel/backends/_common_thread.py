"""The one thread on which the asynchronous interface of a broker or a store does its work."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

__all__ = ["Closable", "DatabaseThread"]

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]


class Closable(Protocol):
    """A connection that the thread closes at its end."""

    def close(self) -> None: ...


D = TypeVar("D", bound=Closable)


class DatabaseThread(Generic[D]):
    """A thread with a database connection. It starts with the first job, and anew in a forked child.

    A store that its broker adopted uses the thread of the broker: it ends when the last of its users has left.
    """

    def __init__(self, database: D, name: str) -> None:
        self.database = database
        self._name = f"umbel {name}"
        self._users: set[int] = set()
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Begin anew: in a forked child the old thread does not exist, and its locks may never be given back."""
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] | None = None
        """None: the thread does not run."""

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``work(...)`` called on the thread, after what was submitted before."""
        future: Future[T] = Future()
        with self._lock:
            if self._jobs is None:
                self._jobs = self._start()
            self._jobs.put((future, lambda: work(*args, **kwargs)))
        return future

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``submit``, awaited. A job that is cancelled before it began is not done."""
        return await asyncio.wrap_future(self.submit(work, *args, **kwargs))

    def join(self, user: object) -> None:
        """`user` needs the thread until it leaves."""
        self._users.add(id(user))

    def leave(self, user: object) -> Future[None]:
        """`user` needs it no more. The last one ends the thread and closes the connection, after all jobs: then the
        future is done."""
        closed = Future[None]()
        self._users.discard(id(user))
        with self._lock:
            jobs = self._jobs
            if jobs is None or self._users:
                closed.set_result(None)
            else:
                self._jobs = None
                jobs.put((closed, self.database.close))
                jobs.put(None)
        return closed

    def _start(self) -> queue.SimpleQueue[_Job | None]:
        # A queue of its own for each thread: the one before may still be at work on what it was given.
        jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=_work, args=(jobs,), name=self._name, daemon=True).start()
        return jobs


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


_all: weakref.WeakSet[DatabaseThread[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for thread in list(_all):
        thread.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
