"""Retries by themselves."""

from __future__ import annotations

from umbel.contrib.celery.parts import add_autoretry_behaviour

__all__ = ["add_autoretry_behaviour"]
