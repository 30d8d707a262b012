"""``celery.utils.time``: rates, durations, time zones."""

from __future__ import annotations

import calendar
import numbers
import random
import time as _time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from umbel.contrib.celery.utils.text import pluralize

__all__ = [
    "WEEKDAYS",
    "YEARMONTHS",
    "LocalTimezone",
    "add_seconds_to_datetime",
    "adjust_timestamp",
    "delta_resolution",
    "ffwd",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "rate",
    "remaining",
    "subtract_datetimes",
    "timezone",
    "to_utc",
    "utcoffset",
    "weekday",
    "yearmonth",
]

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = {name: number for number, name in enumerate(_DAYS)}
YEARMONTHS = {name: number for number, name in enumerate(_MONTHS, 1)}
_PER = {"s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))
_RESOLUTIONS = (("day", "hour", 86400), ("hour", "minute", 3600), ("minute", "second", 60))


class LocalTimezone(tzinfo):
    """The time zone of this machine."""

    def _local(self, dt: datetime | None) -> datetime:
        return (datetime.now() if dt is None else dt.replace(tzinfo=None)).astimezone()

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """How far it is from UTC at `dt`."""
        return self._local(dt).utcoffset() or timedelta()

    def dst(self, dt: datetime | None) -> timedelta:
        """How much of that is summer time."""
        summer = _time.localtime(self._local(dt).timestamp()).tm_isdst > 0
        return timedelta(seconds=_time.timezone - _time.altzone) if summer else timedelta()

    def tzname(self, dt: datetime | None) -> str:
        """Its name at `dt`."""
        return self._local(dt).tzname() or ""

    def __repr__(self) -> str:
        hours = -_time.timezone // 3600
        return f"<LocalTimezone: UTC{hours:+03d}>"


class _Zone:
    """``timezone``: the zones that a program needs."""

    @cached_property
    def local(self) -> tzinfo:
        """This machine's."""
        try:
            named = Path("/etc/localtime").resolve().as_posix().partition("zoneinfo/")[2]
            return ZoneInfo(named) if named else LocalTimezone()
        except (OSError, ValueError, LookupError):
            return LocalTimezone()

    @cached_property
    def utc(self) -> tzinfo:
        """UTC."""
        return ZoneInfo("UTC")

    def tz_or_local(self, tzinfo: tzinfo | None = None) -> tzinfo:
        """The zone given, or the local one."""
        return tzinfo or self.local

    def get_timezone(self, zone: str | tzinfo) -> tzinfo:
        """The zone of that name."""
        return ZoneInfo(zone) if isinstance(zone, str) else zone

    def to_local(self, dt: datetime, local: tzinfo | None = None, orig: tzinfo | None = None) -> datetime:
        """`dt` in the zone `local`; a naive one is in `orig`, or in UTC. Without `local`, in `orig` or here."""
        if is_naive(dt):
            dt = make_aware(dt, orig or self.utc)
        return localize(dt, local or orig or self.local)

    def to_system(self, dt: datetime) -> datetime:
        """`dt` in the zone of this machine."""
        return dt.astimezone()

    def to_local_fallback(self, dt: datetime) -> datetime:
        """`dt` in the local zone; a naive one is in it already."""
        return make_aware(dt, self.local) if is_naive(dt) else localize(dt, self.local)


timezone = _Zone()


def is_naive(dt: datetime) -> bool:
    """Whether it names no time zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """The time `dt` on the clocks of `tz`. One that a change to summer time leaves out is put behind it."""
    aware = dt.replace(tzinfo=tz)
    there = aware.astimezone(UTC).astimezone(tz)
    return there if there.replace(tzinfo=None) != aware.replace(tzinfo=None) else aware


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """An aware `dt` in the zone `tz`. A naive one is taken to be in it."""
    return make_aware(dt, tz) if is_naive(dt) else dt.astimezone(tz)


def to_utc(dt: datetime) -> datetime:
    """The time `dt` on the clocks of UTC."""
    return make_aware(dt, timezone.utc)


def maybe_make_aware(dt: datetime, tz: tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """An aware `dt` as it is. A naive one is in UTC, or with ``naive_as_utc=False`` in `tz`, and is moved to `tz`."""
    if not is_naive(dt):
        return dt
    if naive_as_utc:
        dt = to_utc(dt)
        return localize(dt, timezone.utc if tz is None else timezone.tz_or_local(tz))
    return make_aware(dt, tz or timezone.utc)


def add_seconds_to_datetime(dt: datetime, seconds: float) -> datetime:
    """`dt` and so many seconds that really pass, whatever the clocks do."""
    if is_naive(dt):
        return dt + timedelta(seconds=seconds)
    return (dt.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(dt.tzinfo)


def subtract_datetimes(end: datetime, start: datetime) -> timedelta:
    """The time that really passes between two; a naive one is in UTC."""
    return _utc(end) - _utc(start)


def _utc(dt: datetime) -> datetime:
    return dt.replace(tzinfo=UTC) if is_naive(dt) else dt.astimezone(UTC)


def maybe_timedelta(delta: Any) -> Any:
    """Seconds as a timedelta; anything else as it is."""
    return timedelta(seconds=float(delta)) if isinstance(delta, numbers.Real) else delta


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """`dt` cut to the day, hour or minute, whichever is the largest that `delta` holds."""
    fields: dict[str, Any] = {"microsecond": 0, "second": 0}
    for unit, below, seconds in _RESOLUTIONS:
        if delta.total_seconds() >= seconds:
            for name in ("hour", "minute"):
                if unit == "day" or (unit == "hour" and name == "minute"):
                    fields[name] = 0
            return dt.replace(**fields) if below else dt
    return dt


def remaining(
    start: datetime, ends_in: timedelta | ffwd, now: datetime | None = None, relative: bool = False
) -> timedelta:
    """How long it is from `now` until `start` and `ends_in`. `relative`: until the last full day, hour or minute before that."""
    now = now or datetime.now(UTC)
    if isinstance(ends_in, ffwd):
        return subtract_datetimes(start + ends_in, now)
    end = start + ends_in if ends_in.days else add_seconds_to_datetime(start, ends_in.total_seconds())
    if relative:
        cut = delta_resolution(end, ends_in)
        end = cut if _utc(cut) > _utc(start) else end
    return subtract_datetimes(end, now)


def rate(r: Any) -> float:
    """Calls in a second of a rate such as ``"100/m"``, ``"2/h"`` or ``"0.5/s"``."""
    if not r:
        return 0
    if isinstance(r, str):
        number, _, per = r.partition("/")
        return float(number) / _PER[per or "s"]
    return r  # type: ignore[no-any-return]


def weekday(name: str) -> int:
    """The number of a day of the week; Sunday is 0."""
    try:
        return WEEKDAYS[name[:3].lower()]
    except KeyError:
        raise KeyError(name) from None


def yearmonth(name: str) -> int:
    """The number of a month; January is 1."""
    try:
        return YEARMONTHS[name[:3].lower()]
    except KeyError:
        raise KeyError(name) from None


def humanize_seconds(
    secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False
) -> str:
    """Seconds in words: ``"1.50 minutes"``."""
    secs = float(secs)
    for unit, seconds in _UNITS:
        if secs >= seconds:
            count = secs / seconds
            return f"{prefix}{sep}{count:.2f} {pluralize(count, unit)}"
    return f"{prefix}{sep}{secs:.2f} seconds" if microseconds and secs > 0 else now


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """A datetime of a text of ISO 8601; a datetime as it is; None for nothing."""
    if not dt:
        return None
    return dt if isinstance(dt, datetime) else datetime.fromisoformat(dt)


class ffwd:
    """Fields to set and weeks to add: ``when + ffwd(hour=5, minute=0, weeks=1)``."""

    def __init__(
        self,
        year: int | None = None,
        month: int | None = None,
        weeks: int = 0,
        weekday: int | None = None,
        day: int | None = None,
        hour: int | None = None,
        **more: Any,
    ) -> None:
        """`weekday`: go on to the next one of that number; Monday is 0. `more`: minute, second, microsecond."""
        self.year, self.month, self.day, self.hour = year, month, day, hour
        self.minute: int | None = more.get("minute")
        self.second: int | None = more.get("second")
        self.microsecond: int | None = more.get("microsecond")
        self.weeks, self.weekday = weeks, weekday
        self.days = weeks * 7

    def __repr__(self) -> str:
        names = ("day", "hour", "microsecond", "minute", "month", "second", "weekday", "weeks", "year")
        fields = ((name, getattr(self, name)) for name in names)
        return f"ffwd({', '.join(f'{name}={value}' for name, value in fields if value is not None)})"

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, date):
            return NotImplemented
        names = ["year", "month", "day"]
        if isinstance(other, datetime):
            names += ["hour", "minute", "second", "microsecond"]
        fields = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        year, month = fields.get("year", other.year), fields.get("month", other.month)
        fields["day"] = min(calendar.monthrange(year, month)[1], fields.get("day") or other.day)
        found = other.replace(**fields) + timedelta(days=self.days)
        if self.weekday is not None:
            found += timedelta(days=(self.weekday - found.weekday()) % 7)
        return found


def utcoffset(time: Any = _time, localtime: Callable[..., _time.struct_time] = _time.localtime) -> float:
    """How many hours this machine's clock is behind UTC."""
    away: int = time.altzone if localtime().tm_isdst > 0 else time.timezone
    return away / 3600


def adjust_timestamp(ts: float, offset: float, here: Callable[..., float] = utcoffset) -> float:
    """A timestamp of a clock that is `offset` hours behind UTC, as this machine's clock says it."""
    return ts - (offset - here()) * 3600


def get_exponential_backoff_interval(
    factor: int, retries: int, maximum: int, full_jitter: bool = False
) -> int:
    """Seconds to wait before a retry: `factor`, doubled `retries` times, at most `maximum`. `full_jitter`: or anything below it."""
    countdown: Any = min(maximum, factor * (2**retries))
    if full_jitter:
        countdown = random.randrange(int(countdown) + 1)
    return max(0, countdown)  # type: ignore[no-any-return]
