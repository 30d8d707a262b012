"""A value of every type that Celery's JSON carries, and how a task sees it."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -(2**70),
    1.5,
    float("inf"),
    "",
    "text, ünïcode, \x00 and 🌱",
    [],
    [1, ["two", {"three": None}]],
    {},
    {"key": {"nested": [Decimal("0.1")]}, "": 0},
    datetime(2026, 2, 28, 23, 59, 59, 123456),
    datetime(2026, 2, 28, 12, tzinfo=UTC),
    datetime(2026, 7, 1, 12, 30, tzinfo=timezone(timedelta(hours=2))),
    date(2024, 2, 29),
    time(23, 59, 59, 5),
    Decimal("12345678901234567890.000000001"),
    uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"),
    b"ascii",
    "ümläut".encode(),
    bytes(range(256)),
)
DESCRIBED = [f"{type(value).__name__} {value!r}" for value in VALUES]
