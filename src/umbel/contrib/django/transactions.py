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
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from umbel import portal
from umbel.contrib.django import conf, hygiene, outbox
from umbel.errors import CapabilityError, OperationalError
from umbel.ports import Outgoing

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["alias_of", "as_if_committed", "open_transaction", "take_over", "waits_for_commit", "when_sent"]

logger = logging.getLogger("umbel.transactions")

_SCHEME = "django://"


def alias_of(url: str) -> str | None:
    """The database that ``django://alias`` names, "default" if it names none; None for other URLs."""
    if not url.startswith(_SCHEME):
        return None
    return url.removeprefix(_SCHEME).partition("?")[0].strip("/") or DEFAULT_DB_ALIAS


def open_transaction(prefer: str | None = None) -> BaseDatabaseWrapper | None:
    """The connection of this thread that is inside ``atomic()``: that of `prefer`, of "default", or of any alias."""
    inside = {c.alias: c for c in connections.all(initialized_only=True) if c.in_atomic_block}
    if not inside:
        return None
    for alias in (prefer, "default"):
        if alias in inside:
            return inside[alias]
    return next(iter(inside.values()))


def _preferred(queue: str | None, settings: conf.IntegrationSettings) -> str | None:
    """The database in whose transaction a call is stored: that of the `queue`, or of the outbox."""
    return queue or (settings.database if settings.outbox else None)


def _without_autocommit(alias: str) -> bool:
    """Whether this thread has a connection whose transactions its user ends himself (``set_autocommit(False)``)."""
    return any(
        connection.alias == alias and connection.connection is not None and not connection.autocommit
        for connection in connections.all(initialized_only=True)
    )


def take_over(app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> bool:
    """See ``Integration.take_over``: False when `batch` is to be sent now, in the ordinary way."""
    queue, settings = alias_of(app.broker_url), conf.integration_settings()
    boxed = settings.outbox and queue is None
    connection = open_transaction(_preferred(queue, settings))
    asked = options.get("on_commit") if options else None
    on_commit = waits_for_commit(asked)
    if connection is None:
        if boxed and on_commit and _without_autocommit(settings.database):
            outbox.store(app, batch, settings.database, managed=False)
        elif boxed:
            outbox.send_or_store(app, batch, options, settings.database)
        elif asked and queue is None and any(_without_autocommit(alias) for alias in connections.settings):
            raise CapabilityError(
                "The call is to wait for the commit, but autocommit is off, and Django does not tell when the transaction "
                'ends. Use atomic(), or store the call in the transaction: UMBEL = {"outbox": True}.'
            )
        return boxed
    if connection.alias == queue:
        if not on_commit:
            _send_beside(app, batch, options, connection)
        return not on_commit  # the ordinary way is an INSERT on this very connection
    if not on_commit:
        return False
    if boxed and connection.alias == settings.database:
        outbox.store(app, batch, connection.alias)
        return True
    if boxed:
        _on_commit(connection, app, batch, options, partial(outbox.send_or_store, alias=settings.database))
    else:
        _on_commit(connection, app, batch, options, _send_after)
    return True


async def atake_over(app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> bool:
    """``take_over`` for coroutines, in the thread that ``sync_to_async`` leads to: there the transaction is open, and there is
    the connection that the ORM's asynchronous calls use and that Django looks after."""
    in_database = conf.integration_settings().outbox or alias_of(app.broker_url) is not None
    if not in_database and not hygiene.opened():
        return False
    return await sync_to_async(_take_over_in_thread)(app, batch, options)


def _take_over_in_thread(app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> bool:
    if take_over(app, batch, options):
        return True
    if alias_of(app.broker_url) is None:
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
    connection = open_transaction(_preferred(alias_of(app.broker_url), conf.integration_settings()))
    if connection is None or not waits_for_commit(on_commit):
        function()
    else:
        transaction.on_commit(function, using=connection.alias)


def waits_for_commit(asked: bool | None) -> bool:
    """Whether a call inside a transaction waits for its commit, when its caller has `asked` for it, or has not (None)."""
    return conf.integration_settings().send_on_commit if asked is None else asked


class _Lost:
    """The calls that waited for one commit and could not be sent."""

    def __init__(self) -> None:
        self.errors: list[OperationalError] = []
        self.names: set[str] = set()
        self.calls = 0
        self._until = math.inf

    def add(self, batch: Sequence[Outgoing], exc: OperationalError | None, app: Umbel) -> None:
        """`exc` None: it has not been tried."""
        if not self.errors:
            self._until = time.monotonic() + app.conf.broker_send_timeout
        if exc is not None:
            self.errors.append(exc)
        self.calls += len(batch)
        self.names |= {out.frame.task_name for out in batch}

    def is_hopeless(self) -> bool:
        """Whether the broker has been away for so long that the caller must not wait for one call after another."""
        return time.monotonic() > self._until

    def error(self) -> OperationalError:
        first = self.errors[0]
        if self.calls > 1:
            first.add_note(f"{self.calls} calls were lost with it, of {', '.join(sorted(self.names))}.")
        return first


_lost: ContextVar[_Lost | None] = ContextVar("umbel_lost", default=None)
"""None: nobody runs the functions of a commit."""
_RUN = "run_and_clear_commit_hooks"


def _on_commit(
    connection: BaseDatabaseWrapper,
    app: Umbel,
    batch: Sequence[Outgoing],
    options: Mapping[str, Any] | None,
    send: Callable[[Umbel, Sequence[Outgoing], Mapping[str, Any] | None], None],
) -> None:
    """Send `batch` when `connection` commits.

    Django forgets all that waits for a commit when one of it raises. So an error of ours is kept until the others have had
    their turn, and is raised then.
    """
    if _RUN not in vars(connection):
        vars(connection)[_RUN] = partial(_run_commit_hooks, connection)

    def send_or_count() -> None:
        lost = _lost.get()
        if lost is None:  # ``captureOnCommitCallbacks`` calls it, or ``as_if_committed``
            return send(app, batch, options)
        if lost.is_hopeless():
            return lost.add(batch, None, app)
        try:
            send(app, batch, {**(options or {}), "retry": False} if lost.errors else options)
        except OperationalError as exc:
            lost.add(batch, exc, app)

    transaction.on_commit(send_or_count, using=connection.alias)


def _run_commit_hooks(connection: BaseDatabaseWrapper) -> None:
    """In the place of Django's method, for one commit."""
    vars(connection).pop(_RUN, None)
    lost = _Lost()
    token = _lost.set(lost)
    try:
        connection.run_and_clear_commit_hooks()
    except BaseException as exc:
        if lost.errors:
            exc.add_note(f"Before that: {lost.error()}")
        raise
    finally:
        _lost.reset(token)
    if lost.errors:
        raise lost.error()


def _send_after(app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> None:
    try:
        app.client.send_now(batch, options)
    except OperationalError as exc:
        names = ", ".join(sorted({out.frame.task_name for out in batch}))
        exc.add_note(
            f"The transaction has been committed; the call of {names} that waited for it was not sent. With "
            'UMBEL = {"outbox": True} it would have been stored in the transaction, and be sent when the broker is back.'
        )
        raise


def _send_beside(
    app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None, connection: BaseDatabaseWrapper
) -> None:
    """Send at once though a transaction is open on the database that holds the queue: on a connection of its own."""
    if connection.vendor == "sqlite":
        raise CapabilityError(
            "on_commit=False: SQLite has one writer, and this thread's transaction may be it; a message that is to outlive "
            "a rollback could wait for ever. Call the task outside of atomic(), or let it wait for the commit."
        )
    portal.run(app.client.asend_now(batch, options, apart=True))
