"""Events."""

from __future__ import annotations

from umbel.receiving import EventDispatcher, EventReceiver, Events

__all__ = ["EventDispatcher", "EventReceiver", "Events"]
