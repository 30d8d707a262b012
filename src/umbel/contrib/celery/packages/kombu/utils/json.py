"""JSON."""

from __future__ import annotations

from umbel.contrib.celery.kombu_json import (
    JSONEncoder,
    dumps,
    loads,
    object_hook,
    register_type,
)

__all__ = [
    "JSONEncoder",
    "dumps",
    "loads",
    "object_hook",
    "register_type",
]
