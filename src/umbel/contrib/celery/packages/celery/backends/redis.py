"""Result stores."""

from __future__ import annotations

from umbel.contrib.celery.backend import Backend as RedisBackend

__all__ = ["RedisBackend"]
