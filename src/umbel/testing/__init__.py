"""For tests of programs that use Umbel, and of backends.

``record_tasks`` keeps what is sent, and runs it on a clock that the test moves. ``start_worker`` runs a worker inside the test's
process. ``umbel.testing.conformance`` is the contract of brokers and result stores as a test suite; it needs pytest and is
imported by name. The names below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umbel.testing.recorder import RanTask, SentTask, TaskRecorder, record_tasks
    from umbel.testing.worker import InProcessWorker, start_worker

__all__ = ["InProcessWorker", "RanTask", "SentTask", "TaskRecorder", "record_tasks", "start_worker"]

_HOMES = {
    "InProcessWorker": "umbel.testing.worker",
    "RanTask": "umbel.testing.recorder",
    "SentTask": "umbel.testing.recorder",
    "TaskRecorder": "umbel.testing.recorder",
    "record_tasks": "umbel.testing.recorder",
    "start_worker": "umbel.testing.worker",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
