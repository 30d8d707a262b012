"""``sqlite:///queue.db``: queues and results in one file, for all processes of one machine. No server.

**What it promises.** A message or a record that was accepted survives any crash of any process. With
``?synchronous=full`` it survives a power cut, too, at the price of one flush of the disk per commit; without it a power
cut may take back the last moments, but never damages the file.

**How it waits.** Every process has one thread per file that is told of commits by the kernel (inotify on the
write-ahead log; where there is none, it looks every 5 to 50 ms). Nobody polls the tables.

**Options**, in the URL or as transport options:

================  ========  =====================================================================================
``synchronous``   normal    ``normal`` or ``full``, see above
``busy_timeout``  5         seconds to wait for another process that writes, then ``BrokerUnavailable``
``wake``          auto      ``poll``: do not ask the kernel, look every 5 to 50 ms (for file systems that do not tell)
================  ========  =====================================================================================

The file must lie on a local disk, in a directory that exists. It is made with mode 0600. Do not open it with another
copy of SQLite in the same process (Python's ``sqlite3`` module): the two do not know of each other's locks.
"""

from __future__ import annotations

from typing import Any

from umbel.backends.sqlite.broker import SQLiteBroker
from umbel.backends.sqlite.location import Location, parse_location
from umbel.backends.sqlite.store import SQLiteStore

__all__ = ["Location", "SQLiteBroker", "SQLiteStore", "make_broker", "make_store", "parse_location"]


def make_broker(url: str, options: dict[str, Any]) -> SQLiteBroker:
    """The broker that `url` names, not yet open. Raises ``ConfigurationError``."""
    return SQLiteBroker(parse_location(url, options))


def make_store(url: str, options: dict[str, Any]) -> SQLiteStore:
    """The result store that `url` names, not yet open. Raises ``ConfigurationError``."""
    return SQLiteStore(parse_location(url, options))
