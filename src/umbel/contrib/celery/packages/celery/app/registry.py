"""Tasks by name."""

from __future__ import annotations

from umbel.registry import Tasks as TaskRegistry

__all__ = ["TaskRegistry"]
