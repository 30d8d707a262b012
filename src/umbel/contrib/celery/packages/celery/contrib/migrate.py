"""Moving messages: not in Umbel, which says what to do in its place."""

from __future__ import annotations

from umbel.contrib.celery.parts import cannot_move as migrate_task
from umbel.contrib.celery.parts import cannot_move as migrate_tasks
from umbel.contrib.celery.parts import cannot_move as move
from umbel.contrib.celery.parts import cannot_move as move_by_idmap
from umbel.contrib.celery.parts import cannot_move as move_by_taskmap
from umbel.contrib.celery.parts import cannot_move as move_direct
from umbel.contrib.celery.parts import cannot_move as move_direct_by_id
from umbel.contrib.celery.parts import cannot_move as move_task_by_id
from umbel.contrib.celery.parts import cannot_move as republish
from umbel.contrib.celery.parts import cannot_move as start_filter

__all__ = [
    "migrate_task",
    "migrate_tasks",
    "move",
    "move_by_idmap",
    "move_by_taskmap",
    "move_direct",
    "move_direct_by_id",
    "move_task_by_id",
    "republish",
    "start_filter",
]
