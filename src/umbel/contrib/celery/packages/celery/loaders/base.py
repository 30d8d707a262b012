"""Loaders are not used."""

from __future__ import annotations

from umbel.contrib.celery.app import Loader as BaseLoader

__all__ = ["BaseLoader"]
