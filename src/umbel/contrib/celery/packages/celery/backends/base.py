"""Base classes of result backends."""

from __future__ import annotations

from umbel.contrib.celery.backend import Backend
from umbel.contrib.celery.backends import (
    BaseBackend,
    BaseDictBackend,
    DisabledBackend,
    KeyValueStoreBackend,
    get_current_task,
)

__all__ = [
    "Backend",
    "BaseBackend",
    "BaseDictBackend",
    "BaseKeyValueStoreBackend",
    "DisabledBackend",
    "KeyValueStoreBackend",
    "get_current_task",
]

BaseKeyValueStoreBackend = KeyValueStoreBackend
