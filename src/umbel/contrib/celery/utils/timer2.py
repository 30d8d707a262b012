"""``celery.utils.timer2``: a thread that calls functions later."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

__all__ = ["Entry", "Timer", "to_timestamp"]

log = logging.getLogger("umbel.timer")


def to_timestamp(d: Any, default_timezone: Any = None) -> float:
    """Seconds since 1970 of a datetime; a number as it is."""
    if isinstance(d, datetime):
        return (
            d.replace(tzinfo=default_timezone) if d.tzinfo is None and default_timezone else d
        ).timestamp()
    return float(d)


class _Entry:
    """One function that is going to be called."""

    def __init__(
        self,
        fun: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.fun, self.args, self.kwargs = fun, tuple(args or ()), dict(kwargs or {})
        self.canceled = False
        self.cancelled = False

    def __call__(self) -> Any:
        return self.fun(*self.args, **self.kwargs)

    def cancel(self) -> None:
        """Do not call it."""
        self.canceled = self.cancelled = True


Entry = _Entry


class Timer(threading.Thread):
    """Calls functions at their time, one after the other, in a thread that starts with the first. It is a daemon."""

    Entry = _Entry

    def __init__(
        self,
        schedule: Any = None,
        on_error: Callable[[Exception], Any] | None = None,
        on_tick: Callable[[float], Any] | None = None,
        on_start: Callable[[Timer], Any] | None = None,
        max_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        """`on_error` is called with what a function raises, which is logged otherwise; `on_tick` with each delay."""
        super().__init__(daemon=True, name="Timer")
        self.on_error, self.on_tick, self.on_start = on_error, on_tick, on_start
        self.max_interval = max_interval
        self.running = False
        self._heap: list[tuple[float, int, int, _Entry]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False

    def run(self) -> None:
        """What the thread does."""
        self.running = True
        try:
            while (entry := self._next()) is not None:
                self._call(entry)
        finally:
            self.running = False

    def _next(self) -> _Entry | None:
        with self._changed:
            while not self._stopping:
                if not self._heap:
                    self._changed.wait(self.max_interval)
                    continue
                delay = self._heap[0][0] - time.monotonic()
                if delay <= 0:
                    return heapq.heappop(self._heap)[3]
                if self.on_tick:
                    self.on_tick(delay)
                self._changed.wait(min(delay, self.max_interval or delay))
        return None

    def _call(self, entry: _Entry) -> None:
        if entry.canceled:
            return
        try:
            entry()
        except Exception as exc:
            if self.on_error:
                self.on_error(exc)
            else:
                log.exception("A function of the timer raised")

    def ensure_started(self) -> None:
        """Start the thread, unless it runs."""
        with self._changed:
            if self.ident is None and not self._stopping:
                if self.on_start:
                    self.on_start(self)
                self.start()

    def stop(self) -> None:
        """End the thread, and wait for the function that runs."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self.ident is not None and threading.current_thread() is not self:
            self.join()

    def _enter(self, entry: _Entry, delay: float, priority: int) -> _Entry:
        self.ensure_started()
        with self._changed:
            heapq.heappush(self._heap, (time.monotonic() + delay, priority, next(self._order), entry))
            self._changed.notify_all()
        return entry

    def enter(self, entry: _Entry, eta: Any, priority: int | None = None) -> _Entry:
        """Call `entry` at that time."""
        return self._enter(entry, to_timestamp(eta) - time.time(), priority or 0)

    def enter_after(self, secs: float, entry: _Entry, priority: int = 0, time: Any = None) -> _Entry:
        """Call it in so many seconds."""
        return self._enter(entry, secs, priority)

    def call_at(
        self,
        eta: Any,
        fun: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> _Entry:
        """Call `fun` at that time."""
        return self.enter(self.Entry(fun, args, kwargs), eta, priority)

    def call_after(
        self,
        secs: float,
        fun: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> _Entry:
        """Call `fun` in so many seconds."""
        return self._enter(self.Entry(fun, args, kwargs), secs, priority)

    def call_repeatedly(
        self,
        secs: float,
        fun: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> _Entry:
        """Call `fun` every so many seconds, until the entry that is returned is cancelled."""

        def again() -> Any:
            try:
                return fun(*args, **(kwargs or {}))
            finally:
                if not entry.canceled and not self._stopping:
                    self._enter(entry, secs, priority)

        entry = self.Entry(again)
        return self._enter(entry, secs, priority)

    apply_after = call_after
    apply_interval = call_repeatedly

    def exit_after(self, secs: float, priority: int = 10) -> None:
        """Leave the program in so many seconds."""
        self.call_after(secs, _exit, priority=priority)

    def cancel(self, tref: _Entry) -> None:
        """Do not call that one."""
        tref.cancel()

    def clear(self) -> None:
        """Call nothing of what is waiting."""
        with self._changed:
            self._heap.clear()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._heap

    @property
    def queue(self) -> list[tuple[float, int, int, _Entry]]:
        """What waits, in its order."""
        return sorted(self._heap)

    def __bool__(self) -> bool:
        return True


def _exit() -> None:
    raise SystemExit
