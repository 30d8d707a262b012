"""Signed messages: not in Umbel, which says what to do in their place."""

from __future__ import annotations

from umbel.contrib.celery.parts import setup_security

__all__ = ["setup_security"]
