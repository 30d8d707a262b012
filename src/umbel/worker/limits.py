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

_SWEEP = 256
"""So many deadlines are kept before those of runs that have ended are looked for."""


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


class _Watch:
    """One limited run: whether its exception is still to be sent is decided once, by whoever takes it."""

    __slots__ = ("_open", "sent", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.sent = False
        self._open = [True]

    def take(self) -> bool:
        """True for the first who asks: the watcher, or the thread when its task has ended. Needs no lock."""
        try:
            return self._open.pop()
        except IndexError:
            return False

    def is_open(self) -> bool:
        return bool(self._open)


class ThreadLimits:
    """One watching thread that raises in other threads when their time is up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: list[tuple[float, int, _Watch]] = []
        self._sweep_at = _SWEEP
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def __call__(self, seconds: float) -> Iterator[None]:
        """Raise in the calling thread after `seconds`."""
        watch = _Watch(threading.get_ident())
        self._add(time.monotonic() + seconds, watch)
        try:
            yield
        except SoftTimeLimitExceeded as exc:
            exc.args = exc.args or (seconds,)
            raise
        finally:
            # No lock is taken here: an exception that arrived while it was held would leave it locked for ever.
            if not watch.take():
                # The watcher was first. What it sends must arrive in here or not at all, never in the next task.
                while not watch.sent:
                    time.sleep(0)  # between its two steps
                _raise_in(watch.thread, None)

    def _add(self, deadline: float, watch: _Watch) -> None:
        with self._changed:
            if len(self._deadlines) >= self._sweep_at:
                # Runs that have ended stay until their time: of a million short ones with an hour each, that is too much.
                self._deadlines = [entry for entry in self._deadlines if entry[2].is_open()]
                heapq.heapify(self._deadlines)
                self._sweep_at = max(_SWEEP, 2 * len(self._deadlines))
            heapq.heappush(self._deadlines, (deadline, next(self._numbers), watch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="soft-limits", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            watch = self._next_due()
            if watch.take():
                _raise_in(watch.thread, SoftTimeLimitExceeded)
                watch.sent = True

    def _next_due(self) -> _Watch:
        with self._changed:
            while True:
                if not self._deadlines:
                    self._changed.wait()
                    continue
                delay = self._deadlines[0][0] - time.monotonic()
                if delay <= 0:
                    return heapq.heappop(self._deadlines)[2]
                self._changed.wait(delay)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Let `error` be raised in a thread when it next runs Python code; None: take back what has not been raised yet."""
    argument = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)


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
