"""Result stores."""

from __future__ import annotations

from umbel.contrib.celery.backend import Backend
from umbel.contrib.celery.backend import Backend as BaseBackend
from umbel.contrib.celery.backend import Backend as BaseKeyValueStoreBackend
from umbel.contrib.celery.backend import Backend as KeyValueStoreBackend

__all__ = ["Backend", "BaseBackend", "BaseKeyValueStoreBackend", "KeyValueStoreBackend"]
