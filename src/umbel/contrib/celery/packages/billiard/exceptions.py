"""Exceptions."""

from __future__ import annotations

from umbel.errors import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

__all__ = ["SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError"]
