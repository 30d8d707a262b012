"""Hard time limits: one timer for each call that has one, gone when the call is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from umbel.worker.crew import Child
from umbel.worker.inflight import Held


class TimeLimits:
    """Limits that remote control has set for tasks, for calls that have none of their own."""

    def __init__(self) -> None:
        self._by_task: dict[str, list[float | None]] = {}

    def set(self, task: str, hard: float | None, soft: float | None) -> None:
        """From now on these are the limits of `task`, in seconds; None: there is none."""
        self._by_task[task] = [hard, soft]

    def apply(self, calls: list[Held]) -> None:
        """Write them into `calls`, where the children look first."""
        for held in calls if self._by_task else ():
            limits, headers = self._by_task.get(held.frame.task_name), held.frame.headers
            if limits is not None and not any(headers.get("timelimit") or ()):
                held.frame = msgspec.structs.replace(held.frame, headers={**headers, "timelimit": limits})
                held.report_begin = held.report_begin or limits[0] is not None


class Deadlines:
    """Of one node. `kill` ends a child."""

    def __init__(self, kill: Callable[[Child], None]) -> None:
        self._kill = kill
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def begin(self, child: Child, held: Held, seconds: float) -> None:
        """`child` has begun `held`: kill it in `seconds` unless ``end`` comes first."""
        self.end(held)
        held.hard_limit = seconds
        timer = asyncio.get_running_loop().call_later(seconds, self._expire, child, held)
        self._timers[held.seq] = timer

    def end(self, held: Held) -> None:
        """The call is over, or is with this child no more."""
        timer = self._timers.pop(held.seq, None)
        if timer is not None:
            timer.cancel()

    def _expire(self, child: Child, held: Held) -> None:
        self._timers.pop(held.seq, None)
        if child.handed.get(held.seq) is held and not child.gone:
            held.doomed = "timeout"
            self._kill(child)
