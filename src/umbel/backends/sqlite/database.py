"""One connection to a database file: opened when first used, locked, safe across forks, with errors in our terms.

**Forks.** A connection must not be used in a forked child, nor may the child open the file again while its memory
still holds the parent's: SQLite keeps the locks of a file per process in memory, and the child would believe in
locks that only the parent has. So before every ``os.fork`` the connections of the process are closed, each after
the transaction it is in, and both sides open their own when they next need one. A fork made by C code that calls
no such hook is noticed by the process id.

**Never open the database file by other means in this process**, not even to read a byte: closing any descriptor of
it gives up every POSIX lock that the process has on it.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from umbel.backends._common_machine_clock import BOOT_ID
from umbel.backends.sqlite.location import Location
from umbel.backends.sqlite.statements import JOINS, SCHEMA, statement
from umbel.errors import BrokerUnavailable, OperationalError, StoreFull, StoreUnavailable

__all__ = ["Database", "Unavailable"]

Unavailable = type[BrokerUnavailable] | type[StoreUnavailable]

VERSION = 2
"""Of the schema; ``PRAGMA user_version`` of the file."""
MIGRATIONS: dict[int, str] = {0: SCHEMA, 1: JOINS}
"""From which version, by which SQL, to the next one."""
APPLICATION_ID = 0x556D6265
"""``PRAGMA application_id`` of the file: "Umbe"."""
CACHE_KIB = 8_000
"""Of pages that a connection keeps: what a worker's memory can grow by when there is much in the file."""
WAL_KEPT = 64 * 1024 * 1024
"""Bytes of the log that are kept for reuse after a checkpoint."""

_BOOT = statement("boot")
_SET_BOOT = statement("set_boot")
_END_ALL_LEASES = statement("end_all_leases")
_FORGET_NODES = statement("forget_nodes")


class Database:
    """A connection to the file of `location`. One thread at a time; others wait for its lock."""

    def __init__(self, location: Location, unavailable: Unavailable) -> None:
        self.location = location
        self.opened = 0
        """How often the file was opened: after a fork, or an error, the connection is a new one."""
        self._unavailable = unavailable
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._pid = 0
        self._file: _FileIdentity = None
        self._busy_since = 0.0
        self._patience = location.busy_timeout
        _family.add(self)

    # -- using it

    @contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """The connection, for statements that stand each for itself."""
        with self._lock, self._translated():
            self._patience = self.location.busy_timeout
            yield self._ready()

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """The connection, for several reads that see one state of the file."""
        with self._transaction("BEGIN DEFERRED") as connection:
            yield connection

    @contextmanager
    def write(self, until: float | None = None) -> Iterator[apsw.Connection]:
        """The connection inside a transaction that holds the write lock; rolled back by any exception.

        It waits for the lock no longer than `until`, by ``time.monotonic()``.
        """
        with self._transaction("BEGIN IMMEDIATE", until) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, until: float | None = None) -> Iterator[apsw.Connection]:
        with self._lock, self._translated():
            longest = self.location.busy_timeout
            self._patience = longest if until is None else max(min(longest, until - time.monotonic()), 0.0)
            connection = self._ready()
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # An error such as a full disk may have ended the transaction by itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the connection. It is opened again when it is next used."""
        with self._lock:
            self._drop()

    # -- opening it

    def _ready(self) -> apsw.Connection:
        path = self.location.path
        if self._connection is not None and self._pid == os.getpid() and self._file == _identity(path):
            return self._connection
        # Also where a fork went unnoticed (nobody was in a transaction, for we hold the lock), and where the file was
        # deleted or replaced: what is written to a file without a name is lost.
        self._drop()
        with _creating:
            _create_file(path, self._unavailable)
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=150)
        try:
            connection.set_busy_handler(self._wait_for_lock)
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._pid, self._file = connection, os.getpid(), _identity(path)
        self.opened += 1
        return connection

    def _prepare(self, connection: apsw.Connection) -> None:
        _refuse_foreign_file(connection, self.location, self._unavailable)
        mode = connection.pragma("journal_mode", "wal")
        if mode != "wal":
            raise self._unavailable(
                f"{self.location.path} cannot be used by several processes: its file system does not support SQLite's "
                f"write-ahead log (journal mode is {mode!r}). Put the file on a local disk."
            )
        connection.pragma("synchronous", self.location.synchronous)
        connection.pragma("journal_size_limit", WAL_KEPT)
        connection.pragma("cache_size", -CACHE_KIB)
        if connection.pragma("user_version") != VERSION:
            _migrate(connection)
        if connection.execute(_BOOT).get != BOOT_ID:
            _begin_boot(connection)

    def _wait_for_lock(self, calls: int) -> bool:
        """SQLite's own pauses grow to 100 ms, with which one busy writer starves the others."""
        now = time.monotonic()
        if calls == 0:
            self._busy_since = now
        if now - self._busy_since >= self._patience:
            return False
        time.sleep(random.uniform(0.0002, 0.002))  # jitter, so that two who collided do not do so again
        return True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- errors

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as exc:
            error = self._in_our_terms(exc)
            if error is None:
                raise
            raise error from exc

    def _in_our_terms(self, exc: apsw.Error) -> OperationalError | None:
        """None: it is a mistake of ours, and looks like one."""
        path = self.location.path
        match exc:
            case apsw.BusyError() | apsw.LockedError():
                return self._unavailable(
                    f"{path} has been locked by another process for {self._patience:.3g} s; nothing was "
                    "written. Find who holds a transaction open (fuser shows who has the file open), or raise the "
                    "limits: ?busy_timeout=30 in the URL and, for sending, broker_send_timeout."
                )
            case apsw.FullError() | apsw.NoMemError():
                return StoreFull(
                    f"There is no room left for {path} ({exc}); nothing was written. Make room for it."
                )
            case apsw.ReadOnlyError() | apsw.PermissionsError():
                return StoreFull(
                    f"{path} or its directory is read-only for this user ({exc}); nothing was written. Make both writable."
                )
            case apsw.CorruptError() | apsw.NotADBError():
                self._drop()
                return self._unavailable(
                    f"{path} is not an SQLite database, or is damaged ({exc}). Move it away, with its -wal and -shm "
                    "files, and a new one is made; `sqlite3 FILE .recover` may save what it holds."
                )
            case apsw.CantOpenError() | apsw.IOError():
                self._drop()
                return self._unavailable(
                    f"{path} cannot be opened, read or written ({exc}). Check the path, the owner of the file and of "
                    "its directory, and the disk."
                )
        return None

    # -- forks

    def hold_for_fork(self) -> None:
        """Wait for the transaction it is in, then close; ``let_go_after_fork`` must follow, on both sides."""
        self._lock.acquire()
        if self._pid == os.getpid():
            self._drop()

    def let_go_after_fork(self) -> None:
        self._lock.release()


# ---------------------------------------------------------------------------------------------------- preparation


_FileIdentity = tuple[int, int] | None


def _identity(path: Path) -> _FileIdentity:
    """Device and inode: what a name stands for right now. None: nothing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _create_file(path: Path, unavailable: Unavailable) -> None:
    """Make an empty file for this user only; the log beside it takes its mode from it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except FileNotFoundError:
        raise unavailable(
            f"The directory {path.parent} for the database {path.name} does not exist. Create it, or correct the URL."
        ) from None
    except OSError as exc:
        raise unavailable(
            f"{path} cannot be created: {exc.strerror}. Check the directory's owner and the disk, or correct the URL."
        ) from exc


def _refuse_foreign_file(connection: apsw.Connection, location: Location, unavailable: Unavailable) -> None:
    """Raise unless the file is empty or ours, before anything in it is changed."""
    connection.execute("BEGIN")  # one state of the file: another process may be making its tables just now
    try:
        application, version = connection.pragma("application_id"), connection.pragma("user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").get
    finally:
        connection.execute("COMMIT")
    if tables and application != APPLICATION_ID:
        raise unavailable(
            f"{location.path} is the database of another program. Give Umbel a file of its own: Django's, for one, must "
            "not be opened by two copies of SQLite in one process."
        )
    if version > VERSION:
        raise unavailable(
            f"{location.path} was written by a newer Umbel (its schema has version {version}, this one knows {VERSION}). "
            "Upgrade Umbel here, or use another file."
        )


def _migrate(connection: apsw.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.pragma("user_version")  # again: another process may have been quicker
        while version < VERSION:
            connection.execute(MIGRATIONS[version])
            version += 1
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", VERSION)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _begin_boot(connection: apsw.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute(_BOOT).get != BOOT_ID:
            connection.execute(_END_ALL_LEASES)
            connection.execute(_FORGET_NODES)
            connection.execute(_SET_BOOT, (BOOT_ID,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# ---------------------------------------------------------------------------------------------------------- forks


class _Family:
    """The databases of this process, for the moment of a fork, and what else has to be told of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: weakref.WeakSet[Database] = weakref.WeakSet()
        self._held: list[Database] | None = None

    def add(self, member: Database) -> None:
        with self._lock:
            self._members.add(member)

    def before_fork(self) -> None:
        self._lock.acquire()
        self._held = list(self._members)
        for member in self._held:
            member.hold_for_fork()

    def after_fork(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return  # a fork made by C code that calls this hook, but not the one before
        for member in held:
            member.let_go_after_fork()
        self._lock.release()


_family = _Family()
_creating = threading.Lock()

os.register_at_fork(
    before=_family.before_fork, after_in_parent=_family.after_fork, after_in_child=_family.after_fork
)
