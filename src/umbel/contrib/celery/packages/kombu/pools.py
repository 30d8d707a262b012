"""Pools."""

from __future__ import annotations

from umbel.contrib.celery.pools import (
    PoolGroup,
    ProducerPool,
    connections,
    get_limit,
    producers,
    register_group,
    reset,
    set_limit,
)

__all__ = [
    "PoolGroup",
    "ProducerPool",
    "connections",
    "get_limit",
    "producers",
    "register_group",
    "reset",
    "set_limit",
]
