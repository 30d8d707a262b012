"""Rate limits of tasks as Celery has them: of each worker by itself, which keeps what has to wait.

Calls that wait are leased like all that is held. They take up room: while there are many, the worker fetches nothing more, as
Celery's prefetch has it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from umbel.errors import OperationalError
from umbel.worker.inflight import Held

if TYPE_CHECKING:
    from umbel.worker.fetcher import Fetcher

__all__ = ["Pace"]

logger = logging.getLogger("umbel.worker")


class _Line:
    """The calls of one limited task."""

    def __init__(self) -> None:
        self.interval = 0.0
        self.next = 0.0
        """The loop's time from which on the next one may begin."""
        self.waiting: deque[Held] = deque()
        self.timer: asyncio.TimerHandle | None = None


class Pace:
    """Of one node. `rates` are in calls per second, by task; `begin` takes those whose turn it is."""

    def __init__(self, rates: Mapping[str, float], begin: Callable[[list[Held]], None]) -> None:
        self._begin = begin
        self._early: set[asyncio.Task[None]] = set()
        self._lines: dict[str, _Line] = {}
        self.waiting = 0
        """How many calls wait for their turn."""
        for task, rate in rates.items():
            self.set(task, rate)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def go_through(self, fetcher: Fetcher) -> None:
        """Calls that wait here are acknowledged by this one, where they are to be so before they run."""
        self._fetcher = fetcher
        fetcher.paced = self.limits

    def take_in(self, calls: list[Held]) -> None:
        """Let `calls` begin, each when its turn has come."""
        self._let_begin(self.turn(calls))

    def _let_begin(self, calls: list[Held]) -> None:
        now, early, ready = time.monotonic(), list[Held](), list[Held]()
        for held in calls:
            held.since = now
            (early if self._fetcher.is_early(held) else ready).append(held)
        self._begin(ready)
        if early:
            task = asyncio.get_running_loop().create_task(self._acknowledge(early))
            self._early.add(task)
            task.add_done_callback(self._early.discard)
        self._fetcher.credit()

    async def _acknowledge(self, calls: list[Held]) -> None:
        try:
            self._begin(await self._fetcher.acknowledge(calls))
        except OperationalError as exc:
            logger.error("Cannot acknowledge what was about to run; it comes again: %s", exc)

    async def quiet(self) -> None:
        """Wait until nothing is being acknowledged."""
        await asyncio.gather(*self._early)

    def limits(self, held: Held) -> bool:
        """Whether its task has a limit."""
        line = self._lines.get(held.frame.task_name)
        return line is not None and line.interval > 0

    def set(self, task: str, rate: float) -> None:
        """From now on `task` may begin `rate` times a second; 0: as often as it comes."""
        line = self._lines.setdefault(task, _Line())
        line.interval = 1 / rate if rate else 0.0
        line.next = 0.0
        if line.waiting:
            self._go_on(line)

    def turn(self, calls: list[Held]) -> list[Held]:
        """Those of `calls` whose turn it is. The others wait here."""
        ready = []
        for held in calls:
            line = self._lines.get(held.frame.task_name)
            if line is None or not line.interval:
                ready.append(held)
                continue
            line.waiting.append(held)
            self.waiting += 1
            if line.timer is None:
                ready += self._due(line)
        return ready

    def take(self, held: Held) -> bool:
        """Take a call out of its line. Returns whether it waited here."""
        line = self._lines.get(held.frame.task_name)
        if line is None or held not in line.waiting:
            return False
        line.waiting.remove(held)
        self.waiting -= 1
        return True

    def calls(self) -> list[Held]:
        """All that wait."""
        return [held for line in self._lines.values() for held in line.waiting]

    def take_all(self) -> list[Held]:
        """Take out all of them: the worker shuts down."""
        calls = self.calls()
        for line in self._lines.values():
            line.waiting.clear()
            if line.timer is not None:
                line.timer.cancel()
                line.timer = None
        self.waiting = 0
        return calls

    def _due(self, line: _Line) -> list[Held]:
        """Those of a line whose turn it is; a timer is set for the next one."""
        loop = asyncio.get_running_loop()
        now, due = loop.time(), []
        while line.waiting and now >= line.next:
            due.append(line.waiting.popleft())
            self.waiting -= 1
            # From its own time on, and not from that at which a timer happened to fire; after a pause from now on.
            line.next = (line.next if now - line.next < line.interval else now) + line.interval
        line.timer = loop.call_at(line.next, self._go_on, line) if line.waiting else None
        return due

    def _go_on(self, line: _Line) -> None:
        if line.timer is not None:
            line.timer.cancel()
        due = self._due(line)
        if due:
            self._let_begin(due)
