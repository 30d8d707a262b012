"""This machine."""

from __future__ import annotations

from umbel.contrib.celery.utils.sysinfo import (
    AUTO_CONCURRENCY,
    available_cpu_count,
    df,
    is_auto_concurrency,
    load_average,
)

__all__ = [
    "AUTO_CONCURRENCY",
    "available_cpu_count",
    "df",
    "is_auto_concurrency",
    "load_average",
]
