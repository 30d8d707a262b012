"""Tasks by name: ``tasks`` are those of the current app."""

from __future__ import annotations

from typing import Any

from umbel.context import get_current_app
from umbel.registry import Tasks as TaskRegistry

__all__ = ["TaskRegistry", "tasks"]


tasks: Any


def __getattr__(name: str) -> Any:
    # When it is asked for: importing this makes no app.
    if name == "tasks":
        return get_current_app().tasks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
