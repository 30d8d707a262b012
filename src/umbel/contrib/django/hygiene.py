"""What a task must find in order, and leave so: database connections, translations, the time zone.

A request of Django's ends with a signal that does the same. A task has no request, and the next task runs in its thread.
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.signals import connection_created
from django.utils import timezone, translation

__all__ = ["atidy_connections", "forget_locale", "opened", "tidy_connections"]


def tidy_connections() -> None:
    """Close this thread's connections that are broken, or older than ``CONN_MAX_AGE``. One in a transaction is left alone."""
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()  # with DEBUG it would grow from task to task
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def forget_locale() -> None:
    """The next task in this thread begins with the language and the time zone of the settings."""
    translation.deactivate()
    timezone.deactivate()


_opened = False
"""A connection has been opened in this process. Until then coroutines need not visit the thread that would hold it."""


def _note_opened(**_: Any) -> None:
    global _opened
    _opened = True


connection_created.connect(_note_opened, dispatch_uid="umbel.contrib.django.hygiene")


def opened() -> bool:
    """Whether a database connection has ever been opened in this process."""
    return _opened


async def atidy_connections() -> None:
    """``tidy_connections`` in the thread in which coroutines use the database (``sync_to_async``, ``aget``, ``acreate``)."""
    if _opened:
        await sync_to_async(tidy_connections)()
