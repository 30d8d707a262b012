"""The command line."""

from __future__ import annotations

from umbel.cli import main

__all__ = ["main"]
