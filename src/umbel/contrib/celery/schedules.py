"""``celery.schedules``: what beat_schedule holds. Values that can be compared and shown; nothing is scheduled here yet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from umbel.errors import ConfigurationError

__all__ = ["ParseException", "crontab", "crontab_parser", "schedule"]

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class ParseException(ConfigurationError):
    """A field of a crontab that cannot be understood."""


class schedule:
    """Every `run_every` seconds: a number or a timedelta."""

    def __init__(
        self, run_every: float | timedelta | None = None, relative: bool = False, **unused: Any
    ) -> None:
        self.run_every = run_every if isinstance(run_every, timedelta) else timedelta(seconds=run_every or 0)
        self.relative = relative

    @property
    def seconds(self) -> float:
        """The same in seconds."""
        return max(self.run_every.total_seconds(), 0)

    def __eq__(self, other: object) -> bool:
        mine = self.run_every
        return mine == other.run_every if isinstance(other, schedule) else mine == other

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __repr__(self) -> str:
        return f"<freq: {self.run_every}>"


class crontab_parser:
    """Reads one field of a crontab: ``crontab_parser(60).parse("*/15") == {0, 15, 30, 45}``."""

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """The numbers that `spec` names. Raises ParseException."""
        found: set[int] = set()
        for part in spec.split(","):
            found |= self._part(part.strip().lower())
        return found

    def _part(self, part: str) -> set[int]:
        match = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", part)
        if match is None:
            raise ParseException(
                f"{part!r} is not a field of a crontab: expected *, 5, 1-5, */15 or a list of these."
            )
        first, last, step = match.groups()
        if first == "*":
            begin, end = self.min_, self.max_ + self.min_ - 1
        else:
            begin = self._number(first)
            end = self._number(last) if last else (self.max_ + self.min_ - 1 if step else begin)
        if step is not None and int(step) < 1:
            raise ParseException(f"{part!r}: a step must be at least 1.")
        numbers = (
            range(begin, end + 1)
            if begin <= end
            else (*range(begin, self.max_ + self.min_), *range(self.min_, end + 1))
        )
        return set(list(numbers)[:: int(step or 1)])

    def _number(self, text: str) -> int:
        names = _DAYS if self.max_ == len(_DAYS) else _MONTHS
        short = text[:3]
        number = int(text) if text.isdigit() else names.index(short) + self.min_ if short in names else -1
        if self.max_ == len(_DAYS) and number == len(_DAYS):
            number = 0
        if not self.min_ <= number < self.min_ + self.max_:
            raise ParseException(
                f"{text!r} is out of range: expected {self.min_} to {self.min_ + self.max_ - 1}."
            )
        return number


class crontab:
    """A time as cron knows it: ``crontab(minute=30, hour="8-17", day_of_week="mon-fri")``. Fields are numbers, texts or sets."""

    def __init__(
        self,
        minute: Any = "*",
        hour: Any = "*",
        day_of_month: Any = "*",
        month_of_year: Any = "*",
        day_of_week: Any = "*",
        **unused: Any,
    ) -> None:
        self._orig = (minute, hour, day_of_month, month_of_year, day_of_week)
        self.minute = _expanded(minute, 60, 0)
        self.hour = _expanded(hour, 24, 0)
        self.day_of_month = _expanded(day_of_month, 31, 1)
        self.month_of_year = _expanded(month_of_year, 12, 1)
        self.day_of_week = _expanded(day_of_week, 7, 0)

    @classmethod
    def from_string(cls, text: str) -> crontab:
        """From cron's five fields: ``crontab.from_string("0 8 * * mon-fri")``."""
        fields = text.split()
        if len(fields) != 5:
            raise ParseException(
                f"{text!r} has {len(fields)} fields; expected 5: minute, hour, day, month, weekday."
            )
        return cls(*fields)

    def _fields(self) -> tuple[set[int], ...]:
        return self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week

    def __eq__(self, other: object) -> bool:
        return isinstance(other, crontab) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(tuple(map(frozenset, self._fields())))

    def __repr__(self) -> str:
        minute, hour, day, month, weekday = (str(field).replace(" ", "") for field in self._orig)
        return f"<crontab: {minute} {hour} {day} {month} {weekday} (m/h/dM/MY/d)>"


def _expanded(field: Any, count: int, first: int) -> set[int]:
    if isinstance(field, str):
        return crontab_parser(count, first).parse(field)
    numbers = {field} if isinstance(field, int) else set(field) if isinstance(field, Iterable) else None
    if numbers is None or not all(isinstance(n, int) and first <= n < first + count for n in numbers):
        raise ParseException(
            f"{field!r} is not a field of a crontab: expected {first} to {first + count - 1}, or text."
        )
    return numbers
