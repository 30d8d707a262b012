"""Django's connection to a database as the port of ``umbel.backends._sql``: a worker's own, or that of the calling thread."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import msgspec
from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from umbel.backends._sql.database import Dialect, Session, Unavailable
from umbel.contrib.django.database.breaker import Statement, breaker
from umbel.contrib.django.database.clock import Clock
from umbel.contrib.django.database.errors import Kind, in_our_terms, kind_of
from umbel.contrib.django.database.options import Options
from umbel.contrib.django.database.statements import statements_of
from umbel.errors import OperationalError

__all__ = ["DjangoDatabase", "DjangoSession", "ThreadConnection"]

T = TypeVar("T")
Error = DatabaseError | InterfaceError
ERRORS = (DatabaseError, InterfaceError)

CONFLICTS = 10
"""Attempts at a transaction that collides with others."""
BEGIN = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN ISOLATION LEVEL READ COMMITTED", "mysql": "BEGIN"}

LOST = (
    "The transaction around this call can only be rolled back now, and Django refuses further queries in it; where it is to "
    "go on without the call, give that an atomic() of its own."
)

_encode = msgspec.json.Encoder().encode


class DjangoSession:
    """The port's ``Session``, on a connection that is ready."""

    def __init__(self, connection: BaseDatabaseWrapper, clock: Clock, *, joined: bool) -> None:
        self.joined = joined
        self._connection = connection
        self._statements = statements_of(connection.vendor)
        self._vendor = connection.vendor
        self._clock = clock

    def rows(self, name: str, **values: Any) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(self._statements[name], self._bound(values))
            return list(cursor.fetchall())

    def run(self, name: str, **values: Any) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(self._statements[name], self._bound(values))
            return int(cursor.rowcount)

    def many(self, name: str, values: Sequence[Mapping[str, Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(self._statements[name], [self._bound(each) for each in values])

    def _bound(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if self._vendor == "postgresql":
            return dict(values)
        bound = {name: _encode(v).decode() if isinstance(v, list) else v for name, v in values.items()}
        return bound | self._clock.times() if self._vendor == "sqlite" else bound


class _Attempt:
    """What is known of one."""

    def __init__(self, number: int, until: float) -> None:
        self.number = number
        self.until = until
        self.connection: BaseDatabaseWrapper | None = None
        """None: there was none."""
        self.statement: Statement | None = None


class DjangoDatabase:
    """What both kinds of connection share: attempts, transactions, errors."""

    def __init__(self, options: Options, dialect: Dialect, clock: Clock, unavailable: Unavailable) -> None:
        self.dialect = dialect
        self.options = options
        self.clock = clock
        self.unavailable = unavailable

    # -- the port

    def plainly(self, work: Callable[[Session], T], until: float | None = None) -> T:
        return self._attempt(work, until, begin=False)

    def atomically(self, work: Callable[[Session], T], until: float | None = None) -> T:
        return self._attempt(work, until, begin=True)

    def close(self) -> None:
        """Nothing to let go of."""

    # -- for the two kinds

    def _connected(self) -> BaseDatabaseWrapper:
        """The connection, ready for a statement. Raises Django's errors."""
        raise NotImplementedError

    def _after_error(self, connection: BaseDatabaseWrapper) -> None:
        """Let go of the connection if it is of no use any more."""
        raise NotImplementedError

    def _without_waiting(self, connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
        """Meanwhile SQLite itself does not wait for locks: its pauses grow to 100 ms, with which one busy writer starves
        the others."""
        return nullcontext()

    def _is_joined(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether what is done on it belongs to a transaction of its user."""
        return False

    # -- attempts

    def _attempt(self, work: Callable[[Session], T], until: float | None, *, begin: bool) -> T:
        latest = time.monotonic() + self.options.lock_timeout
        latest = latest if until is None else min(until, latest)
        attempts = 0
        while True:
            attempts += 1
            attempt = _Attempt(attempts, latest)
            try:
                attempt.connection = connection = self._connected()
                limit = breaker.within(self._time_limit(until), descriptor_of(connection))
                with self._without_waiting(connection), limit as attempt.statement:
                    return self._once(connection, work, latest, begin=begin)
            except ERRORS as exc:
                self._judge(exc, attempt)
            # Two who collided must not do so again.
            time.sleep(random.uniform(0.0002, 0.002))

    def _time_limit(self, until: float | None) -> float:
        """Seconds in which the server has to answer."""
        longest = self.options.stuck_timeout
        return longest if until is None else max(0.1, min(longest, until - time.monotonic()))

    def _judge(self, exc: Error, attempt: _Attempt) -> None:
        """Return to have it tried again; else raise."""
        connection = attempt.connection
        vendor = str(connections[self.options.alias].vendor)
        kind = kind_of(exc, vendor)
        joined = connection is not None and self._is_joined(connection)
        if connection is not None and not joined and kind is not Kind.LOCKED:
            self._after_error(connection)
        if not joined:  # the caller's transaction cannot be repeated here
            if kind is Kind.LOCKED and time.monotonic() < attempt.until:
                return
            if kind is Kind.CONFLICT and attempt.number < CONFLICTS:
                return
        if attempt.statement is not None and attempt.statement.cut:
            error = self._no_answer(attempt.statement)
        else:
            found = in_our_terms(
                exc, kind, alias=self.options.alias, vendor=vendor, unavailable=self.unavailable
            )
            if found is None:
                _mark_if_lost(connection, joined=joined)
                raise exc
            error = found
        if _mark_if_lost(connection, joined=joined):
            error.args = (f"{error} {LOST}",)
        # Trying again is of no use in the caller's transaction.
        error.refused = joined
        error.in_doubt = not joined and connection is not None and kind is Kind.AWAY
        raise error from exc

    def _no_answer(self, statement: Statement) -> OperationalError:
        return self.unavailable(
            f"The database {self.options.alias!r} has given no answer within {statement.seconds:.3g} s, and the connection was "
            "cut. Check the server and the way to it; the limit is the option stuck_timeout, and that of a call "
            "broker_send_timeout."
        )

    def _once(
        self, connection: BaseDatabaseWrapper, work: Callable[[Session], T], until: float, *, begin: bool
    ) -> T:
        session = DjangoSession(connection, self.clock, joined=self._is_joined(connection))
        if session.joined or not begin:
            return work(session)
        _execute(connection, BEGIN[connection.vendor])
        try:
            result = work(session)
            _commit(connection, until)
        except BaseException:
            _roll_back(connection)
            raise
        return result


def _mark_if_lost(connection: BaseDatabaseWrapper | None, *, joined: bool) -> bool:
    """After an error: let Django know if the caller's transaction is lost. Otherwise somebody who catches the error could
    commit what comes after it, without what came before."""
    if connection is None or not joined:
        return False
    raw: Any = connection.connection
    if connection.vendor == "sqlite" and raw is not None and raw.in_transaction:
        return False  # it undoes the statement alone
    connection.needs_rollback = True
    return True


def _execute(connection: BaseDatabaseWrapper, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _commit(connection: BaseDatabaseWrapper, until: float) -> None:
    while True:
        try:
            return _execute(connection, "COMMIT")
        except ERRORS as exc:
            # SQLite without a write-ahead log: somebody reads. The transaction stands, and new readers have to wait.
            locked = kind_of(exc, connection.vendor) is Kind.LOCKED
            if not (locked and connection.vendor == "sqlite" and time.monotonic() < until):
                raise
        time.sleep(0.001)


def _roll_back(connection: BaseDatabaseWrapper) -> None:
    # SQLite may have ended the transaction by itself, of a full disk for one. Elsewhere a connection that cannot even do
    # this is given up because of the error that led here.
    with suppress(*ERRORS):
        _execute(connection, "ROLLBACK")


class ThreadConnection(DjangoDatabase):
    """That of the calling thread: Django's, in whatever transaction it is."""

    def _connected(self) -> BaseDatabaseWrapper:
        connection = connections[self.options.alias]
        if connection.connection is not None and not connection.in_atomic_block:
            drop_if_dead(connection)
        connection.ensure_connection()
        return connection

    def _is_joined(self, connection: BaseDatabaseWrapper) -> bool:
        return connection.in_atomic_block or not connection.autocommit

    def _after_error(self, connection: BaseDatabaseWrapper) -> None:
        connection.close_if_unusable_or_obsolete()

    @contextmanager
    def _without_waiting(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        if connection.vendor != "sqlite" or self._is_joined(connection):
            yield
            return
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout")
            [usual] = cursor.fetchone()
        _execute(connection, "PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            if connection.connection is not None:
                _execute(connection, f"PRAGMA busy_timeout = {usual}")


def drop_if_dead(connection: BaseDatabaseWrapper) -> None:
    """Close a connection that the server has closed, before anything is sent on it and nobody knows whether it arrived.

    On an idle connection there is nothing to read, unless the server has said good-bye.
    """
    descriptor = descriptor_of(connection)
    if descriptor is None:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if poll.poll(0) and not connection.is_usable():
        connection.close()


def descriptor_of(connection: BaseDatabaseWrapper) -> int | None:
    """Of the socket to the server; None where there is none, or the driver does not tell."""
    raw: Any = connection.connection
    if connection.vendor == "postgresql":
        return None if raw.closed else int(raw.fileno())
    sock = getattr(raw, "_sock", None) if connection.vendor == "mysql" else None
    return None if sock is None else int(sock.fileno())
