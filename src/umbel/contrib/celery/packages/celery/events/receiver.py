"""Receiving events."""

from __future__ import annotations

from umbel.receiving import EventReceiver

__all__ = ["EventReceiver"]
