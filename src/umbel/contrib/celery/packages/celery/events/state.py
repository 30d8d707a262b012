"""What follows from events."""

from __future__ import annotations

from umbel.monitoring import State, Task, Worker

__all__ = ["State", "Task", "Worker"]
