"""Where queues and results live, and how this process reaches it: on a thread of its own, or directly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from umbel.backends._common_thread import DatabaseThread
from umbel.backends._sql.database import Database, Dialect, Unavailable
from umbel.backends._sql.ear import Ear
from umbel.backends._sql.feeds import Feeds

__all__ = ["Jobs", "Place"]

P = ParamSpec("P")
T = TypeVar("T")


class Place(Protocol):
    """One database, as this process sees it."""

    name: str
    """Equal for all that share queues and results."""
    url: str
    dialect: Dialect
    pushes: bool
    """Those who wait are told by the database."""
    patience: float
    """Seconds that a call takes at most, beyond what it was asked to wait."""
    ear: Ear
    feeds: Feeds

    def now(self) -> float:
        """The clock of the database: seconds since 1970. Never blocks."""
        ...

    def open_own(self, unavailable: Unavailable) -> Database:
        """A connection for one thread, opened when first used."""
        ...

    def of_this_thread(self, unavailable: Unavailable) -> Database | None:
        """The connection that the calling thread has already, or would get; None: it may not use one directly."""
        ...


class Jobs:
    """What a broker or a store does in the database: on its thread for coroutines, directly for others."""

    def __init__(self, place: Place, unavailable: Unavailable) -> None:
        self.thread = DatabaseThread(place.open_own(unavailable), place.name)
        self._place = place
        self._unavailable = unavailable

    def submit(
        self, work: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Have ``work(database, ...)`` called on the thread."""
        return self.thread.submit(work, self.thread.database, *args, **kwargs)

    async def run(self, work: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``submit``, awaited. A job that is cancelled before it began is not done."""
        return await asyncio.wrap_future(self.submit(work, *args, **kwargs))

    def call(self, work: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``work(database, ...)`` now, for a synchronous caller: in its thread if it may use the database there."""
        direct = self._place.of_this_thread(self._unavailable)
        if direct is not None:
            return work(direct, *args, **kwargs)
        return self.submit(work, *args, **kwargs).result()
