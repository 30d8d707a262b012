"""Ids."""

from __future__ import annotations

from umbel.ids import (
    new_id as uuid,
)

__all__ = [
    "uuid",
]
