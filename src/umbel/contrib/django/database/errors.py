"""Errors of Django's databases in Umbel's terms."""

from __future__ import annotations

import enum
import sqlite3
from typing import Any

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, ProgrammingError

from umbel.backends._sql.database import Unavailable
from umbel.errors import OperationalError as UmbelOperationalError
from umbel.errors import StoreFull

__all__ = ["Kind", "in_our_terms", "kind_of", "said"]


class Kind(enum.Enum):
    """What an error of a database means to us."""

    LOCKED = "locked"
    """Somebody else holds what we need. Nothing was written; worth trying again."""
    CONFLICT = "conflict"
    """The transaction collided with another one and was rolled back; worth trying again."""
    FULL = "full"
    """No room, or read-only."""
    NO_TABLES = "no tables"
    AWAY = "away"
    """The connection is of no use any more, or there is none."""
    REFUSED = "refused"
    """The server answered that it will not, for now."""
    OURS = "ours"
    """A mistake of ours, and it should look like one."""


# The beginnings of PostgreSQL's SQLSTATEs.
_POSTGRESQL = {
    "40001": Kind.CONFLICT,  # serialization failure
    "40P01": Kind.CONFLICT,  # deadlock
    "55P03": Kind.LOCKED,  # lock not available
    "42P01": Kind.NO_TABLES,
    "42703": Kind.NO_TABLES,  # a column is missing: tables of an older version
    "53100": Kind.FULL,
    "25006": Kind.FULL,  # read-only transaction: a standby
    "57014": Kind.REFUSED,  # cancelled, by statement_timeout for one
    "57P": Kind.AWAY,  # shut down, or starting
    "08": Kind.AWAY,
    "53": Kind.REFUSED,  # too many connections, out of memory
}
_MYSQL = {
    1213: Kind.CONFLICT,  # deadlock
    1205: Kind.LOCKED,  # lock wait timeout
    1062: Kind.CONFLICT,  # duplicate key: two have just stored the same record
    1020: Kind.CONFLICT,  # the record has changed since it was read
    1146: Kind.NO_TABLES,
    1054: Kind.NO_TABLES,
    1021: Kind.FULL,
    1114: Kind.FULL,
    1290: Kind.FULL,
    1836: Kind.FULL,
    1040: Kind.REFUSED,
    1203: Kind.REFUSED,
    1317: Kind.REFUSED,
}
_SQLITE = {
    sqlite3.SQLITE_BUSY: Kind.LOCKED,
    sqlite3.SQLITE_LOCKED: Kind.LOCKED,
    sqlite3.SQLITE_FULL: Kind.FULL,
    sqlite3.SQLITE_READONLY: Kind.FULL,
    sqlite3.SQLITE_NOMEM: Kind.FULL,
    sqlite3.SQLITE_IOERR: Kind.AWAY,
    sqlite3.SQLITE_CANTOPEN: Kind.AWAY,
    sqlite3.SQLITE_CORRUPT: Kind.AWAY,
    sqlite3.SQLITE_NOTADB: Kind.AWAY,
    sqlite3.SQLITE_PERM: Kind.FULL,
}


def kind_of(exc: DatabaseError | InterfaceError, vendor: str) -> Kind:
    """What `exc`, raised by Django for a database of `vendor`, means."""
    cause: Any = exc.__cause__
    if vendor == "postgresql":
        return _kind_in_postgresql(exc, cause)
    if vendor == "mysql":
        number = next(iter(getattr(cause, "args", ())), None)
        known = _MYSQL.get(number) if isinstance(number, int) else None
    else:
        code = getattr(cause, "sqlite_errorcode", None)
        missing = isinstance(exc, OperationalError) and "no such" in str(exc)
        known = Kind.NO_TABLES if missing else _SQLITE.get(code & 0xFF) if isinstance(code, int) else None
    return known or _by_class(exc)


def _kind_in_postgresql(exc: DatabaseError | InterfaceError, cause: Any) -> Kind:
    # psycopg 3 and psycopg2 name it differently; without one, the server has not answered.
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
    for length in (5, 3, 2):
        if state[:length] in _POSTGRESQL:
            return _POSTGRESQL[state[:length]]
    if state and isinstance(exc, OperationalError):
        return Kind.REFUSED
    return _by_class(exc)


def _by_class(exc: DatabaseError | InterfaceError) -> Kind:
    if isinstance(exc, ProgrammingError | IntegrityError):
        return Kind.OURS
    return Kind.AWAY if isinstance(exc, OperationalError | InterfaceError) else Kind.OURS


def said(exc: BaseException) -> str:
    """What the database said, in one line."""
    return " ".join(str(exc).split()) or type(exc).__name__


def in_our_terms(
    exc: DatabaseError | InterfaceError, kind: Kind, *, alias: str, vendor: str, unavailable: Unavailable
) -> UmbelOperationalError | None:
    """The error to raise for `exc`; None: raise it as it is."""
    where = f"The database {alias!r}"
    match kind:
        case Kind.NO_TABLES:
            return unavailable(
                f"Umbel's tables are missing in database {alias!r} ({said(exc)}): run manage.py migrate"
                + ("" if alias == "default" else f" --database={alias}")
                + ". Nothing was written."
            )
        case Kind.LOCKED:
            return unavailable(
                f"{where} has been locked by another transaction for too long ({said(exc)}); nothing was written. "
                + _against_locks(vendor)
            )
        case Kind.CONFLICT:
            return unavailable(
                f"{where} has refused one attempt after another because of other transactions ({said(exc)}); nothing was "
                "written."
            )
        case Kind.FULL:
            return StoreFull(
                f"{where} has no room left or is read-only ({said(exc)}); nothing was written. Make room, or make it "
                "writable."
            )
        case Kind.REFUSED:
            return unavailable(f"{where} refuses: {said(exc)}. Nothing was written.")
        case Kind.AWAY:
            return unavailable(
                f"{where} cannot be reached, or has broken the connection: {said(exc)}. Check that the server runs, and "
                f"DATABASES[{alias!r}] in the settings."
            )
    return None


def _against_locks(vendor: str) -> str:
    if vendor == "sqlite":
        return (
            "Find who keeps a transaction open. For transactions that read first and write later, set "
            "DATABASES[...]['OPTIONS']['transaction_mode'] = 'IMMEDIATE'."
        )
    return "Find who keeps a transaction open."
