"""Helpers."""

from __future__ import annotations

from umbel.contrib.celery.kombu_functional import (
    cached_property,
    fxrange,
    fxrangemax,
    is_list,
    maybe_list,
    nested,
    reprcall,
    reprkwargs,
    retry_over_time,
    shufflecycle,
    symbol_by_name,
)
from umbel.contrib.celery.kombu_urls import (
    parse_url,
)
from umbel.ids import (
    new_id as uuid,
)

__all__ = [
    "cached_property",
    "fxrange",
    "fxrangemax",
    "is_list",
    "maybe_list",
    "nested",
    "parse_url",
    "reprcall",
    "reprkwargs",
    "retry_over_time",
    "shufflecycle",
    "symbol_by_name",
    "uuid",
]
