"""``celery.utils.time``, as far as programs import it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from umbel.core.rates import per_second

__all__ = [
    "Timezones",
    "delta_resolution",
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
    "timezone",
    "to_utc",
]

_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


class Timezones:
    """Time zones by name."""

    utc: tzinfo = UTC

    def get_timezone(self, zone: str | tzinfo) -> tzinfo:
        """The zone of that name; a zone itself."""
        return ZoneInfo(zone) if isinstance(zone, str) else zone

    def tz_or_local(self, zone: str | tzinfo | None = None) -> tzinfo:
        """The same; None: that of this machine."""
        return self.local if zone is None else self.get_timezone(zone)

    @property
    def local(self) -> tzinfo:
        """That of this machine."""
        return datetime.now().astimezone().tzinfo or UTC

    def to_local(self, when: datetime, local: tzinfo | None = None, orig: tzinfo | None = None) -> datetime:
        """`when` on the clock here; naive, it is in `orig`, or UTC."""
        return maybe_make_aware(when, orig).astimezone(local or self.local)

    def to_system(self, when: datetime) -> datetime:
        """`when` on the clock of this machine."""
        return when.astimezone()


timezone = Timezones()


def rate(r: str | float | None) -> float:
    """``"10/m"`` in calls per second. Raises ValueError."""
    return per_second(r)


def maybe_timedelta(delta: Any) -> Any:
    """A number of seconds as a timedelta; anything else as it is."""
    return timedelta(seconds=delta) if isinstance(delta, int | float) else delta


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """`dt` rounded down to the largest unit of `delta`: days, hours or minutes."""
    if delta.days > 0:
        return dt.replace(hour=0, minute=0, second=0, microsecond=0)
    if delta.total_seconds() >= 3600:
        return dt.replace(minute=0, second=0, microsecond=0)
    if delta.total_seconds() >= 60:
        return dt.replace(second=0, microsecond=0)
    return dt


def remaining(
    start: datetime, ends_in: timedelta, now: datetime | None = None, relative: bool = False
) -> timedelta:
    """How long until `ends_in` after `start`."""
    now = now or datetime.now(UTC)
    end = start + ends_in
    if relative:
        end = delta_resolution(end, ends_in).replace(tzinfo=start.tzinfo)
    return maybe_make_aware(end) - maybe_make_aware(now)


def is_naive(dt: datetime) -> bool:
    """Whether it does not say its time zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """The same time on the clock, in `tz`; a time that says its zone is converted."""
    return dt.replace(tzinfo=tz) if is_naive(dt) else dt.astimezone(tz)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """The same moment in `tz`; naive: the same time on the clock there."""
    return make_aware(dt, tz)


def to_utc(dt: datetime) -> datetime:
    """The same moment in UTC; naive: it is in UTC already."""
    return make_aware(dt, UTC)


def maybe_make_aware(dt: datetime, tz: tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """`dt` with a time zone: its own; else UTC, and then in `tz`."""
    if not is_naive(dt):
        return dt
    if naive_as_utc or tz is None:
        dt = to_utc(dt)
    return dt if tz is None else localize(dt, tz)


def maybe_iso8601(dt: Any) -> datetime | None:
    """A time as it is, or as ISO 8601 writes it."""
    return dt if dt is None or isinstance(dt, datetime) else datetime.fromisoformat(dt)


def humanize_seconds(
    secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False
) -> str:
    """``90`` as ``1.50 minutes``."""
    secs = float(format(float(secs), ".2f"))
    for size, unit in _UNITS:
        if secs >= size:
            amount = secs / size
            whole = f"{amount:.0f}" if unit == "second" and secs.is_integer() else f"{amount:.2f}"
            return f"{prefix}{sep}{whole} {unit}{'s' if amount > 1 else ''}"
    if microseconds and secs > 0:
        return f"{prefix}{sep}{secs:.2f} seconds"
    return now


def get_exponential_backoff_interval(
    factor: float, retries: int, maximum: float, full_jitter: bool = False
) -> float:
    """Seconds until the next try."""
    pause = float(min(maximum, factor * 2**retries))
    if full_jitter:
        pause = random.randrange(int(pause) + 1)
    return max(0.0, pause)
