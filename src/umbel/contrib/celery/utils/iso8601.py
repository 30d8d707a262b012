"""``celery.utils.iso8601``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

__all__ = ["parse_iso8601"]

_FORM = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:.(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?\s*(?:(Z)|([+-])(\d{2}).?(\d{2}))?)?"
)


def parse_iso8601(datestring: str) -> datetime:
    """A datetime of its text, naive when that names no zone. ``datetime.fromisoformat`` does it too."""
    match = _FORM.match(datestring)
    if match is None:
        raise ValueError(f"unable to parse date string {datestring!r}")
    year, month, day, hour, minute, second, fraction, utc, sign, hours, minutes = match.groups()
    zone: timezone | None = UTC if utc else None
    if sign:
        away = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-away if sign == "-" else away)
    clock = (int(hour or 0), int(minute or 0), int(second or 0), int((fraction or "0").ljust(6, "0")[:6]))
    return datetime(int(year), int(month), int(day), *clock, tzinfo=zone)
