"""The joins of a memory: where the calls of chords meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from umbel.ports import Arrival, Join

__all__ = ["Joins"]


class Clock(Protocol):
    """What tells how old a join is."""

    def now(self) -> float:
        """Seconds from some moment on."""
        ...


@dataclass(slots=True)
class _Open:
    size: int
    until: float
    parts: dict[str, Arrival] = field(default_factory=dict)
    """By task id, in the order in which they came."""


class Joins:
    """Those that are open, by id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, _Open] = {}

    def open(self, join: Join, ttl: float | None) -> None:
        """See ``ResultStore.open_joins_now``."""
        found = self._live(join.id)
        if found is None:
            self._open[join.id] = _Open(join.size, self._until(ttl))

    def widen(self, join_id: str, by: int) -> None:
        """See ``ResultStore.widen_join_now``."""
        found = self._live(join_id)
        if found is not None:
            found.size += by

    def arrive(self, arrival: Arrival, ttl: float | None) -> Sequence[bytes] | None:
        """See ``ResultStore.arrive_now``."""
        found = self._live(arrival.join)
        if found is None:
            return None
        found.until = self._until(ttl)
        before = found.parts.get(arrival.task_id)
        mends = before is not None and before.failed and not arrival.failed
        if before is None or mends:
            found.parts[arrival.task_id] = arrival
        if len(found.parts) < found.size or (mends and any(part.failed for part in found.parts.values())):
            return None
        # sorted() keeps the order of arrival among equals
        parts = sorted(found.parts.values(), key=lambda a: (a.index is None, a.index or 0))
        return [part.part for part in parts]

    def close(self, join_id: str) -> None:
        """Forget it."""
        self._open.pop(join_id, None)

    def sweep(self) -> None:
        """Forget those whose time is over."""
        now = self._clock.now()
        self._open = {join_id: found for join_id, found in self._open.items() if found.until > now}

    def _live(self, join_id: str) -> _Open | None:
        found = self._open.get(join_id)
        return found if found is not None and found.until > self._clock.now() else None

    def _until(self, ttl: float | None) -> float:
        return float("inf") if ttl is None else self._clock.now() + ttl
