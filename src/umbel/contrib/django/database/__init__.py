"""``django://alias``: queues and results in a database of the Django project, through Django's own connection.

**Where.** In the tables of the application ``umbel``, made by ``manage.py migrate``; ``django://`` means the alias "default".
SQLite, PostgreSQL, MariaDB 10.6 and MySQL 8.

**Transactions.** ``delay()`` inside ``atomic()`` on the same alias stores the message in that very transaction: it is
rolled back with it, and seen by workers when it commits. Where broker and result store are one alias, an outcome, what
follows from it and the end of its message are one transaction.

**Connections.** A worker has two of its own: one that works and one that listens. Whoever calls ``delay()`` or ``get()`` uses
the connection that Django has in that thread; on an event loop, one of the first kind.

**How it waits.** PostgreSQL tells (LISTEN/NOTIFY); behind a pooler that swallows that, and in MariaDB and MySQL, it looks
every 2 to 40 ms. With SQLite the kernel tells of writes to the file.

**Options**, in the URL or as transport options:

=================  =======  ========================================================================================
``lock_timeout``   5        seconds to wait for what another transaction has locked, then ``BrokerUnavailable``
``stuck_timeout``  15       seconds after which a statement of a worker's that has no answer is given up
=================  =======  ========================================================================================
"""

from __future__ import annotations

from typing import Any

from umbel.backends._sql.broker import SQLBroker
from umbel.backends._sql.store import SQLStore
from umbel.contrib.django.conf import integration_settings
from umbel.contrib.django.database.options import read_options
from umbel.contrib.django.database.place import place_of

__all__ = ["make_broker", "make_store"]


def make_broker(url: str, options: dict[str, Any]) -> SQLBroker:
    """The broker that `url` names, not yet open. Raises ``ConfigurationError``."""
    return SQLBroker(place_of(read_options(url, options)))


def make_store(url: str, options: dict[str, Any]) -> SQLStore:
    """The result store that `url` names, not yet open. Raises ``ConfigurationError``.

    ``django-db`` is what django-celery-results calls the database of the project.
    """
    if url == "django-db":
        url = f"django://{integration_settings().database}"
    return SQLStore(place_of(read_options(url, options)))
