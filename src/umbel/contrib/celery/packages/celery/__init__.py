"""Umbel under the name of Celery."""

from __future__ import annotations

from umbel import (
    GroupResult,
    ResultSet,
    Signature,
    StampingVisitor,
    chain,
    chord,
    chunks,
    current_app,
    current_task,
    group,
    maybe_signature,
    shared_task,
    signature,
    xmap,
    xstarmap,
)
from umbel.context import state
from umbel.contrib.celery import results
from umbel.contrib.celery.app import Celery, make_default
from umbel.contrib.celery.task import CeleryTask as Task
from umbel.ids import new_id as uuid

__all__ = [
    "SERIES",
    "VERSION",
    "Celery",
    "GroupResult",
    "ResultSet",
    "Signature",
    "StampingVisitor",
    "Task",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "make_default",
    "maybe_signature",
    "shared_task",
    "signature",
    "state",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]

state.make_app = make_default
results.install()
subtask = signature
VERSION = (5, 7, 0)
__version__ = "5.7.0"
"""The version of Celery whose names these are; that of Umbel is ``umbel.__version__``."""
SERIES = "umbel"


def bugreport(app: Celery | None = None) -> str:
    """What to write into a bug report."""
    return (app or make_default()).bugreport()
