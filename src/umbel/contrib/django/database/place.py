"""A database of the project as this process sees it: one for each alias."""

from __future__ import annotations

import asyncio
import functools

from django.db import connections

from umbel.backends._sql.database import Dialect, Unavailable
from umbel.backends._sql.ear import Ear, Hearing
from umbel.backends._sql.feeds import Feeds
from umbel.backends._sql.single import Single
from umbel.backends._sql.steps import Steps
from umbel.contrib.django.database.clock import Clock
from umbel.contrib.django.database.connection import DjangoDatabase, ThreadConnection
from umbel.contrib.django.database.hearing import FileHearing, PollHearing, ServerHearing
from umbel.contrib.django.database.options import Options, refuse_unknown_vendor
from umbel.contrib.django.database.own import OwnConnection
from umbel.errors import StoreUnavailable

__all__ = ["DjangoPlace", "place_of"]

JOBS_BEFORE = 5
"""Each of a node's loops may have a job before ours on the thread."""


class DjangoPlace:
    """See ``umbel.backends._sql.place.Place``."""

    def __init__(self, options: Options) -> None:
        vendor = str(connections[options.alias].vendor)
        refuse_unknown_vendor(options.alias, vendor)
        self.name = options.alias
        self.url = options.url
        self.dialect: Dialect = _DIALECTS[vendor]
        self.pushes = vendor != "mysql"
        self.patience = (1 + JOBS_BEFORE) * max(
            options.lock_timeout, 0 if vendor == "sqlite" else options.stuck_timeout
        )
        self._options = options
        self._clock = Clock()
        self.ear = Ear(options.alias, lambda: _hearing(vendor, self.open_own(StoreUnavailable)))
        self.feeds = Feeds(self.ear)

    def now(self) -> float:
        return self._clock.now()

    def open_own(self, unavailable: Unavailable) -> OwnConnection:
        return OwnConnection(self._options, self.dialect, self._clock, unavailable)

    def of_this_thread(self, unavailable: Unavailable) -> DjangoDatabase | None:
        """None on an event loop, where Django refuses to be used directly."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return ThreadConnection(self._options, self.dialect, self._clock, unavailable)
        return None


_DIALECTS: dict[str, Dialect] = {
    "sqlite": Steps("SQLite", ordered=True),
    "postgresql": Single(),
    "mysql": Steps("MySQL", ordered=False),
}


def _hearing(vendor: str, connection: OwnConnection) -> Hearing:
    if vendor == "sqlite":
        return FileHearing(connection)
    return ServerHearing(connection) if vendor == "postgresql" else PollHearing(connection)


@functools.cache
def place_of(options: Options) -> DjangoPlace:
    """The place of this process for `options`. It opens nothing by itself."""
    return DjangoPlace(options)
