"""A connection of our own, made as Django makes its: for a thread that does nothing else, or listens."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from umbel.backends._sql.database import Dialect, Session, Unavailable
from umbel.contrib.django.database.clock import Clock
from umbel.contrib.django.database.connection import (
    DjangoDatabase,
    DjangoSession,
    drop_if_dead,
)
from umbel.contrib.django.database.options import Options
from umbel.errors import ConfigurationError

__all__ = ["OwnConnection"]

T = TypeVar("T")


class OwnConnection(DjangoDatabase):
    """One thread at a time uses it; others wait for its lock."""

    def __init__(self, options: Options, dialect: Dialect, clock: Clock, unavailable: Unavailable) -> None:
        super().__init__(options, dialect, clock, unavailable)
        self.opened = 0
        """How often it was opened: after a fork, or an error, it is a new one."""
        self._connection: BaseDatabaseWrapper | None = None
        self.begin_anew()
        _family.add(self)

    def begin_anew(self) -> None:
        """In a forked child: the lock may never be given back, and the connection belongs to the parent."""
        self._lock = threading.Lock()
        if self._connection is not None:
            _never_closed.append(self._connection)
        self._connection = None

    def close(self) -> None:
        with self._lock:
            self._drop()

    def wrapper(self) -> BaseDatabaseWrapper:
        """The connection itself, ready; for its thread alone."""
        with self._lock:
            return self._connected()

    # -- for the attempts

    def _attempt(self, work: Callable[[Session], T], until: float | None, *, begin: bool) -> T:
        with self._lock:
            return super()._attempt(work, until, begin=begin)

    def _connected(self) -> BaseDatabaseWrapper:
        connection = self._connection
        if connection is not None and connection.connection is not None:
            drop_if_dead(connection)
        if connection is None or connection.connection is None:
            connection = self._connection = self._open()
        if connection.vendor != "sqlite" and self.clock.is_old():
            session = DjangoSession(connection, self.clock, joined=False)
            [(now,)] = session.rows("clock")
            self.clock.hear(now)
        return connection

    def _open(self) -> BaseDatabaseWrapper:
        connection = _make(self.options)
        # A fork may be made by another thread, and it has to close what must not be inherited.
        connection.inc_thread_sharing()
        # Django would keep all that we send, with DEBUG on.
        connection.make_debug_cursor = connection.make_cursor  # type: ignore[method-assign,assignment]
        connection.ensure_connection()
        self.opened += 1
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout = 0")
            self._learn_boot(connection)
        return connection

    def _learn_boot(self, connection: BaseDatabaseWrapper) -> None:
        until = time.monotonic() + self.options.lock_timeout
        self._once(connection, self.clock.learn_offset, until, begin=True)

    def _after_error(self, connection: BaseDatabaseWrapper) -> None:
        if not connection.is_usable():
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            close_quietly(connection)

    # -- forks

    def hold_for_fork(self) -> None:
        """SQLite: wait for the transaction it is in, then close. It keeps the locks of a file per process in memory, and a
        child would believe in locks that only its parent has."""
        self._lock.acquire()
        if self._connection is not None and self._connection.vendor == "sqlite":
            self._drop()

    def let_go_after_fork(self) -> None:
        self._lock.release()


def close_quietly(connection: BaseDatabaseWrapper) -> None:
    """Close it beneath Django's checks, which forbid that in another thread and on an event loop."""
    raw: Any = connection.connection
    connection.connection = None
    if raw is not None:
        with suppress(Exception):  # it may be broken already, and drivers say so each in its own way
            raw.close()


def _make(options: Options) -> BaseDatabaseWrapper:
    """A connection like Django's, not yet open, but for what would be wrong for us."""
    settings: dict[str, Any] = dict(connections.settings[options.alias])
    extra = dict(settings.get("OPTIONS") or {})
    extra.pop("pool", None)
    settings |= {"AUTOCOMMIT": True, "OPTIONS": extra, "CONN_HEALTH_CHECKS": False}
    if settings["ENGINE"].endswith("sqlite3") and str(settings["NAME"]) == ":memory:":
        raise ConfigurationError(
            f"The database {options.alias!r} lives in memory, where only one connection sees it: a queue in it could not be "
            "shared with a worker. Give DATABASES[...]['NAME'] a file."
        )
    if "postgresql" in settings["ENGINE"]:
        extra.setdefault("connect_timeout", max(2, round(options.stuck_timeout)))
    backend: Any = load_backend(settings["ENGINE"])
    connection: BaseDatabaseWrapper = backend.DatabaseWrapper(settings, options.alias)
    if connection.vendor == "mysql":
        for name in ("connect_timeout", "read_timeout", "write_timeout"):
            extra.setdefault(name, max(2, round(options.stuck_timeout)))
    return connection


# ---------------------------------------------------------------------------------------------------------- forks

_never_closed: list[Any] = []
"""Connections that a forked child has inherited. Closing one would end the session of the parent."""


class _Family:
    """The connections of this process, for the moment of a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: weakref.WeakSet[OwnConnection] = weakref.WeakSet()
        self._held: list[OwnConnection] = []

    def add(self, member: OwnConnection) -> None:
        with self._lock:
            self._members.add(member)

    def before_fork(self) -> None:
        self._lock.acquire()
        self._held = [each for each in self._members if _is_sqlite(each.options.alias)]
        for member in self._held:
            member.hold_for_fork()
        for connection in _of_this_thread(self._members):
            if connection.vendor == "sqlite" and not connection.in_atomic_block:
                close_quietly(connection)

    def after_in_parent(self) -> None:
        held, self._held = self._held, []
        for member in held:
            member.let_go_after_fork()
        self._lock.release()

    def after_in_child(self) -> None:
        self._lock = threading.Lock()
        self._held = []
        for member in list(self._members):
            member.begin_anew()
        for connection in _of_this_thread(self._members):
            _forget(connection)


def _is_sqlite(alias: str) -> bool:
    return "sqlite" in connections.settings[alias]["ENGINE"]


def _of_this_thread(members: weakref.WeakSet[OwnConnection]) -> list[BaseDatabaseWrapper]:
    """Django's own connections to the databases that hold queues, of the thread that forks, where they are open."""
    aliases = {member.options.alias for member in members}
    return [
        connection
        for connection in connections.all(initialized_only=True)
        if connection.alias in aliases and connection.connection is not None and not _in_memory(connection)
    ]


def _in_memory(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())  # type: ignore[attr-defined]


def _forget(connection: BaseDatabaseWrapper) -> None:
    """As ``close`` does, without closing."""
    _never_closed.append(connection.connection)
    if connection.in_atomic_block:
        connection.closed_in_transaction = True
        connection.needs_rollback = True
    else:
        connection.connection = None


_family = _Family()
os.register_at_fork(
    before=_family.before_fork,
    after_in_parent=_family.after_in_parent,
    after_in_child=_family.after_in_child,
)
