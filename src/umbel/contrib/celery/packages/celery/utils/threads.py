"""Threads."""

from __future__ import annotations

from umbel.contrib.celery.utils.threads import (
    Local,
    LocalManager,
    LocalStack,
    bgThread,
    default_socket_timeout,
    get_ident,
    release_local,
)

__all__ = [
    "Local",
    "LocalManager",
    "LocalStack",
    "bgThread",
    "default_socket_timeout",
    "get_ident",
    "release_local",
]
