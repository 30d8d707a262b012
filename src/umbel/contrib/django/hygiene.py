"""What a task must find in order, and leave so: database connections, translations, the time zone.

A request of Django's ends with a signal that does the same. A task has no request, and the next task runs in its thread.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import connections
from django.db.backends.signals import connection_created
from django.utils import timezone, translation

__all__ = ["forget_locale", "opened", "thread_of_its_own", "tidy_connections"]

P = ParamSpec("P")
T = TypeVar("T")


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


@asynccontextmanager
async def thread_of_its_own() -> AsyncIterator[None]:
    """Inside, a coroutine has a thread, and so database connections, to itself when it uses ``sync_to_async`` or the ORM.

    Coroutines that shared one would close each other's connections, and wait for each other's calls. Where the caller is
    Django's own, or synchronous code that waits (``async_to_sync``), its thread is used as it would be anyway.
    """
    async with ThreadSensitiveContext() as context:
        # Django's ASGI handler has asgiref make a thread for each request; this one is used again, with the connections
        # that CONN_MAX_AGE keeps open. A context inside another one is never asked for.
        lent: Any = _LentThread()
        SyncToAsync.context_to_thread_executor[context] = lent
        try:
            yield
        finally:
            SyncToAsync.context_to_thread_executor.pop(context, None)
            lent.give_back()


class _LentThread(Executor):
    """One of the threads of ``_idle``, taken when it is first needed."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._thread is None:
            self._thread = _take_thread()
            self._thread.submit(tidy_connections)
        return self._thread.submit(fn, *args, **kwargs)

    def give_back(self) -> None:
        if self._thread is not None:
            # Whoever gets it next comes after this.
            self._thread.submit(tidy_connections)
            _idle.append(self._thread)
            self._thread = None


_idle: list[ThreadPoolExecutor] = []


def _take_thread() -> ThreadPoolExecutor:
    try:
        return _idle.pop()  # the last one, so that as few connections as possible are in use
    except IndexError:
        return ThreadPoolExecutor(1, thread_name_prefix="umbel-coroutine")


os.register_at_fork(after_in_child=_idle.clear)
