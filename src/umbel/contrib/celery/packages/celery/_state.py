"""What is current."""

from __future__ import annotations

from umbel.context import get_current_app, get_current_task
from umbel.shared import current_app, current_task

__all__ = ["current_app", "current_task", "get_current_app", "get_current_task"]
