"""The outbox: calls that were made in a transaction are stored in it, and sent from there.

Between the commit and the sending a process can die, or the broker be away; with an outbox the call is in the database by
then, and any worker sends it. What was sent, but not taken out of the box before a process died, is sent again, and the
broker drops it: every message of the box carries a key of its own that the broker remembers for a day.

A call that is made outside of a transaction is sent directly; when the broker is away it goes into the box instead.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.models import F

from umbel import faults
from umbel.backends._sql.entries import LONGEST_NAME, short
from umbel.contrib.django import hygiene
from umbel.contrib.django.database.errors import in_our_terms, kind_of
from umbel.core.kombu_json import dump_frame, load_frame
from umbel.errors import BrokerUnavailable, DecodeError, OperationalError
from umbel.ids import new_id
from umbel.ports import Broker, Outgoing

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.contrib.django.models import OutboxMessage

__all__ = ["Relay", "send_or_store", "store"]

logger = logging.getLogger("umbel.outbox")

_REMEMBERED = 24 * 3600.0
"""Seconds for which the broker knows what it has been sent from the box."""
_IN_DOUBT = 600.0
"""Seconds for which it knows what was sent directly: a call whose answer was lost lies in the box, too, and is sent from there."""
_PREFIX = "outbox:"
_OTHERS = 3.0
"""Seconds for which a message is left to the process that stored it, and that sends it right after its commit."""
_PAUSE = 1.0
"""Seconds between two looks into the box, by each worker."""
_LONGEST_PAUSE = 30.0
_BATCH = 500
_REFUSED_PAUSE = timedelta(minutes=5)
"""A message that the broker refuses is tried again so often."""
_SHUNNED = 5.0
"""After a failure to reach the broker, calls go straight into the box for so many seconds."""

_shun_until = 0.0


def store(app: Umbel, batch: Sequence[Outgoing], alias: str, *, managed: bool = True) -> None:
    """Put `batch` into the box, in the transaction of this thread; it is sent right after the commit, or by a worker.

    Not `managed`: Django does not know when the transaction ends, and a worker sends it. Raises BrokerUnavailable when the
    table is missing or the database refuses.
    """
    keyed = [_keyed(out, _REMEMBERED) for out in batch]
    if not managed or time.monotonic() < _shun_until:
        _insert(keyed, alias)
        return
    ids = _insert(keyed, alias, left_alone=_OTHERS)
    transaction.on_commit(partial(_send_after_commit, app, keyed, ids, alias), using=alias, robust=True)


def send_or_store(
    app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None, alias: str
) -> None:
    """Send `batch`; put it into the box when the broker is away. Raises BrokerUnavailable when that is refused for good."""
    keyed = [_keyed(out, _IN_DOUBT) for out in batch]
    if time.monotonic() >= _shun_until:
        try:
            app.client.send_now(keyed, options)
        except BrokerUnavailable as exc:
            if exc.refused:
                raise
            _shun(exc)
        else:
            return
    _insert([_keyed(out, _REMEMBERED) for out in keyed], alias)


def _send_after_commit(app: Umbel, batch: Sequence[Outgoing], ids: Sequence[int], alias: str) -> None:
    faults.point("outbox.committed")
    if time.monotonic() < _shun_until:
        return
    try:
        app.client.send_now(batch, {"retry": False})
    except BrokerUnavailable as exc:
        _shun(exc)
        return
    faults.point("outbox.sent")
    _delete(ids, alias)


def _shun(exc: BrokerUnavailable) -> None:
    global _shun_until
    _shun_until = time.monotonic() + _SHUNNED
    logger.warning("Calls wait in the outbox, and workers will send them: %s", exc)


def _keyed(out: Outgoing, window: float) -> Outgoing:
    """`out` with a key by which the broker knows this very call for `window` seconds; a key of the caller's own does the same."""
    key = out.dedupe_key
    if key is not None and not key.startswith(_PREFIX):
        return msgspec.structs.replace(out, dedupe_key=short(key))
    return msgspec.structs.replace(out, dedupe_key=key or f"{_PREFIX}{new_id()}", dedupe_window=window)


# --------------------------------------------------------------------------------------------------- the table


def _model() -> type[OutboxMessage]:
    model: type[OutboxMessage] = apps.get_model("umbel", "OutboxMessage")
    return model


def _insert(batch: Iterable[Outgoing], alias: str, *, left_alone: float = 0.0) -> list[int]:
    """`left_alone`: seconds in which no worker looks at it. Raises BrokerUnavailable and StoreFull."""
    model, now = _model(), datetime.now(UTC)
    rows = [
        model(
            queue=out.queue,
            priority=out.priority,
            due=None if out.due_in is None else now + timedelta(seconds=out.due_in),
            dedupe_key=out.dedupe_key or "",
            dedupe_window=out.dedupe_window,
            task=out.frame.task_name[:LONGEST_NAME],
            task_id=out.frame.task_id[:LONGEST_NAME],
            stored_at=now,
            not_before=now + timedelta(seconds=left_alone),
            problem="",
            frame=dump_frame(out.frame, routing_key=out.queue),
        )
        for out in batch
    ]
    connection = connections[alias]
    try:
        if connection.features.can_return_rows_from_bulk_insert:
            model.objects.using(alias).bulk_create(rows)
        else:
            with transaction.atomic(using=alias, savepoint=False):
                for row in rows:
                    row.save(using=alias, force_insert=True)
    except (DatabaseError, InterfaceError) as exc:
        kind, vendor = kind_of(exc, connection.vendor), connection.vendor
        error = in_our_terms(exc, kind, alias=alias, vendor=vendor, unavailable=BrokerUnavailable)
        if error is None:
            raise
        error.refused = True
        raise error from exc
    return [row.pk for row in rows]


def _delete(ids: Sequence[int], alias: str) -> None:
    _model().objects.using(alias).filter(pk__in=ids).delete()


def _outgoing(row: OutboxMessage, now: datetime) -> Outgoing:
    """Raises DecodeError."""
    return Outgoing(
        frame=load_frame(bytes(row.frame)),
        queue=row.queue,
        priority=row.priority,
        due_in=None if row.due is None else (row.due - now).total_seconds(),
        dedupe_key=row.dedupe_key or None,
        dedupe_window=row.dedupe_window,
    )


# --------------------------------------------------------------------------------------------------- the relay


class Relay:
    """Sends what lies in the box, for as long as a worker lives. Several of them do no harm: the broker drops what comes twice."""

    def __init__(
        self, broker: Broker, alias: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._broker = broker
        self._alias = alias
        self._now = now

    async def run(self) -> None:
        """Until it is cancelled."""
        pause, failing = _PAUSE, False
        while True:
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))
            try:
                sent = await self.send_waiting()
            except (DatabaseError, InterfaceError, OperationalError) as exc:
                if not failing:
                    logger.warning("The outbox cannot be emptied: %s It is tried again.", exc)
                pause, failing = min(pause * 2, _LONGEST_PAUSE), True
            else:
                if failing:
                    logger.warning("The outbox is emptied again.")
                pause, failing = (0.0 if sent == _BATCH else _PAUSE), False

    async def send_waiting(self) -> int:
        """Send one batch. Returns how many were looked at. Raises what Django's database and the broker raise."""
        rows = await sync_to_async(self._look)()
        if not rows:
            return 0
        await self._broker.open()
        ready: list[tuple[OutboxMessage, Outgoing]] = []
        for row in rows:
            try:
                ready.append((row, _outgoing(row, self._now())))
            except DecodeError as exc:
                await self._set_aside(row, exc)
        try:
            await self._broker.send([out for _, out in ready])
        except OperationalError as exc:
            if not exc.refused:
                raise
            await self._send_one_by_one(ready)
        else:
            faults.point("outbox.relayed")
            await sync_to_async(_delete)([row.pk for row, _ in ready], self._alias)
        return len(rows)

    async def _send_one_by_one(self, ready: Sequence[tuple[OutboxMessage, Outgoing]]) -> None:
        """One of a batch is refused: the others must not wait for it."""
        for row, out in ready:
            try:
                await self._broker.send([out])
            except OperationalError as exc:
                if not exc.refused:
                    raise
                await self._set_aside(row, exc)
            else:
                await sync_to_async(_delete)([row.pk], self._alias)

    def _look(self) -> list[OutboxMessage]:
        hygiene.tidy_connections()
        try:
            waiting = _model().objects.using(self._alias).filter(not_before__lte=self._now())
            return list(waiting.order_by("pk")[:_BATCH])
        finally:
            hygiene.tidy_connections()

    async def _set_aside(self, row: OutboxMessage, why: Exception) -> None:
        logger.error("The outbox holds a call of %s that cannot be sent: %s", row.task, why)
        changed = {"not_before": self._now() + _REFUSED_PAUSE, "problem": str(why), "tries": F("tries") + 1}
        rows = _model().objects.using(self._alias).filter(pk=row.pk)
        await sync_to_async(rows.update)(**changed)
