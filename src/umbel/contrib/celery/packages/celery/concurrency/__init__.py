"""Pools."""

from __future__ import annotations

from umbel.contrib.celery.parts import get_available_pool_names, get_implementation

__all__ = ["get_available_pool_names", "get_implementation"]
