"""What a database must offer for queues and results to live in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from umbel.backends._sql.entries import Ending, Entry, RecordRow, Token
from umbel.errors import BrokerUnavailable, StoreUnavailable
from umbel.ports import Delivery

__all__ = ["Database", "Dialect", "Session", "Taken", "Unavailable"]

T = TypeVar("T")

Unavailable = type[BrokerUnavailable] | type[StoreUnavailable]


class Session(Protocol):
    """Runs the statements of one kind of database by their names. A list among the values becomes an array, or JSON."""

    joined: bool
    """Inside a transaction that its caller began and will end: what is written here can be seen after that."""

    def rows(self, name: str, **values: Any) -> list[Any]:
        """All rows of a statement, each a tuple."""
        ...

    def run(self, name: str, **values: Any) -> int:
        """How many rows a statement has changed."""
        ...

    def many(self, name: str, values: Sequence[Mapping[str, Any]]) -> None:
        """One statement for each of `values`, in as few round trips as the driver can."""
        ...


class Database(Protocol):
    """A connection. Raises ``OperationalError`` in Umbel's terms; everything else is a mistake of ours."""

    dialect: Dialect

    def plainly(self, work: Callable[[Session], T], until: float | None = None) -> T:
        """``work(session)`` for statements that stand each for itself.

        Called again when the database asks for that (a deadlock, a conflict of transactions), so it must not change
        anything else. It waits for locks no longer than `until`, by ``time.monotonic()``.
        """
        ...

    def atomically(self, work: Callable[[Session], T], until: float | None = None) -> T:
        """The same, in one transaction that any exception rolls back."""
        ...

    def close(self) -> None:
        """Let go of the connection. It is opened again when it is next used."""
        ...


class Taken(NamedTuple):
    """What ``Dialect.reserve`` found."""

    deliveries: list[Delivery]
    pause: float
    """Seconds until a scheduled message is due or a lease ends; infinite when there is none."""
    contended: bool
    """Something waits that somebody else is just about to take, or to let go of."""


class Dialect(Protocol):
    """The few verbs that are one statement here and several ones there."""

    name: str
    """For people: "PostgreSQL"."""

    def send(self, database: Database, entries: Sequence[Entry], until: float | None) -> None:
        """Store all of `entries`."""
        ...

    def reserve(
        self, database: Database, queues: Sequence[str], limit: int, lease: int, holder: str, number: int
    ) -> Taken:
        """Bring back what is overdue, and lease up to `limit` messages in order of service. Never waits.

        `number` is that of the tokens: one for the batch, for a receipt names its row besides.
        """
        ...

    def settle(self, database: Database, endings: Sequence[Ending]) -> set[Token]:
        """Carry out `endings`, no two of one token, in one transaction; returns the tokens that were not stale."""
        ...

    def extend(self, database: Database, tokens: Sequence[Token], lease: int) -> set[Token]:
        """Let these leases end `lease` from now; returns the tokens that were not stale."""
        ...

    def bring_back(self, database: Database, until: float) -> None:
        """What became due, or was held for too long, waits from now on."""
        ...

    def put(self, database: Database, rows: Sequence[RecordRow]) -> None:
        """Store records in this order. A success that has not expired stays."""
        ...

    def written(self, database: Database, ids: Sequence[str], last: int) -> tuple[list[tuple[int, str]], int]:
        """The numbers and task ids of records that may have been written since the write `last`, of these ids at least,
        and the number to give next time."""
        ...
