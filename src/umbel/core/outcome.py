"""The endings of a run, as data, and the states that the world sees."""

from __future__ import annotations

from typing import Any

import msgspec

PENDING = "PENDING"
RECEIVED = "RECEIVED"
STARTED = "STARTED"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
RETRY = "RETRY"
IGNORED = "IGNORED"

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
"""The call is over."""
UNREADY_STATES = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})
"""The result is an exception."""
PROPAGATE_STATES = frozenset({FAILURE, REVOKED})
"""``get()`` raises the result."""


class Failure(msgspec.Struct, kw_only=True, frozen=True):
    """An exception that can travel: Celery's ``{"exc_type", "exc_message", "exc_module"}`` and the traceback's text."""

    exc_type: str
    exc_module: str
    exc_message: list[Any]
    """The exception's args as far as the result serializer can write them, else their ``repr``."""
    traceback: str | None = None


class ResultMeta(msgspec.Struct, kw_only=True):
    """A stored record, decoded: Celery's result meta."""

    task_id: str
    status: str
    result: Any = None
    """The value; for exception states a ``Failure``; for custom states their meta."""
    traceback: str | None = None
    children: list[Any] | None = None
    date_done: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    # only with result_extended
    name: str | None = None
    args: Any = None
    kwargs: Any = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None
    stamps: dict[str, Any] | None = None
    account: dict[str, Any] | None = None
    """What ``umbel.core.account`` says of its runs, where the sender asked for that. Umbel's own."""
