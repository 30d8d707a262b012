"""Helpers."""

from __future__ import annotations

from umbel.ids import new_id as gen_unique_id
from umbel.ids import new_id as uuid

__all__ = ["gen_unique_id", "uuid"]
