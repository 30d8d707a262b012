"""The server of the model tests."""

from __future__ import annotations

from conformance.conftest import redis_process

__all__ = ["redis_process"]
