"""Umbel: a task queue for Python and Django.

::

    from umbel import Umbel

    app = Umbel("shop")


    @app.task
    def add(x: int, y: int) -> int:
        return x + y


    add.delay(1, 2).get(timeout=10)

The names below are imported when they are first used, so that ``import umbel`` is quick and imports no driver.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from umbel._version import __version__

if TYPE_CHECKING:
    from umbel import errors, states
    from umbel import errors as exceptions
    from umbel.app import Umbel
    from umbel.as_celery import install_as_celery
    from umbel.context import Request, allow_join_result
    from umbel.flow.canvas import chain, chord, group
    from umbel.flow.repeated import chunks, xmap, xstarmap
    from umbel.flow.signature import Signature, maybe_signature
    from umbel.flow.stamping import StampingVisitor
    from umbel.groups import GroupResult, ResultSet, result_from_tuple
    from umbel.log import get_task_logger
    from umbel.result import AsyncResult, EagerResult
    from umbel.shared import current_app, current_task, shared_task, signature
    from umbel.task import Task

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "Request",
    "ResultSet",
    "Signature",
    "StampingVisitor",
    "Task",
    "Umbel",
    "__version__",
    "allow_join_result",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "errors",
    "exceptions",
    "get_task_logger",
    "group",
    "install_as_celery",
    "maybe_signature",
    "result_from_tuple",
    "shared_task",
    "signature",
    "states",
    "xmap",
    "xstarmap",
]

_HOMES = {
    "AsyncResult": "umbel.result",
    "EagerResult": "umbel.result",
    "GroupResult": "umbel.groups",
    "Request": "umbel.context",
    "ResultSet": "umbel.groups",
    "Signature": "umbel.flow.signature",
    "StampingVisitor": "umbel.flow.stamping",
    "Task": "umbel.task",
    "Umbel": "umbel.app",
    "allow_join_result": "umbel.context",
    "chain": "umbel.flow.canvas",
    "chord": "umbel.flow.canvas",
    "chunks": "umbel.flow.repeated",
    "current_app": "umbel.shared",
    "current_task": "umbel.shared",
    "get_task_logger": "umbel.log",
    "group": "umbel.flow.canvas",
    "install_as_celery": "umbel.as_celery",
    "maybe_signature": "umbel.flow.signature",
    "result_from_tuple": "umbel.groups",
    "shared_task": "umbel.shared",
    "signature": "umbel.shared",
    "xmap": "umbel.flow.repeated",
    "xstarmap": "umbel.flow.repeated",
}
_MODULES = {"errors": "umbel.errors", "exceptions": "umbel.errors", "states": "umbel.states"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'umbel' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
