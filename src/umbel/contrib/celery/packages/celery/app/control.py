"""Remote control."""

from __future__ import annotations

from umbel.contrib.celery.control import Control, Inspect

__all__ = ["Control", "Inspect"]
