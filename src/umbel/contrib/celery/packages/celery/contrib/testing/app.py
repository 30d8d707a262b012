"""Apps for tests."""

from __future__ import annotations

from umbel.contrib.celery.embedded import TestApp, setup_default_app

__all__ = ["TestApp", "setup_default_app"]
