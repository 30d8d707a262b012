"""Remote control."""

from __future__ import annotations

from umbel.control import Control, Inspect

__all__ = ["Control", "Inspect"]
