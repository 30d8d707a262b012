"""Soft time limits: how ``SoftTimeLimitExceeded`` is raised inside a task, in each kind of pool.

* In the main thread of a child: an interval timer and its signal. Interrupts blocking calls too.
* In other threads: an asynchronous exception. It arrives when the thread next runs Python code, so a call that
  blocks in C is interrupted only when it returns; the hard limit does not wait for that.
* In coroutines: the task is cancelled, and the cancellation arrives inside as ``SoftTimeLimitExceeded``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import itertools
import signal
import threading
import time
from collections.abc import Coroutine, Generator, Iterator
from types import FrameType
from typing import Any

from umbel.errors import SoftTimeLimitExceeded


@contextlib.contextmanager
def by_signal(seconds: float) -> Iterator[None]:
    """Raise in the main thread after `seconds`, from a signal handler."""

    def expire(signum: int, frame: FrameType | None) -> None:
        raise SoftTimeLimitExceeded(seconds)

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class ThreadLimits:
    """One watching thread that raises in other threads when their time is up."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._deadlines: list[tuple[float, int, int]] = []
        self._live: set[int] = set()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def __call__(self, seconds: float) -> Iterator[None]:
        """Raise in the calling thread after `seconds`."""
        number = next(self._numbers)
        with self._lock:
            self._live.add(number)
            heapq.heappush(self._deadlines, (time.monotonic() + seconds, number, threading.get_ident()))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="soft-limits", daemon=True)
                self._thread.start()
            self._lock.notify()
        try:
            yield
        finally:
            # After this the watcher cannot raise: a late exception would hit the next task of this thread.
            with self._lock:
                self._live.discard(number)

    def _watch(self) -> None:
        with self._lock:
            while True:
                if not self._deadlines:
                    self._lock.wait()
                    continue
                due, number, thread = self._deadlines[0]
                delay = due - time.monotonic()
                if delay > 0:
                    self._lock.wait(delay)
                    continue
                heapq.heappop(self._deadlines)
                if number in self._live:
                    self._live.discard(number)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread), ctypes.py_object(SoftTimeLimitExceeded)
                    )


class _Limited(Coroutine[Any, Any, Any]):
    """A coroutine in which the cancellation that the limit asked for arrives as SoftTimeLimitExceeded."""

    def __init__(self, inner: Coroutine[Any, Any, Any], seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds
        self.expired = False

    def send(self, value: Any) -> Any:
        return self._inner.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        error = val if val is not None else typ
        if self.expired and (error is asyncio.CancelledError or isinstance(error, asyncio.CancelledError)):
            self.expired = False
            current = asyncio.current_task()
            if current is not None:
                current.uncancel()
            return self._inner.throw(SoftTimeLimitExceeded(self._seconds))
        return self._inner.throw(error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        # Awaiting delegates send and throw to this object, which is what puts it between loop and task.
        return self

    def __iter__(self) -> _Limited:
        return self

    def __next__(self) -> Any:
        return self.send(None)


async def in_coroutine(coro: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """Await `coro`; raise inside it after `seconds`."""
    task = asyncio.current_task()
    assert task is not None
    limited = _Limited(coro, seconds)

    def expire() -> None:
        limited.expired = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, expire)
    try:
        return await limited
    finally:
        timer.cancel()
