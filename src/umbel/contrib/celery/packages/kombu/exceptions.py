"""Exceptions."""

from __future__ import annotations

from umbel.errors import ContentDisallowed, DecodeError, EncodeError, OperationalError

__all__ = ["ContentDisallowed", "DecodeError", "EncodeError", "OperationalError"]
