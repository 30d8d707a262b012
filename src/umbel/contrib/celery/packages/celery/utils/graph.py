"""What depends on what."""

from __future__ import annotations

from umbel.contrib.celery.utils.graph import (
    CycleError,
    DependencyGraph,
    GraphFormatter,
)

__all__ = [
    "CycleError",
    "DependencyGraph",
    "GraphFormatter",
]
