"""Tables of routes."""

from __future__ import annotations

from umbel.contrib.celery.routes import (
    MapRoute,
    QueueNotFound,
    Router,
    expand_router_string,
    prepare,
)

__all__ = [
    "MapRoute",
    "QueueNotFound",
    "Router",
    "expand_router_string",
    "prepare",
]
