"""Calls as a worker receives them."""

from __future__ import annotations

from umbel.worker.request import Request

__all__ = ["Request"]
