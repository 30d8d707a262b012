"""The tests of the worker's sites, for chaos."""

from __future__ import annotations

from worker.conftest import make_site, redis_process, site

__all__ = ["make_site", "redis_process", "site"]
