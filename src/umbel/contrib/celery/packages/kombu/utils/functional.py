"""Functions."""

from __future__ import annotations

from umbel.contrib.celery.kombu_functional import (
    ChannelPromise,
    LRUCache,
    accepts_argument,
    dictfilter,
    fxrange,
    fxrangemax,
    is_list,
    lazy,
    maybe_evaluate,
    maybe_list,
    memoize,
    reprcall,
    reprkwargs,
    retry_over_time,
    shufflecycle,
)

__all__ = [
    "ChannelPromise",
    "LRUCache",
    "accepts_argument",
    "dictfilter",
    "fxrange",
    "fxrangemax",
    "is_list",
    "lazy",
    "maybe_evaluate",
    "maybe_list",
    "memoize",
    "reprcall",
    "reprkwargs",
    "retry_over_time",
    "shufflecycle",
]

promise = lazy
maybe_promise = maybe_evaluate
