"""What the runner knows of a task, and of one run of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from umbel.context import Request
from umbel.core.envelope import Envelope
from umbel.core.policy import Rules
from umbel.task import Task
from umbel.worker.ipc import Done, Handed

__all__ = ["Execution", "Facts"]


class Facts(msgspec.Struct, kw_only=True):
    """What does not change from one run of a task to the next."""

    task: Task[..., Any]
    around: Callable[..., Done] | None
    """What integrations have put around its runs."""
    ignore_result: bool
    track_started: bool
    soft_limit: float | None
    hard_limit: float | None
    stored: Rules
    """The rules of a call whose result is kept."""
    ignored: Rules


class Execution(msgspec.Struct, kw_only=True):
    """One run, from message to ending: the record that walks through the steps below."""

    call: Handed
    envelope: Envelope
    facts: Facts
    task: Task[..., Any]
    request: Request
    rules: Rules
    soft_limit: float | None
    hard_limit: float | None
    started: float
