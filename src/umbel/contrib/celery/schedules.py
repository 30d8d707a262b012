"""``celery.schedules``: what beat_schedule holds, and when it is due."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from umbel.context import get_current_app
from umbel.errors import ConfigurationError

__all__ = [
    "BaseSchedule",
    "ParseException",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "schedstate",
    "schedule",
    "solar",
]

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class ParseException(ConfigurationError):
    """A field of a crontab that cannot be understood."""


class schedstate(NamedTuple):
    """Whether it is due, and in how many seconds to ask again."""

    is_due: bool
    next: float


class BaseSchedule:
    """What all schedules have: a clock, and the time zone of an app. `nowfun` replaces the clock."""

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        self._app = app

    @property
    def app(self) -> Any:
        """The app whose time zone it goes by."""
        return self._app or get_current_app()

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def tz(self) -> tzinfo:
        """That time zone."""
        zone: tzinfo = self.app.timezone
        return zone

    @tz.setter
    def tz(self, zone: tzinfo) -> None:
        self.__dict__["tz"] = zone

    @property
    def utc_enabled(self) -> bool:
        """Whether times in messages are UTC."""
        return bool(self.app.conf.enable_utc)

    def now(self) -> datetime:
        """The time now."""
        return self.maybe_make_aware(self.nowfun() if self.nowfun else datetime.now(self.tz))

    def maybe_make_aware(self, when: datetime) -> datetime:
        """`when`; as UTC, if it does not say its time zone."""
        return when if when.tzinfo is not None else when.replace(tzinfo=UTC)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long until it is due again, if its last run was then."""
        raise NotImplementedError

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether it is due, if its last run was then."""
        raise NotImplementedError


class schedule(BaseSchedule):
    """Every `run_every` seconds: a number or a timedelta. `relative` times are rounded to its resolution."""

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(nowfun, app)
        self.run_every = run_every if isinstance(run_every, timedelta) else timedelta(seconds=run_every or 0)
        self.relative = relative

    @property
    def seconds(self) -> float:
        """The same in seconds."""
        return max(self.run_every.total_seconds(), 0)

    @property
    def human_seconds(self) -> str:
        """The same for people."""
        return str(self.run_every)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        end = self.maybe_make_aware(last_run_at) + self.run_every
        if self.relative and self.run_every.days:
            end = end.replace(hour=0, minute=0, second=0, microsecond=0)
        elif self.relative and self.seconds >= 3600:
            end = end.replace(minute=0, second=0, microsecond=0)
        elif self.relative and self.seconds >= 60:
            end = end.replace(second=0, microsecond=0)
        return end - self.now()

    def is_due(self, last_run_at: datetime) -> schedstate:
        remaining = max(self.remaining_estimate(last_run_at).total_seconds(), 0)
        return schedstate(True, self.seconds) if remaining == 0 else schedstate(False, remaining)

    def __eq__(self, other: object) -> bool:
        mine = self.run_every
        return mine == other.run_every if isinstance(other, schedule) else mine == other

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_every, self.relative, self.nowfun)

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


class crontab(BaseSchedule):
    """A time as cron knows it: ``crontab(minute=30, hour="8-17", day_of_week="mon-fri")``. Fields are numbers, texts or sets.

    All fields must match, the days of month and of week both.
    """

    def __init__(
        self,
        minute: Any = "*",
        hour: Any = "*",
        day_of_month: Any = "*",
        month_of_year: Any = "*",
        day_of_week: Any = "*",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._orig_minute = minute
        self._orig_hour = hour
        self._orig_day_of_month = day_of_month
        self._orig_month_of_year = month_of_year
        self._orig_day_of_week = day_of_week
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

    def remaining_delta(
        self, last_run_at: datetime, tz: tzinfo | None = None, ffwd: Any = None
    ) -> tuple[datetime, timedelta, datetime]:
        """The last run, how long it was from there to the next, and the time now."""
        last, now = self.maybe_make_aware(last_run_at), self.now()
        return last, self._next_after(last.astimezone(tz or self.tz)) - last, now

    def remaining_estimate(self, last_run_at: datetime, ffwd: Any = None) -> timedelta:
        last, delta, now = self.remaining_delta(last_run_at)
        return last.astimezone(UTC) + delta - now.astimezone(UTC)

    def is_due(self, last_run_at: datetime) -> schedstate:
        remaining = max(self.remaining_estimate(last_run_at).total_seconds(), 0)
        if remaining:
            return schedstate(False, remaining)
        again = max(self.remaining_estimate(self.now()).total_seconds(), 0)
        deadline = self.app.conf.beat_cron_starting_deadline
        if deadline is not None:
            last, delta, now = self.remaining_delta(last_run_at)
            if (now.astimezone(UTC) - (last.astimezone(UTC) + delta)).total_seconds() > deadline:
                return schedstate(False, again)  # missed for too long
        return schedstate(True, again)

    def _next_after(self, last: datetime) -> datetime:
        """The first time after `last` that matches, on the clock of its time zone. Raises ParseException: there is none."""
        when = last.replace(tzinfo=None, second=0, microsecond=0) + timedelta(minutes=1)
        end = when + timedelta(days=366 * 8 + 1)  # 29 February, over 2100 too
        while when < end:
            if when.month not in self.month_of_year:
                when = (when.replace(day=1, hour=0, minute=0) + timedelta(days=32)).replace(day=1)
            elif when.day not in self.day_of_month or when.isoweekday() % 7 not in self.day_of_week:
                when = when.replace(hour=0, minute=0) + timedelta(days=1)
            elif when.hour not in self.hour:
                when = when.replace(minute=0) + timedelta(hours=1)
            elif when.minute not in self.minute:
                when += timedelta(minutes=1)
            else:
                return when.replace(tzinfo=last.tzinfo).astimezone(UTC)
        raise ParseException(f"{self!r} never comes: there is no such day.")

    def __reduce__(self) -> tuple[Any, ...]:
        given = (self._orig_minute, self._orig_hour, self._orig_day_of_month, self._orig_month_of_year)
        return type(self), (*given, self._orig_day_of_week)

    def _fields(self) -> tuple[set[int], ...]:
        return self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week

    def __eq__(self, other: object) -> bool:
        return isinstance(other, crontab) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(tuple(map(frozenset, self._fields())))

    def __repr__(self) -> str:
        given = (self._orig_minute, self._orig_hour, self._orig_day_of_month, self._orig_month_of_year)
        minute, hour, day, month = (str(field).replace(" ", "") for field in given)
        weekday = str(self._orig_day_of_week).replace(" ", "")
        return f"<crontab: {minute} {hour} {day} {month} {weekday} (m/h/dM/MY/d)>"


class solar(BaseSchedule):
    """Sunrise and the like, which are not here."""

    def __init__(self, event: str, lat: float, lon: float, **options: Any) -> None:
        super().__init__(**options)
        raise ConfigurationError(
            f"solar({event!r}, {lat}, {lon}): times of the sun are not in this version. Use a crontab, or compute the time in a task "
            "that runs once a day."
        )


def maybe_schedule(given: Any, relative: bool = False, app: Any = None) -> Any:
    """`given` as a schedule: a number of seconds and a timedelta become one."""
    if isinstance(given, int | float | timedelta):
        return schedule(given, relative, app=app)
    if isinstance(given, BaseSchedule) and app is not None:
        given.app = app
    return given


def _expanded(field: Any, count: int, first: int) -> set[int]:
    if isinstance(field, str):
        return crontab_parser(count, first).parse(field)
    numbers = {field} if isinstance(field, int) else set(field) if isinstance(field, Iterable) else None
    if numbers is None or not all(isinstance(n, int) and first <= n < first + count for n in numbers):
        raise ParseException(
            f"{field!r} is not a field of a crontab: expected {first} to {first + count - 1}, or text."
        )
    return numbers
