"""When a call leaves that was made inside a transaction.

==============================  ===================================================================
The queue is in the database    The message becomes a row of the caller's own transaction.
of the transaction
The queue is somewhere else     The message is sent when the transaction has been committed.
… and there is an outbox        The message becomes a row of the transaction too, and goes from there.
==============================  ===================================================================

In all three a rollback leaves nothing behind, and ``delay()`` returns at once, with an id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from umbel import portal
from umbel.contrib.django import conf, hygiene, outbox
from umbel.errors import BrokerUnavailable, CapabilityError
from umbel.ports import Outgoing

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["alias_of", "as_if_committed", "open_transaction", "take_over", "waits_for_commit", "when_sent"]

logger = logging.getLogger("umbel.transactions")

_SCHEME = "django://"


def alias_of(url: str) -> str | None:
    """The database that ``django://alias`` names; None for other URLs."""
    return url.removeprefix(_SCHEME).partition("?")[0].strip("/") if url.startswith(_SCHEME) else None


def open_transaction(prefer: str | None = None) -> BaseDatabaseWrapper | None:
    """The connection of this thread that is inside ``atomic()``: that of `prefer`, of "default", or of any alias."""
    inside = {c.alias: c for c in connections.all(initialized_only=True) if c.in_atomic_block}
    if not inside:
        return None
    for alias in (prefer, "default"):
        if alias in inside:
            return inside[alias]
    return next(iter(inside.values()))


def take_over(app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> bool:
    """See ``Integration.take_over``: False when `batch` is to be sent now, in the ordinary way."""
    queue, settings = alias_of(app.broker_url), conf.integration_settings()
    connection = open_transaction(queue)
    if connection is None:
        if settings.outbox and queue is None:
            outbox.send_or_store(app, batch, options, settings.database)
            return True
        return False
    on_commit = waits_for_commit(options.get("on_commit") if options else None)
    if connection.alias == queue:
        if not on_commit:
            _send_beside(app, batch, connection)
            return True
        return False  # the ordinary way is an INSERT on this very connection
    if not on_commit:
        return False
    if settings.outbox and connection.alias == settings.database:
        outbox.store(app, batch, connection.alias)
    else:
        transaction.on_commit(partial(_send_after, app, batch, options), using=connection.alias)
    return True


async def atake_over(app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> bool:
    """``take_over`` for coroutines, whose transaction is open in the thread that ``sync_to_async`` leads to."""
    if not hygiene.opened():
        return False
    return await sync_to_async(_take_over_in_thread)(app, batch, options)


def _take_over_in_thread(app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> bool:
    if take_over(app, batch, options):
        return True
    queue = alias_of(app.broker_url)
    if queue is None or open_transaction(queue) is None:
        return False
    app.client.send_now(batch, options)
    return True


@contextmanager
def as_if_committed() -> Iterator[None]:
    """At the end of the block, call what was to be called on commit, as ``captureOnCommitCallbacks(execute=True)`` of Django's
    ``TestCase`` does: its transaction is never committed."""
    begun = {
        c.alias: len(c.run_on_commit) for c in connections.all(initialized_only=True) if c.in_atomic_block
    }
    yield
    for alias, before in begun.items():
        connection = connections[alias]
        while len(connection.run_on_commit) > before:
            entry: Any = connection.run_on_commit.pop(before)
            _, function, robust = entry
            try:
                function()
            except Exception:
                if not robust:
                    raise
                logger.exception("A function that was called on commit failed: %r", function)


def when_sent(app: Umbel, on_commit: bool | None, function: Callable[[], object]) -> None:
    """Call `function` at the time at which a call made here and now leaves: with the commit, or at once.

    What is passed to it before the call is made comes before the call, and what is passed after it comes after.
    """
    connection = open_transaction(alias_of(app.broker_url))
    if connection is None or not waits_for_commit(on_commit):
        function()
    else:
        transaction.on_commit(function, using=connection.alias)


def waits_for_commit(asked: bool | None) -> bool:
    """Whether a call inside a transaction waits for its commit, when its caller has `asked` for it, or has not (None)."""
    return conf.integration_settings().send_on_commit if asked is None else asked


def _send_after(app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> None:
    try:
        app.client.send_now(batch, options)
    except BrokerUnavailable as exc:
        names = ", ".join(sorted({out.frame.task_name for out in batch}))
        exc.add_note(
            f"The transaction has been committed; the call of {names} that waited for it was not sent. With "
            'UMBEL = {"outbox": True} it would have been stored in the transaction, and be sent when the broker is back.'
        )
        raise


def _send_beside(app: Umbel, batch: Sequence[Outgoing], connection: BaseDatabaseWrapper) -> None:
    """Send at once though a transaction is open on the database that holds the queue: on a connection of its own."""
    if connection.vendor == "sqlite":
        raise CapabilityError(
            "on_commit=False: SQLite has one writer, and this thread's transaction may be it; a message that is to outlive "
            "a rollback could wait for ever. Call the task outside of atomic(), or let it wait for the commit."
        )
    portal.run(app.client.asend_now(batch))
