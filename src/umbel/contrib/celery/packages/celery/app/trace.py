"""How tasks are run. What replaces ``build_tracer`` here is asked for every task that a worker runs."""

from __future__ import annotations

from umbel.contrib.celery.tracing import build_tracer, task_has_custom, trace_ok_t

__all__ = ["build_tracer", "task_has_custom", "trace_ok_t"]
