"""Signals of one's own."""

from __future__ import annotations

from umbel.signals import Signal

__all__ = ["Signal"]
