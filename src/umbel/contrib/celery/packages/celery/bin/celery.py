"""The command line."""

from __future__ import annotations

from umbel.cli import main
from umbel.cli import main as celery

__all__ = ["celery", "main"]
