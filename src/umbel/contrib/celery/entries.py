"""Entries of a schedule."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import datetime
from functools import total_ordering
from typing import Any

from umbel.contrib.celery.schedules import maybe_schedule

__all__ = ["BeatLazyFunc", "ScheduleEntry"]


class BeatLazyFunc:
    """An argument of an entry that is computed when the entry is sent: ``BeatLazyFunc(random.random)``."""

    def __init__(self, func: Any, *args: Any, **kwargs: Any) -> None:
        self._func = func
        self._args = args
        self._kwargs = kwargs

    def delay(self) -> Any:
        """Its value now."""
        return self._func(*self._args, **self._kwargs)

    __call__ = delay


@total_ordering
class ScheduleEntry:
    """What is sent, and when. An iterator: ``next(entry)`` is the same after another run."""

    name: str | None = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: datetime | None = None
    total_run_count = 0

    def __init__(
        self,
        name: str | None = None,
        task: str | None = None,
        last_run_at: datetime | None = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        **about: Any,
    ) -> None:
        self.app = about.get("app")
        self.name = name
        self.task = task
        self.args = about.get("args") or ()
        self.kwargs = about.get("kwargs") or {}
        self.options = about.get("options") or {}
        self.schedule = maybe_schedule(schedule, about.get("relative", False), app=self.app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> datetime:
        """The time now, by the clock of its schedule."""
        now: datetime = self.schedule.now() if self.schedule else self.app.now()  # type: ignore[union-attr]
        return now

    _default_now = default_now

    def __next__(self, last_run_at: datetime | None = None) -> ScheduleEntry:
        return self._next_instance(last_run_at)

    def _next_instance(self, last_run_at: datetime | None = None) -> ScheduleEntry:
        again = copy.copy(self)
        again.last_run_at = last_run_at or self.default_now()
        again.total_run_count = self.total_run_count + 1
        return again

    next = __next__

    def update(self, other: ScheduleEntry) -> None:
        """Take over what may be edited, and keep the account of its runs."""
        for field in ("task", "schedule", "args", "kwargs", "options"):
            setattr(self, field, getattr(other, field))

    def is_due(self) -> Any:
        """See the schedule's."""
        return self.schedule.is_due(self.last_run_at)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __lt__(self, other: object) -> bool:
        return id(self) < id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def editable_fields_equal(self, other: ScheduleEntry) -> bool:
        """Whether both send the same at the same times."""
        fields = ("task", "args", "kwargs", "options", "schedule")
        return all(getattr(self, field) == getattr(other, field) for field in fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScheduleEntry) and self.editable_fields_equal(other)

    def __hash__(self) -> int:
        return hash((self.name, self.task))

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self.name} {self.task}(*{self.args}, **{self.kwargs}) {self.schedule}>"
        )
