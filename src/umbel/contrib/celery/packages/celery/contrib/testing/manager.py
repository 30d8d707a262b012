"""For integration tests."""

from __future__ import annotations

from umbel.contrib.celery.manager import Manager, ManagerMixin, Sentinel

__all__ = ["Manager", "ManagerMixin", "Sentinel"]
