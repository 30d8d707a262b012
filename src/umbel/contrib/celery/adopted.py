"""A result store that is one of Celery's result backends: django-celery-results, or one of the program's own.

It keeps the records. What else a result store of Umbel's does, joins of chords and groups by their ids, is kept beside the broker.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from umbel.backends import known_schemes, open_store
from umbel.codecs import serializers
from umbel.codecs.results import decode_result
from umbel.context import Request
from umbel.contrib.celery.backends import BaseBackend
from umbel.core.outcome import EXCEPTION_STATES, SUCCESS
from umbel.errors import ConfigurationError
from umbel.ports import GROUP_RECORD, Arrival, Join, Record, ResultStore

if TYPE_CHECKING:
    from umbel.contrib.celery.app import Celery

__all__ = ["AdoptedStore", "backend_class"]

_POLL = 0.2
"""Seconds between two looks of those who wait, where the backend does not say."""


def backend_class(setting: Any) -> type[BaseBackend] | None:
    """The class that a setting result_backend names: a path, or the name of an entry point (``django-db``). None: it is a URL of Umbel's.

    Raises ConfigurationError.
    """
    if not isinstance(setting, str):
        return setting  # type: ignore[no-any-return]
    name = setting.partition("://")[0]
    for point in entry_points(group="celery.result_backends", name=name):
        return point.load()  # type: ignore[no-any-return]
    path = name.partition("+")[0].replace(":", ".")
    if path in known_schemes() or "." not in path:
        return None
    module, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as exc:
        raise ConfigurationError(f"result_backend names no class: {setting!r} ({exc}).") from exc


class AdoptedStore:
    """Implements ``umbel.ports.ResultStore``."""

    def __init__(self, app: Celery, backend: BaseBackend) -> None:
        self._app = app
        self._backend = backend
        self._beside: ResultStore = open_store(app.broker_url)
        self.url = f"{type(backend).__module__}.{type(backend).__name__}"

    async def open(self) -> None:
        await self._beside.open()

    async def close(self) -> None:
        await self._beside.close()

    # -- records

    async def put(self, records: Sequence[Record]) -> None:
        await asyncio.to_thread(self._in_thread, self.put_now, records)

    def put_now(self, records: Sequence[Record]) -> None:
        groups = [record for record in records if record.task_id.startswith(GROUP_RECORD)]
        if groups:
            self._beside.put_now(groups)
        for record in records:
            if not record.task_id.startswith(GROUP_RECORD):
                self._put(record)

    def _put(self, record: Record) -> None:
        backend, conf = self._backend, self._app.conf
        if backend._get_task_meta_for(record.task_id).get("status") == SUCCESS:
            return
        meta = decode_result(record.payload, conf.result_serializer, conf.accept_content)
        request = Request(
            id=meta.task_id,
            task=meta.name,
            args=meta.args,
            kwargs=meta.kwargs,
            argsrepr=None if meta.args is None else repr(meta.args),
            kwargsrepr=None if meta.kwargs is None else repr(meta.kwargs),
            hostname=meta.worker,
            retries=meta.retries or 0,
            group=meta.group_id,
            parent_id=meta.parent_id,
            delivery_info={"routing_key": meta.queue, "exchange": ""},
            children=list(meta.children or ()),
        )
        result = backend.encode_result(meta.result, meta.status)
        backend._store_result(meta.task_id, result, meta.status, meta.traceback, request=request)

    async def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        found: Mapping[str, bytes] = await asyncio.to_thread(self._in_thread, self.get_now, task_ids)
        return found

    def get_now(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        groups = [task_id for task_id in task_ids if task_id.startswith(GROUP_RECORD)]
        found = dict(self._beside.get_now(groups)) if groups else {}
        for task_id in task_ids:
            if not task_id.startswith(GROUP_RECORD):
                meta = self._backend._get_task_meta_for(task_id)
                if meta.get("status") not in (None, "PENDING"):
                    found[task_id] = self._payload(task_id, meta)
        return found

    def _payload(self, task_id: str, meta: dict[str, Any]) -> bytes:
        result = meta.get("result")
        if meta["status"] in EXCEPTION_STATES:
            result = self._backend.prepare_exception(result, "json")
        record = {
            "status": meta["status"],
            "result": result,
            "traceback": meta.get("traceback"),
            "children": [
                child.as_tuple() if hasattr(child, "as_tuple") else child
                for child in meta.get("children") or ()
            ],
            "date_done": meta.get("date_done"),
        }
        names = ("name", "args", "kwargs", "worker", "retries", "queue")
        record.update({name: meta[name] for name in names if meta.get(name) is not None})
        plain = json.loads(json.dumps({**record, "result": None}, default=str))
        serializer = self._app.conf.result_serializer
        return serializers.encode({**plain, "result": result, "task_id": task_id}, serializer)[2]

    async def watch(self, task_ids: Collection[str]) -> AsyncIterator[tuple[str, bytes]]:
        seen: dict[str, bytes] = {}
        while True:
            for task_id, payload in (await self.get(list(task_ids))).items():
                if seen.get(task_id) != payload:
                    seen[task_id] = payload
                    yield task_id, payload
            await asyncio.sleep(self._backend.subpolling_interval or _POLL)

    def wait_now(
        self, task_ids: Collection[str], timeout: float | None, final: Callable[[bytes], bool]
    ) -> dict[str, bytes]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            found = dict(self.get_now(list(task_ids)))
            if len(found) == len(set(task_ids)) and all(map(final, found.values())):
                return found
            if deadline is not None and time.monotonic() >= deadline:
                return found
            time.sleep(min(self._backend.subpolling_interval or _POLL, _POLL))

    async def forget(self, task_ids: Collection[str]) -> None:
        groups = [task_id for task_id in task_ids if task_id.startswith(GROUP_RECORD)]
        await self._beside.forget(groups)
        for task_id in task_ids:
            if not task_id.startswith(GROUP_RECORD):
                await asyncio.to_thread(self._in_thread, self._backend.forget, task_id)

    async def prune(self) -> int:
        await asyncio.to_thread(self._in_thread, self._backend.cleanup)
        return await self._beside.prune()

    @staticmethod
    def _in_thread(work: Callable[..., Any], *args: Any) -> Any:
        """In a thread of a pool, which Django knows nothing of: its connections are closed there when they are old."""
        database = sys.modules.get("django.db")
        if database is not None:
            database.close_old_connections()
        return work(*args)

    # -- joins

    def open_joins_now(self, joins: Sequence[Join], *, ttl: float | None) -> None:
        self._beside.open_joins_now(joins, ttl=ttl)

    def widen_join_now(self, join_id: str, by: int, *, ttl: float | None) -> None:
        self._beside.widen_join_now(join_id, by, ttl=ttl)

    def arrive_now(self, arrival: Arrival, *, ttl: float | None) -> Sequence[bytes] | None:
        return self._beside.arrive_now(arrival, ttl=ttl)

    async def close_joins(self, join_ids: Collection[str]) -> None:
        await self._beside.close_joins(join_ids)
