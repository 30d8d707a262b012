"""Sending events."""

from __future__ import annotations

from umbel.receiving import EventDispatcher

__all__ = ["EventDispatcher"]
