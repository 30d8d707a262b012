"""Tasks that every app has: Umbel finds them when they are called."""

from __future__ import annotations

__all__: list[str] = []
