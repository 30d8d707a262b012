"""What the pages ask of broker and result store. Every question is bounded, in number and in time."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as WaitedTooLong
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeVar

from django.db.models import Q
from msgspec import structs

from umbel import portal, records
from umbel.app import Umbel
from umbel.codecs.results import decode_result
from umbel.contrib.django.models import Result
from umbel.contrib.django.project import get_app
from umbel.contrib.django.transactions import alias_of
from umbel.core.outcome import Failure, ResultMeta
from umbel.errors import BrokerUnavailable, MessageError
from umbel.ports import Depth, ListsResults, Located, Shelf, Shelved
from umbel.result import AsyncResult

__all__ = ["EVERYTHING", "MOST", "NOTHING_KNOWN", "SHELVES", "Known", "Queues", "Row", "Sight"]

T = TypeVar("T")

SHELVES: tuple[Shelf, ...] = ("waiting", "scheduled", "held", "parked", "dead")
MOST = 1000
"""Messages of a shelf that can be looked through."""
PATIENCE = 10.0
"""Seconds that a store may take for an answer."""
_MOST_QUEUES = 200
_AT_ONCE = 50
"""Records that are in memory at a time: they can be large."""
_READABLE = frozenset({"json", "msgpack", "yaml"})
"""What is decoded for showing. Never pickle: looking at a result must not run it."""


class Row(NamedTuple):
    """A result in a list."""

    task_id: str
    meta: ResultMeta | None
    """Without what was passed and returned; None: it cannot be read here."""


class Known(NamedTuple):
    """What is known of one call."""

    message: Shelved | None
    where: Located | None
    """Where its message is, also when the message itself cannot be shown."""
    result: ResultMeta | None
    problem: str
    """Why there is a result that cannot be shown; else ''."""


class Sight(NamedTuple):
    """What may be looked at: the permission for the one says nothing of the other."""

    messages: bool
    results: bool


EVERYTHING = Sight(messages=True, results=True)
NOTHING_KNOWN = Known(None, None, None, "")


def _as_listed(meta: ResultMeta) -> ResultMeta:
    """`meta` without what may be large: a list says none of it."""
    failure = meta.result if isinstance(meta.result, Failure) else None
    return structs.replace(
        meta, result=failure, traceback=None, children=None, args=None, kwargs=None, account=None
    )


def _far_back(where: Located, task_id: str) -> Shelved | None:
    """A message beyond those that can be looked through, as far as it is known."""
    if where.frame is None:
        return None
    return Shelved(
        shelf=where.shelf,
        queue=where.queue,
        task_id=task_id,
        task=where.frame.task_name,
        key="",
        reason=where.reason,
        frame=where.frame,
    )


class Queues:
    """The queues and results of the project's app, for synchronous code. Raises UmbelError when they are out of reach."""

    def __init__(self) -> None:
        self.app: Umbel = get_app()

    def _run(self, coro: Coroutine[Any, Any, T]) -> T:
        try:
            return portal.run(coro, PATIENCE)
        except WaitedTooLong as exc:
            raise BrokerUnavailable(f"{self.app.broker.url} has not answered for {PATIENCE:.0f} s.") from exc

    async def _opened(self) -> Any:
        broker = self.app.broker
        await broker.open()
        return broker

    # -- looking

    def depths(self) -> Mapping[str, Depth]:
        """Counts by queue."""

        async def count() -> Mapping[str, Depth]:
            broker = await self._opened()
            declared = self.app.queues
            names = dict.fromkeys([*declared, *await broker.queues()])
            depths: Mapping[str, Depth] = await broker.depth(list(names)[:_MOST_QUEUES])
            return depths

        return self._run(count())

    def browse(self, shelf: Shelf, queues: Sequence[str], limit: int) -> Sequence[Shelved]:
        """The first messages of a shelf."""

        async def look() -> Sequence[Shelved]:
            broker = await self._opened()
            found: Sequence[Shelved] = await broker.browse(shelf, queues, limit=min(limit, MOST))
            return found

        return self._run(look())

    def known(
        self, task_id: str, may_see: Sight = EVERYTHING, *, shelf: Shelf | None = None, key: str = ""
    ) -> Known:
        """What may be seen of one call; of several dead letters of one id, that of `key`."""
        where, message = self._message(task_id, shelf, key) if may_see.messages else (None, None)
        result, problem = self._result(task_id) if may_see.results else (None, "")
        return Known(message, where, result, problem)

    def _message(self, task_id: str, shelf: Shelf | None, key: str) -> tuple[Located | None, Shelved | None]:
        async def look() -> tuple[Located | None, Shelved | None]:
            broker = await self._opened()
            where: Located | None = await broker.find(task_id) if task_id else None
            place = shelf if key and shelf else where.shelf if where is not None else None
            if place is None:
                return where, None
            queues = [where.queue] if where is not None and place == where.shelf else []
            for message in await broker.browse(place, queues, limit=MOST):
                if message.key == key if key else message.task_id == task_id:
                    return where, message
            return where, None if where is None or key else _far_back(where, task_id)

        return self._run(look())

    def _result(self, task_id: str) -> tuple[ResultMeta | None, str]:
        if not task_id or not self.app.has_store:
            return None, ""
        payload = self.app.store.get_now([task_id]).get(task_id)
        if payload is None:
            return None, ""
        try:
            return self._decoded(payload), ""
        except MessageError as exc:
            return None, str(exc)

    def _decoded(self, payload: bytes) -> ResultMeta:
        return decode_result(payload, self.app.conf.result_serializer, _READABLE)

    def results(self, limit: int) -> list[Row] | None:
        """The latest results, newest first; None: this store cannot list them."""
        if not self.app.has_store:
            return []
        rows = []
        found = self._latest(min(limit, MOST))
        if found is None:
            return None
        for task_id, payload in found:
            try:
                meta: ResultMeta | None = self._decoded(payload)
            except MessageError:
                meta = None
            rows.append(Row(task_id, None if meta is None else _as_listed(meta)))
        return rows

    def _latest(self, limit: int) -> Iterable[tuple[str, bytes]] | None:
        alias = alias_of(self.app.result_url or "")
        if alias is not None:  # Django's own database, which the model knows
            kept = Result.objects.using(alias).filter(
                Q(expires_at=None) | Q(expires_at__gt=datetime.now(UTC))
            )
            latest = kept.order_by("-id").values_list("task_id", "payload")[:limit]
            return ((task_id, bytes(payload)) for task_id, payload in latest.iterator(chunk_size=_AT_ONCE))
        store = self.app.store
        if not isinstance(store, ListsResults):
            return None

        async def look() -> Sequence[tuple[str, bytes]]:
            await store.open()
            return await store.recent(limit=limit)

        return self._run(look())

    # -- doing

    def requeue(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        """Put messages back into their queues. Returns how many there were."""

        async def act() -> int:
            number: int = await (await self._opened()).requeue(shelf, keys)
            return number

        return self._run(act())

    def delete(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        """Delete messages for good. Returns how many there were."""

        async def act() -> int:
            number: int = await (await self._opened()).discard(shelf, keys)
            return number

        return self._run(act())

    def revoke(self, task_ids: Sequence[str], *, terminate: bool) -> None:
        """The calls must not run; with `terminate`, those that run are stopped."""
        self._run(records.revoke(self.app, task_ids, terminate, None))

    def forget(self, task_ids: Collection[str]) -> None:
        """Delete results."""
        self._run(records.forget(self.app, task_ids))

    def send_again(self, meta: ResultMeta) -> AsyncResult[Any] | None:
        """Send a call like the one that ended in `meta`. None: the result does not say what was called, or with what."""
        if not meta.name or not isinstance(meta.args, list | tuple):
            return None
        return self.app.send_task(
            meta.name, list(meta.args), dict(meta.kwargs or {}), queue=meta.queue or None
        )
