"""Hard time limits: one timer for each call that has one, gone when the call is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from umbel.worker.crew import Child
from umbel.worker.inflight import Held


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
