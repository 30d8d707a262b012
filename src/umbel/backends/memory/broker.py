"""The broker behind ``memory://name``."""

from __future__ import annotations

import heapq
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import msgspec

from umbel.backends._common_wakeup import Wakeup
from umbel.backends.memory.place import Message, Place, SignalFeed, named_place, outgoing
from umbel.backends.memory.store import MemoryStore
from umbel.core.kombu_json import dump_frame, load_frame
from umbel.core.priority import frame_priority
from umbel.errors import DecodeError
from umbel.ports import (
    Capabilities,
    Delivery,
    Depth,
    Frame,
    Located,
    NodeInfo,
    Outgoing,
    Receipt,
    ResultStore,
    Settlement,
    Shelf,
    Shelved,
    Signal,
)

__all__ = ["MemoryBroker"]


class MemoryBroker:
    """The broker behind ``memory://name``."""

    caps = Capabilities(name="memory", processes=False)

    def __init__(self, name: str = "") -> None:
        self.url = f"memory://{name}"
        self.patience = 5.0
        self.on_step: Callable[[], None] = lambda: None
        self._place = named_place(name)
        self._adopted = False

    async def open(self) -> None:
        with self._place.use():
            pass

    async def close(self) -> None:
        pass

    def adopt(self, store: ResultStore) -> bool:
        self._adopted = isinstance(store, MemoryStore) and store.is_in(self._place)
        return self._adopted

    def now(self) -> float:
        return self._place.clock.wall()

    async def send(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        self.send_now(batch)

    def send_now(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        _refuse_unwritable(batch)
        with self._place.use() as place:
            for out in batch:
                place.add(out)
            place.changed()

    async def reserve(
        self, queues: Sequence[str], *, limit: int, lease: float, wait: float, holder: str = ""
    ) -> Sequence[Delivery]:
        deadline = time.monotonic() + wait
        wakeup = Wakeup()
        with self._place.use() as place:
            place.listeners.add(wakeup.set)
        try:
            while True:
                with self._place.use() as place:
                    taken = place.pop(queues, limit, lease, holder)
                    now = time.monotonic()
                    pause = min(deadline - now, place.next_change(place.clock.now()))
                if taken or now >= deadline:
                    return taken
                await wakeup.wait(max(pause, 0.0))
        finally:
            with self._place.use() as place:
                place.listeners.discard(wakeup.set)

    async def settle(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        for settlement in batch:
            _refuse_unwritable(outgoing(settlement))
        with self._place.use() as place:
            stale = [s.receipt for s in batch if not place.settle(s, adopted=self._adopted)]
            place.changed()
            return stale

    async def extend(self, receipts: Collection[Receipt], *, lease: float) -> Collection[Receipt]:
        now = self._place.clock.now()
        stale = []
        with self._place.use() as place:
            for receipt in receipts:
                message = place.held.get(receipt.token)
                if message is None:
                    stale.append(receipt)
                else:
                    message.lease_until = now + lease
        return stale

    async def reclaim(self, holder: str) -> int:
        with self._place.use() as place:
            mine = [message for message in place.held.values() if message.holder == holder]
            for message in mine:
                message.lease_until = 0.0
            place.changed()
            return len(mine)

    @contextmanager
    def _look(self) -> Iterator[Place]:
        """The place as it is now: what became due, or was held for too long, waits."""
        with self._place.use() as place:
            place.bring_back(place.clock.now())
            yield place

    async def depth(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        depths = {queue: Depth() for queue in queues}
        with self._look() as place:
            for message in place.messages.values():
                depth = depths.get(message.queue)
                if depth is not None:
                    setattr(depth, message.shelf, getattr(depth, message.shelf) + 1)
        return depths

    async def queues(self) -> Sequence[str]:
        with self._place.use() as place:
            return sorted(place.known_queues)

    # -- inspection and repair

    async def browse(
        self, shelf: Shelf, queues: Sequence[str] = (), *, limit: int = 100
    ) -> Sequence[Shelved]:
        now = self._place.clock.now()
        with self._look() as place:
            found = [
                message
                for message in place.messages.values()
                if message.shelf == shelf and (not queues or message.queue in queues)
            ]
            found.sort(key=_browse_order(shelf))
            return [_shelved(message, now) for message in found[:limit]]

    async def find(self, task_id: str) -> Located | None:
        with self._look() as place:
            for message in place.messages.values():
                if message.task_id == task_id:
                    located = Located(shelf=message.shelf, queue=message.queue, reason=message.reason)
                    with suppress(DecodeError):
                        located.frame = load_frame(message.entry)
                    return located
        return None

    async def purge(self, queues: Sequence[str]) -> int:
        with self._look() as place:
            doomed = [
                message
                for message in place.messages.values()
                if message.queue in queues and message.shelf in ("waiting", "scheduled")
            ]
            for message in doomed:
                del place.messages[message.id]
            for queue in queues:
                place.waiting.pop(queue, None)
            place.scheduled = [item for item in place.scheduled if item[2].queue not in queues]
            heapq.heapify(place.scheduled)
            return len(doomed)

    async def requeue(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        with self._place.use() as place:
            number = place.put_back(place.aside(shelf, keys))
            place.changed()
            return number

    async def discard(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        with self._place.use() as place:
            doomed = place.aside(shelf, keys)
            for message in doomed:
                del place.messages[message.id]
            return len(doomed)

    async def rewrite(self, key: str, frame: Frame) -> bool:
        with self._place.use() as place:
            found = place.aside("dead", [key])
            for message in found:
                message.entry = dump_frame(frame, routing_key=message.queue)
                message.task_id, message.task = frame.task_id, frame.task_name
                message.priority = frame_priority(frame)
            return bool(found)

    async def prune_dead(self, *, age: float | None, most: int | None, limit: int) -> int:
        with self._place.use() as place:
            since = None if age is None else place.clock.wall() - age
            by_queue: dict[str, list[Message]] = {}
            for message in place.messages.values():
                if message.shelf == "dead":
                    by_queue.setdefault(message.queue, []).append(message)
            doomed = []
            for dead in by_queue.values():
                dead.sort(key=_browse_order("dead"))
                surplus = 0 if most is None else max(len(dead) - most, 0)
                doomed += [
                    m for i, m in enumerate(dead) if i < surplus or (since is not None and m.since < since)
                ]
            for message in doomed[:limit]:
                del place.messages[message.id]
            return len(doomed[:limit])

    async def unpark(self, tasks: Collection[str]) -> int:
        with self._place.use() as place:
            known = [
                message
                for message in place.messages.values()
                if message.shelf == "parked" and message.task in tasks
            ]
            number = place.put_back(known)
            place.changed()
            return number

    async def revoke(self, task_ids: Collection[str], *, window: float = 86400.0) -> None:
        with self._place.use() as place:
            for task_id in task_ids:
                place.revoked.add(task_id, window)

    async def revoked(self, among: Collection[str] | None = None) -> Collection[str]:
        with self._place.use() as place:
            known = place.revoked.keys() if among is None else among
            return {task_id for task_id in known if task_id in place.revoked}

    # -- who is there, and hints

    async def announce(self, node: NodeInfo, *, ttl: float) -> None:
        now = self._place.clock.now()
        with self._place.use() as place:
            place.live_nodes.pop(node.id, None)
            if ttl > 0:
                place.live_nodes[node.id] = (now, now + ttl, msgspec.msgpack.encode(node))

    async def nodes(self) -> Sequence[NodeInfo]:
        now = self._place.clock.now()
        with self._place.use() as place:
            place.live_nodes = {id: seen for id, seen in place.live_nodes.items() if seen[1] > now}
            latest = sorted(place.live_nodes.values(), key=lambda seen: -seen[0])
        infos = []
        for heard, _, data in latest:
            info = msgspec.msgpack.decode(data, type=NodeInfo)
            info.seen_ago = now - heard
            infos.append(info)
        return infos

    async def publish(self, signal: Signal) -> None:
        data = msgspec.msgpack.encode(signal)
        with self._place.use() as place:
            for feed in place.signal_feeds:
                feed.news.append(data)
                feed.wake()

    async def signals(self) -> AsyncIterator[Signal]:
        wakeup = Wakeup()
        feed = SignalFeed(wakeup.set)
        with self._place.use() as place:
            place.signal_feeds.add(feed)
        try:
            while True:
                await wakeup.wait(float("inf"))
                with self._place.use():
                    news, feed.news = feed.news, []
                for data in news:
                    yield msgspec.msgpack.decode(data, type=Signal)
        finally:
            with self._place.use() as place:
                place.signal_feeds.discard(feed)


def _refuse_unwritable(batch: Sequence[Outgoing]) -> None:
    """Raise before anything is stored: a frame that cannot be written must not leave half a batch behind."""
    for out in batch:
        dump_frame(out.frame, routing_key=out.queue)


def _browse_order(shelf: Shelf) -> Callable[[Message], Any]:
    match shelf:
        case "waiting":
            return Message.order
        case "scheduled":
            return lambda message: (message.due, message.id)
        case "held":
            return lambda message: (message.lease_until, message.id)
        case _:
            return lambda message: (message.since, message.id)


def _shelved(message: Message, now: float) -> Shelved:
    item = Shelved(
        shelf=message.shelf,
        queue=message.queue,
        task_id=message.task_id,
        task=message.task,
        key=str(message.id) if message.shelf in ("parked", "dead") else "",
        reason=message.reason,
        since=message.since,
        deliveries=message.deliveries,
        raw=message.entry,
    )
    if message.shelf == "scheduled":
        item.due_in = message.due - now
    elif message.shelf == "held":
        item.due_in = message.lease_until - now
    with suppress(DecodeError):  # then `raw` is all that there is
        item.frame = load_frame(message.entry)
    return item
