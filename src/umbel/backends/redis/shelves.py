"""Looking at messages and moving them by hand."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

from umbel.backends.redis.keys import Keys
from umbel.backends.redis.scripts import PRUNE_DEAD, PURGE, RESERVE, REWRITE, SEARCH, UNSHELVE
from umbel.backends.redis.sending import frame_entry
from umbel.backends.redis.server import Server
from umbel.core.frame import Frame
from umbel.core.kombu_json import load_frame
from umbel.core.priority import frame_priority
from umbel.errors import DecodeError
from umbel.ports import Located, Shelf, Shelved

__all__ = ["Shelves", "decode"]

_MARK = re.compile(rb',\s*"umbel":\s*\[(\d+),\s*\d,?\s*-?\d*\]}$')
_STRETCH = 2000


def decode(raw: bytes) -> tuple[Frame | None, str]:
    """The frame, or None and what is wrong with it."""
    try:
        return load_frame(raw), ""
    except DecodeError as exc:
        return None, str(exc)


class Shelves:
    """The inspecting half of the broker. `queues` names all queues that the store knows of."""

    def __init__(self, server: Server, keys: Keys) -> None:
        self._server = server
        self._keys = keys

    async def browse(self, shelf: Shelf, queues: Sequence[str], limit: int) -> list[Shelved]:
        """See ``Broker.browse``."""
        await self._bring_back(queues)
        look: Callable[[str, int], Any] = {
            "waiting": self._waiting,
            "scheduled": self._scheduled,
            "held": self._held,
        }.get(shelf) or (lambda queue, left: self._aside(shelf, queue, left))
        found: list[Shelved] = []
        for queue in queues:
            if len(found) >= limit:
                break
            found += await look(queue, limit - len(found))
        return found

    async def find(self, task_id: str, queues: Sequence[str]) -> Located | None:
        """See ``Broker.find``. Reads everything that lies before it: for people, not for programs."""
        await self._bring_back(queues)
        for queue in queues:
            for shelf, kind, key in await self._places(queue):
                raw = await self._search(kind, key, task_id)
                if raw is not None:
                    return Located(
                        shelf=shelf,
                        queue=queue,
                        reason=_unpack(raw)[1] if kind == "hash" and shelf != "held" else "",
                        frame=decode(_frame_of(kind, key, raw))[0],
                    )
        return None

    async def purge(self, queues: Sequence[str]) -> int:
        """See ``Broker.purge``."""
        return int(await self._server.run(PURGE, *self._keys.header, *queues)) if queues else 0

    async def unshelve(
        self, shelf: Literal["parked", "dead"], action: Literal["requeue", "discard"], keys: Collection[str]
    ) -> int:
        """See ``Broker.requeue`` and ``Broker.discard``.

        In stretches: a hundred thousand at once would keep the server from everybody for seconds. What was done before an
        error stays done, and asking again does the rest.
        """
        pairs = [part for key in keys for part in _split(key)]
        taken = 0
        for first in range(0, len(pairs), 2 * _STRETCH):
            some = pairs[first : first + 2 * _STRETCH]
            taken += int(await self._server.run(UNSHELVE, *self._keys.header, shelf, action, *some))
        return taken

    async def prune_dead(self, queues: Sequence[str], age: float | None, most: int | None, limit: int) -> int:
        """See ``Broker.prune_dead``."""
        if not queues:
            return 0
        bounds = (-1 if age is None else round(age * 1000), -1 if most is None else most, limit)
        turns = random.sample(queues, len(queues))  # none waits for ever behind one where much falls due
        return int(await self._server.run(PRUNE_DEAD, *self._keys.header, *bounds, *turns))

    async def unpark(self, tasks: Collection[str], queues: Sequence[str]) -> int:
        """See ``Broker.unpark``."""
        if not queues or not tasks:
            return 0
        looks = [
            look
            for queue in queues
            for look in (
                ("ZCARD", self._keys.own(queue, "parked")),
                ("HGETALL", self._keys.own(queue, "parked:names")),
            )
        ]
        answers = await self._server.calls(looks)
        moved = 0
        for queue, count, flat in zip(queues, answers[::2], answers[1::2], strict=True):
            if count and _may_hold(count, flat, tasks):
                moved += await self._unpark_from(queue, tasks)
        return moved

    async def _unpark_from(self, queue: str, tasks: Collection[str]) -> int:
        moved = 0
        names = await self._server.call("ZRANGE", self._keys.own(queue, "parked"), 0, -1)
        for first in range(0, len(names), _STRETCH):
            some = names[first : first + _STRETCH]
            packed, tasks_of = await self._entries(queue, "parked", some)
            known = [
                f"{queue}/{name.decode()}"
                for name, entry, task in zip(some, packed, tasks_of, strict=True)
                if entry is not None and (_text(task) or _task_name(_unpack(entry)[2])) in tasks
            ]
            moved += await self.unshelve("parked", "requeue", known)
        return moved

    async def rewrite(self, key: str, frame: Frame) -> bool:
        """See ``Broker.rewrite``."""
        pair = _split(key)
        if not pair:
            return False
        queue, name = pair
        priority = frame_priority(frame)
        entry = frame_entry(frame, queue, priority)
        return bool(await self._server.run(REWRITE, *self._keys.header, queue, name, priority, entry))

    # -- the shelves

    async def _bring_back(self, queues: Sequence[str]) -> None:
        """Ended leases and messages that are due wait already, though no ``reserve`` has come by."""
        if queues:
            await self._server.run(RESERVE, *self._keys.header, "", 0, 0, *queues)

    async def _levels(self, queue: str) -> list[str]:
        ranked = await self._server.call("ZRANGE", self._keys.own(queue, "ranked"), 0, -1)
        return [level.decode() for level in ranked if level != b"mixed"]

    async def _sources(self, queue: str) -> list[str]:
        """All lists of a queue in order of service."""
        ordered: list[tuple[int, int, str]] = [
            (-int(level), 0, self._keys.own(queue, f"rank:{level}")) for level in await self._levels(queue)
        ]
        for at, ((_, base), woken, celery) in enumerate(
            zip(self._keys.bands, self._keys.woken(queue), self._keys.lists(queue), strict=True)
        ):
            ordered += [(-base, 2 * at + 1, woken), (-base, 2 * at + 2, celery)]
        return [key for _, _, key in sorted(ordered)]

    async def _waiting(self, queue: str, limit: int) -> list[Shelved]:
        found: list[Shelved] = []
        for source in await self._sources(queue):
            if len(found) >= limit:
                break
            for raw in reversed(await self._server.call("LRANGE", source, len(found) - limit, -1)):
                mark = _MARK.search(raw)
                frame = raw if mark is None else raw[: mark.start()] + b"}"
                found.append(_shelved("waiting", queue, frame, deliveries=int(mark[1]) if mark else 0))
        return found

    async def _scheduled(self, queue: str, limit: int) -> list[Shelved]:
        members, now = await self._stretch(self._keys.shelf(queue, "scheduled"), limit)
        found = []
        for member, due in members:
            _, count, _, raw = member.split(b":", 3)
            found.append(_shelved("scheduled", queue, raw, deliveries=int(count), due_in=(due - now) / 1000))
        return found

    async def _held(self, queue: str, limit: int) -> list[Shelved]:
        members, now = await self._stretch(self._keys.shelf(queue, "held"), limit)
        if not members:
            return []
        tokens = [token for token, _ in members]
        frames = await self._server.call("HMGET", self._keys.own(queue, "held"), *tokens)
        found = []
        for (token, ends), raw in zip(members, frames, strict=True):
            if raw is not None:  # else it was settled between the two calls
                count = int(token.rsplit(b":", 3)[1])
                found.append(_shelved("held", queue, raw, deliveries=count, due_in=(ends - now) / 1000))
        return found

    async def _aside(self, shelf: Shelf, queue: str, limit: int) -> list[Shelved]:
        members, _ = await self._stretch(self._keys.shelf(queue, shelf), limit)
        if not members:
            return []
        packed, tasks = await self._entries(queue, shelf, [name for name, _ in members])
        found = []
        for (name, since), entry, task in zip(members, packed, tasks, strict=True):
            if entry is not None:
                count, reason, raw = _unpack(entry)
                shelved = _shelved(shelf, queue, raw, deliveries=count, since=since / 1000)
                shelved.key, shelved.reason = f"{queue}/{name.decode()}", reason
                shelved.task = _text(task) or shelved.task
                found.append(shelved)
        return found

    async def _entries(self, queue: str, shelf: Shelf, names: Sequence[bytes]) -> list[list[bytes | None]]:
        """The packed entries of a shelf by name, and the names of their tasks where their headers do not say them."""
        own = self._keys.own
        return await self._server.calls(
            [("HMGET", own(queue, f"{shelf}:{what}"), *names) for what in ("frames", "tasks")]
        )

    async def _stretch(self, key: str, limit: int) -> tuple[list[tuple[bytes, float]], float]:
        """The first members of a zset with their scores, and the server's time in ms."""
        (seconds, micros), flat = await self._server.calls(
            [("TIME",), ("ZRANGE", key, 0, limit - 1, "WITHSCORES")]
        )
        scored: Iterable[tuple[bytes, bytes]] = zip(flat[::2], flat[1::2], strict=True)
        return [(member, float(score)) for member, score in scored], int(seconds) * 1000 + int(micros) / 1000

    async def _places(self, queue: str) -> list[tuple[Shelf, str, str]]:
        own = self._keys.own
        places: list[tuple[Shelf, str, str]] = [("held", "hash", own(queue, "held"))]
        for key in await self._sources(queue):
            places.append(("waiting", "list", key))
        return [
            *places,
            ("scheduled", "zset", own(queue, "due")),
            ("parked", "hash", own(queue, "parked:frames")),
            ("dead", "hash", own(queue, "dead:frames")),
        ]

    async def _search(self, kind: str, key: str, task_id: str) -> bytes | None:
        start = 0
        while True:
            looked, *candidates = await self._server.run(
                SEARCH, *self._keys.header, kind, key[len(self._keys.prefix) :], start, _STRETCH, task_id
            )
            for candidate in candidates:
                frame, _ = decode(_frame_of(kind, key, candidate))
                if frame is not None and frame.task_id == task_id:
                    return bytes(candidate)
            if looked < _STRETCH or kind == "hash":
                return None
            start += looked


def _frame_of(kind: str, key: str, entry: bytes) -> bytes:
    if kind == "list" or key.endswith(":held"):
        return entry
    if kind == "zset":
        return entry.split(b":", 3)[-1]
    return _unpack(entry)[2]


def _may_hold(count: int, flat: Sequence[bytes], tasks: Collection[str]) -> bool:
    """Whether messages of `tasks` can be among `count` parked ones, by what ``parked:names`` holds.

    Every node asks now and then, and what no worker knows may lie there by the hundred thousand: it is not to be read.
    """
    named = dict(zip(map(_text, flat[::2]), map(int, flat[1::2]), strict=True))
    return "" in named or sum(named.values()) < count or not named.keys().isdisjoint(tasks)


def _unpack(entry: bytes) -> tuple[int, str, bytes]:
    """Count, reason and frame of an entry on the shelf of parked or dead messages."""
    count, _, _, length, rest = entry.split(b":", 4)
    reason = rest[: int(length)].decode("utf-8", "replace")
    return int(count), reason, rest[int(length) :]


def _split(key: str) -> tuple[str, str] | tuple[()]:
    queue, slash, name = key.rpartition("/")
    return (queue, name) if slash and name.isdecimal() else ()


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")


def _task_name(raw: bytes) -> str:
    frame, _ = decode(raw)
    return frame.task_name if frame is not None else ""


def _shelved(
    shelf: Shelf,
    queue: str,
    raw: bytes,
    *,
    deliveries: int,
    due_in: float | None = None,
    since: float | None = None,
) -> Shelved:
    frame, problem = decode(raw)
    return Shelved(
        shelf=shelf,
        queue=queue,
        task_id=frame.task_id if frame is not None else "",
        task=frame.task_name if frame is not None else "",
        key="",
        reason=problem,
        since=since,
        due_in=due_in,
        deliveries=deliveries,
        frame=frame,
        raw=raw,
    )
