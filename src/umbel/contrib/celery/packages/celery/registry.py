"""Tasks by name."""

from __future__ import annotations

from umbel.registry import Tasks as TaskRegistry
from umbel.shared import current_app

__all__ = ["TaskRegistry", "tasks"]

tasks = current_app.tasks
