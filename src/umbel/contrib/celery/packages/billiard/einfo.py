"""Exceptions and their tracebacks."""

from __future__ import annotations

from umbel.contrib.celery.tracing import ExceptionWithTraceback
from umbel.execution import ExceptionInfo

__all__ = ["ExceptionInfo", "ExceptionWithTraceback"]
