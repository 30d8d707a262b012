"""The result store on Redis, byte-compatible with Celery's: ``celery-task-meta-<id>``, and a channel of that name."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence

from umbel.backends.redis.address import Address
from umbel.backends.redis.ear import Ear, Heard
from umbel.backends.redis.options import Options
from umbel.backends.redis.scripts import ARRIVE, PUT
from umbel.backends.redis.server import Server
from umbel.backends.redis.subscriptions import Subscriptions
from umbel.backends.redis.wire import Arg, Lost, Refusal
from umbel.errors import StoreUnavailable
from umbel.ports import GROUP_RECORD, Arrival, Join, Record

__all__ = ["RedisStore"]

_CLAIM, _CLAIM_MS, _DONE_SECONDS = "umbel", 1000, 300
"""What stands where Celery's workers write that they are about to send the body, for how long, and for how long that it is sent."""
_STRETCH = 1000
"""Keys in one command."""
_MOST_KEYS, _ROUNDS = 10_000, 100
"""Records that are looked at for the latest, and commands that look for them."""
_FOR_EVER = 1 << 62
_PATIENCE, _PAUSE = 10.0, 0.1
"""Seconds for which a waiting thread tries to reach a server that went away, and between attempts."""


class RedisStore:
    """See ``umbel.ports.ResultStore``."""

    def __init__(self, address: Address, options: Options) -> None:
        self.url = address.url
        self.address = address
        self._options = options
        self._server = Server(address, options, StoreUnavailable)
        prefix = options.global_keyprefix
        if prefix and prefix[-1] not in ":_-.":
            prefix += "_"  # as Celery does
        self._prefix = f"{prefix}celery-task-meta-"
        self._group_prefix = f"{prefix}{GROUP_RECORD}"
        self._subscriptions: Subscriptions | None = None
        self._ears: deque[Ear] = deque()
        self._pid = os.getpid()

    def key(self, task_id: str) -> str:
        """The key of a record, which is also the channel on which it is told."""
        if task_id.startswith(GROUP_RECORD):
            return f"{self._group_prefix}{task_id[len(GROUP_RECORD) :]}"
        return f"{self._prefix}{task_id}"

    async def open(self) -> None:
        await self._server.call("PING")

    async def close(self) -> None:
        subscriptions, self._subscriptions = self._subscriptions, None
        if subscriptions is not None:
            await subscriptions.close()
        while self._ears:
            self._ears.pop().close()
        await self._server.close()

    async def put(self, records: Sequence[Record]) -> None:
        for keys, args in self._puts(records):
            await self._server.run(PUT, *args, keys=keys)

    def put_now(self, records: Sequence[Record]) -> None:
        for keys, args in self._puts(records):
            self._server.run_now(PUT, *args, keys=keys)

    def _puts(self, records: Sequence[Record]) -> Iterator[tuple[list[str], list[Arg]]]:
        for first in range(0, len(records), _STRETCH):
            some = records[first : first + _STRETCH]
            args: list[Arg] = []
            for record in some:
                args += (record.payload, -1 if record.ttl is None else max(round(record.ttl * 1000), 1))
            yield [self.key(record.task_id) for record in some], args

    async def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for first in range(0, len(task_ids), _STRETCH):
            some = task_ids[first : first + _STRETCH]
            values = await self._server.call("MGET", *map(self.key, some))
            found.update(_present(some, values))
        return found

    def get_now(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for first in range(0, len(task_ids), _STRETCH):
            some = task_ids[first : first + _STRETCH]
            [values] = self._server.calls_now([("MGET", *map(self.key, some))])
            found.update(_present(some, values))
        return found

    async def recent(self, *, limit: int) -> Sequence[tuple[str, bytes]]:
        """Redis keeps no order of its keys: of the first ten thousand records that it names, those that expire last."""
        keys = await self._some_keys()
        latest: list[bytes] = []
        if keys:
            left = await self._server.calls([("PTTL", key) for key in keys])
            order = sorted(
                zip(left, keys, strict=True), key=lambda pair: pair[0] if pair[0] >= 0 else _FOR_EVER
            )
            latest = [key for _, key in reversed(order)][:limit]
        ids = [key.decode()[len(self._prefix) :] for key in latest]
        found = await self.get(ids)
        return [(task_id, found[task_id]) for task_id in ids if task_id in found]

    async def _some_keys(self) -> list[bytes]:
        pattern = "".join(f"\\{c}" if c in "*?[]\\" else c for c in self._prefix) + "*"
        keys: dict[bytes, None] = {}
        cursor = b"0"
        for _ in range(_ROUNDS):
            cursor, some = await self._server.call("SCAN", cursor, "MATCH", pattern, "COUNT", _STRETCH)
            keys.update(dict.fromkeys(some))
            if cursor == b"0" or len(keys) >= _MOST_KEYS:
                break
        return list(keys)[:_MOST_KEYS]

    async def watch(self, task_ids: Collection[str]) -> AsyncIterator[tuple[str, bytes]]:
        if self._subscriptions is None:
            self._subscriptions = Subscriptions(self._server)
        subscriptions = self._subscriptions
        ids = list(dict.fromkeys(task_ids))
        channels = [self.key(task_id) for task_id in ids]
        news: deque[tuple[str, bytes]] = deque()
        bell = asyncio.Event()
        gap = True  # the records that were there before anybody listened

        def heard(channel: str, payload: bytes | None) -> None:
            nonlocal gap
            if payload is None:
                gap = True
            else:
                news.append((channel[len(self._prefix) :], payload))
            bell.set()

        await subscriptions.add(channels, heard)
        try:
            while True:
                if gap:
                    gap = False
                    for item in (await self.get(ids)).items():
                        yield item
                while news:
                    yield news.popleft()
                if not gap:
                    await bell.wait()
                    bell.clear()
        finally:
            subscriptions.remove(channels, heard)

    def wait_now(
        self, task_ids: Collection[str], timeout: float | None, final: Callable[[bytes], bool]
    ) -> dict[str, bytes]:
        wanted = _Wanted(task_ids, final)
        deadline = None if timeout is None else time.monotonic() + timeout
        give_up = 0.0  # a server that cannot be reached at first is an error at once
        while wanted.missing:
            ear: Ear | None = None
            try:
                ids = list(wanted.missing)
                ear, heard = self._subscribed([self.key(task_id) for task_id in ids])
                give_up = time.monotonic() + _PATIENCE
                self._look(ear, ids, heard, wanted)
                self._follow(ear, wanted, deadline)
                ear.leave(silent=not wanted.missing)
                self._ears.append(ear)
                break
            except (Lost, Refusal, StoreUnavailable) as exc:
                if ear is not None:
                    ear.close()
                    give_up = time.monotonic() + _PATIENCE
                if time.monotonic() >= give_up:
                    raise exc if isinstance(exc, StoreUnavailable) else self._server.error(exc) from exc
            if deadline is not None and time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE)
        return wanted.found

    def _subscribed(self, channels: Sequence[str]) -> tuple[Ear, Heard]:
        """An ear for this thread alone that hears `channels`, and what it has learned already."""
        if self._pid != os.getpid():
            # What the parent opened is the parent's: closing here only drops this process's copies.
            self._pid, inherited, self._ears = os.getpid(), self._ears, deque()
            for ear in inherited:
                ear.close()
        while True:
            try:
                ear = self._ears.pop()
            except IndexError:
                break
            try:
                return ear, ear.subscribe(channels)
            except (
                Lost,
                Refusal,
            ):  # it was lost while nobody used it; a new one tells whether the server is there
                ear.close()
        ear = Ear(self.address, self._options)
        try:
            return ear, ear.subscribe(channels)
        except BaseException:
            ear.close()
            raise

    def _look(self, ear: Ear, task_ids: Sequence[str], heard: Heard, wanted: _Wanted) -> None:
        """Take what is there already."""
        stored = _present(task_ids, heard.stored) if ear.asks else self.get_now(task_ids)
        for task_id, payload in stored.items():
            wanted.take(task_id, payload)
        start = len(self._prefix)
        for channel, payload in heard.published:
            # What is stored was read after all of these had been published, and is not older.
            if channel[start:] not in stored:
                wanted.take(channel[start:], payload)

    def _follow(self, ear: Ear, wanted: _Wanted, deadline: float | None) -> None:
        """Take what comes, until nothing is missing or the deadline."""
        start = len(self._prefix)
        if wanted.missing:
            for channel, payload in ear.hear(deadline):
                if wanted.take(channel[start:], payload):
                    return

    async def forget(self, task_ids: Collection[str]) -> None:
        ids = list(task_ids)
        for first in range(0, len(ids), _STRETCH):
            await self._server.call("DEL", *map(self.key, ids[first : first + _STRETCH]))

    # -- joins

    def open_joins_now(self, joins: Sequence[Join], *, ttl: float | None) -> None:
        lasting = () if ttl is None else ("EX", max(round(ttl), 1))
        self._server.calls_now(
            [("SET", self._join_key(join.id, ".s"), join.size, *lasting) for join in joins]
        )

    def widen_join_now(self, join_id: str, by: int, *, ttl: float | None) -> None:
        key = self._join_key(join_id, ".t")
        calls: list[tuple[Arg, ...]] = [("INCRBY", key, by)]
        if ttl is not None:
            calls.append(("EXPIRE", key, max(round(ttl), 1)))
        self._server.calls_now(calls)

    def arrive_now(self, arrival: Arrival, *, ttl: float | None) -> Sequence[bytes] | None:
        keys = [self._join_key(arrival.join, suffix) for suffix in (".j", ".t", ".s", ".d", ".c", "", ".f")]
        place = "+inf" if arrival.index is None else arrival.index
        seconds = 0 if ttl is None else max(round(ttl), 1)
        args: list[Arg] = [
            arrival.task_id,
            arrival.part,
            place,
            seconds,
            int(arrival.failed),
            _CLAIM,
            _CLAIM_MS,
        ]
        parts: Sequence[bytes] | None = self._server.run_now(ARRIVE, *args, keys=keys)
        return parts

    async def close_joins(self, join_ids: Collection[str]) -> None:
        calls: list[tuple[Arg, ...]] = []
        for join_id in join_ids:
            calls.append(
                ("DEL", *(self._join_key(join_id, suffix) for suffix in (".j", ".t", ".s", ".d", ".f")))
            )
            calls.append(("SET", self._join_key(join_id, ".c"), "done", "EX", _DONE_SECONDS))
        await self._server.calls(calls)

    def _join_key(self, join_id: str, suffix: str) -> str:
        return f"{self._group_prefix}{join_id}{suffix}"

    async def prune(self) -> int:
        return 0  # Redis forgets by itself


class _Wanted:
    """Which records a caller still waits for, and what has come."""

    def __init__(self, task_ids: Collection[str], final: Callable[[bytes], bool]) -> None:
        self.missing = dict.fromkeys(task_ids)
        self.found: dict[str, bytes] = {}
        self._final = final

    def take(self, task_id: str, payload: bytes) -> bool:
        """Note a record. Returns whether nothing is missing any more."""
        if task_id in self.missing:  # else it is final already, or of an earlier wait on the same connection
            self.found[task_id] = payload
            if self._final(payload):
                del self.missing[task_id]
        return not self.missing


def _present(task_ids: Sequence[str], values: Sequence[bytes | None]) -> dict[str, bytes]:
    return {task_id: value for task_id, value in zip(task_ids, values, strict=True) if value is not None}
