"""Rate limits of tasks as Celery has them: of each worker by itself, which keeps what has to wait.

Calls that wait are leased like all that is held. They take up room: while there are many, the worker fetches nothing more, as
Celery's prefetch has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from umbel.worker.inflight import Held

__all__ = ["Pace"]


class _Line:
    """The calls of one limited task."""

    def __init__(self) -> None:
        self.interval = 0.0
        self.next = 0.0
        """The loop's time from which on the next one may begin."""
        self.waiting: deque[Held] = deque()
        self.timer: asyncio.TimerHandle | None = None


class Pace:
    """Of one node. `rates` are in calls per second, by task; `admit` takes those whose turn it is."""

    def __init__(self, rates: Mapping[str, float], admit: Callable[[list[Held]], None]) -> None:
        self._admit = admit
        self._lines: dict[str, _Line] = {}
        self.waiting = 0
        """How many calls wait for their turn."""
        for task, rate in rates.items():
            self.set(task, rate)

    def __bool__(self) -> bool:
        return bool(self._lines)

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
            self._admit(due)
