"""The broker on Redis: Celery's lists as others see them, leases and everything else beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from umbel.backends.redis.address import Address
from umbel.backends.redis.bindings import BindingTables
from umbel.backends.redis.keys import Keys
from umbel.backends.redis.options import Options
from umbel.backends.redis.presence import read_nodes
from umbel.backends.redis.remote import Pidbox
from umbel.backends.redis.scripts import (
    CLAIM,
    DEPTH,
    EXTEND,
    NODES,
    RECLAIM,
    RESERVE,
    REVOKE,
    REVOKED,
    UNRANK,
    UNWAKE,
    Script,
)
from umbel.backends.redis.sending import Sender
from umbel.backends.redis.server import Server
from umbel.backends.redis.settling import Settling
from umbel.backends.redis.shelves import Shelves, decode
from umbel.backends.redis.store import RedisStore
from umbel.backends.redis.subscriptions import Subscriptions
from umbel.backends.redis.waiting import Moved, Waiting
from umbel.backends.redis.wire import Arg
from umbel.core.frame import Frame
from umbel.errors import BrokerUnavailable, OperationalError, StoreFull
from umbel.ports import (
    Capabilities,
    Delivery,
    Depth,
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

__all__ = ["RedisBroker"]

_RECHECK = 5.0
"""Seconds after which a waiting ``reserve`` looks again though nothing woke it: the bound on whatever a lost hint or a
dead neighbour leaves behind."""
_MOST = 10_000
"""Messages in one ``reserve``: a script blocks the server while it runs."""
_HINTS = 10_000
"""Signals kept for a reader who is slow; the oldest are dropped then."""


class RedisBroker(Pidbox, BindingTables):
    """See ``umbel.ports.Broker``."""

    caps = Capabilities(name="Redis", celery_wire=True)

    def __init__(self, address: Address, options: Options) -> None:
        self.url = address.url
        self.patience = options.patience
        self._server = Server(address, options, BrokerUnavailable)
        self._server.on_connect = self._reconnected
        self._keys = Keys(options)
        self._sender = Sender(self._server, self._keys, schedule_in_store=options.schedule_in_store)
        self._shelves = Shelves(self._server, self._keys)
        self._settling = Settling(self._server, self._keys, self._sender)
        self._subscriptions: Subscriptions | None = None
        self._waiting: Waiting | None = None
        self._turn = 0
        self._quiet: tuple[tuple[str, ...], float] | None = None
        """The queues that the last ``reserve`` emptied, and the loop's time until which nothing there falls due."""
        self._revoked: dict[str, float] = {}
        self._revoked_version = 0
        self._announced: set[str] = set()
        self._unanswered: list[tuple[str, tuple[str, ...]]] = []
        self._undoing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await self._server.call("PING")

    async def close(self) -> None:
        if self._undoing:
            await asyncio.gather(*self._undoing, return_exceptions=True)
        waiting, self._waiting = self._waiting, None
        subscriptions, self._subscriptions = self._subscriptions, None
        if waiting is not None:
            await waiting.close()
        if subscriptions is not None:
            await subscriptions.close()
        await self._server.close()

    def adopt(self, store: ResultStore) -> bool:
        if not isinstance(store, RedisStore) or not store.address.same_server(self._server.address):
            return False
        self._settling.store = store
        return True

    def _reconnected(self) -> None:
        self._sender.forget_queues()
        self._announced.clear()
        self._quiet = None

    @property
    def on_step(self) -> Callable[[], None]:
        """See ``Broker``."""
        return self._server.on_step

    @on_step.setter
    def on_step(self, told: Callable[[], None]) -> None:
        self._server.on_step = told

    def now(self) -> float:
        return self._server.clock.now()

    # -- sending

    async def send(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        await self._sender.send(batch, timeout)

    def send_now(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        self._sender.send_now(batch, timeout)

    # -- taking

    async def reserve(
        self, queues: Sequence[str], *, limit: int, lease: float, wait: float, holder: str = ""
    ) -> Sequence[Delivery]:
        names = tuple(dict.fromkeys(queues))
        if not names or limit <= 0:
            return []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        waiting = self._wait_room()
        with waiting.session(names) as bell:
            try:
                # The last call found less than it had room for: there is nothing now, or the blocked connections will say so.
                pause = self._quiet_for(names, loop.time()) if wait > 0 else 0.0
                while True:
                    if pause > 0:
                        await waiting.wait(bell, names, min(deadline - loop.time(), pause))
                        self.on_step()
                    moved = bell.answer()
                    if moved is not None:
                        claimed = await self._claim(moved, names, lease, holder)
                        if claimed:
                            return claimed
                    most = min(limit, _MOST)
                    deliveries, upcoming = await self._take(names, most, lease, holder)
                    now = loop.time()
                    pause = _RECHECK if upcoming is None else min(upcoming, _RECHECK)
                    self._quiet = (names, now + pause) if len(deliveries) < most else None
                    if deliveries or now >= deadline:
                        return deliveries
            finally:
                if bell.is_set():  # on our way out: what it rang for is found by a look into the queues alone
                    self._quiet = None

    def _quiet_for(self, queues: tuple[str, ...], now: float) -> float:
        """In how many seconds these queues must be looked at though nothing has woken us; 0: at once."""
        if self._quiet is None or self._quiet[0] != queues:
            return 0.0
        return max(0.0, self._quiet[1] - now)

    def _wait_room(self) -> Waiting:
        if self._waiting is None:
            self._waiting = Waiting(self._server, self._keys, self._listening())
        return self._waiting

    def _listening(self) -> Subscriptions:
        if self._subscriptions is None:
            self._subscriptions = Subscriptions(self._server)
        return self._subscriptions

    async def _take(
        self, queues: tuple[str, ...], limit: int, lease: float, holder: str
    ) -> tuple[list[Delivery], float | None]:
        """What there is, and in how many seconds something else is due."""
        if self._unanswered or not self._announced.issuperset(queues):
            await self._catch_up(queues)
        # The queues are equal: each comes first in its turn.
        self._turn = (self._turn + 1) % len(queues)
        rotated = queues[self._turn :] + queues[: self._turn]
        beginning = _token_beginning(holder)
        reply = await self._lease(
            RESERVE, (*self._keys.header, beginning, _ms(lease), limit, *rotated), beginning, rotated
        )
        upcoming = reply[0]
        await self._heed_revoked(reply[1], beginning, rotated)
        return self._deliveries(reply, beginning, rotated), None if upcoming < 0 else upcoming / 1000

    async def _claim(
        self, moved: Moved, queues: tuple[str, ...], lease: float, holder: str
    ) -> list[Delivery]:
        """Lease the message that was moved for us. Nothing, when it has to be looked at more closely."""
        if self._unanswered or not self._announced.issuperset(queues):
            return []
        keys, queue = self._keys, moved.queue
        beginning = _token_beginning(holder)
        own = [keys.own(queue, name) for name in ("ranked", "held", "leases")]
        names = (moved.target, moved.source, *own, keys.revoked)
        reply = await self._lease(CLAIM, (*names, _ms(lease), beginning, moved.priority), beginning, (queue,))
        if not isinstance(reply, list):
            return []
        version, about, raw = reply
        await self._heed_revoked(version, beginning, (queue,))
        return self._deliveries([0, version, 1, about, raw], beginning, (queue,))

    async def _lease(
        self, script: Script, args: Sequence[Arg], beginning: str, queues: tuple[str, ...]
    ) -> Any:
        """Run a script that leases messages. What it leased is given back when nobody gets to know of it."""
        await self._server.connect()
        try:
            return await self._server.run(script, *args)
        except asyncio.CancelledError:
            # Sent on the same connection, and therefore carried out after it.
            self._spawn(self._undo(beginning, queues))
            raise
        except OperationalError:
            self._unanswered.append((beginning, queues))
            raise

    async def _heed_revoked(self, version: int, beginning: str, queues: tuple[str, ...]) -> None:
        """Learn of new revoked ids before anything that was leased with them is handed out."""
        if version == self._revoked_version:
            return
        try:
            await self._learn_revoked()
        except (asyncio.CancelledError, OperationalError):
            self._spawn(self._undo(beginning, queues))
            raise

    def _deliveries(self, reply: list[Any], beginning: str, queues: tuple[str, ...]) -> list[Delivery]:
        revoked = self._revoked
        deliveries = []
        for i, at in enumerate(range(2, len(reply), 3), 1):
            about, raw = reply[at + 1].decode(), reply[at + 2]
            frame, problem = decode(raw)
            deliveries.append(
                Delivery(
                    receipt=Receipt(queues[reply[at] - 1], f"{beginning}{i:04x}:{about}"),
                    frame=frame,
                    count=int(about.partition(":")[0]),
                    revoked=bool(revoked) and frame is not None and self._is_revoked(frame.task_id),
                    raw=b"" if frame is not None else raw,
                    problem=problem,
                )
            )
        return deliveries

    async def _catch_up(self, queues: tuple[str, ...]) -> None:
        """Undo what a lost connection left open, and make the queues known."""
        while self._unanswered:
            beginning, names = self._unanswered[-1]
            await self._server.run(RECLAIM, *self._keys.header, beginning, "undo", *names)
            self._unanswered.pop()
        with contextlib.suppress(StoreFull):  # that must not keep a worker from making room
            await self._server.call("SADD", self._keys.queues, *queues)
            self._announced.update(queues)

    def _spawn(self, undo: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(undo, name="umbel-redis-undo")
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def _undo(self, beginning: str, queues: tuple[str, ...]) -> None:
        try:
            await self._server.run(RECLAIM, *self._keys.header, beginning, "undo", *queues)
        except OperationalError:
            self._unanswered.append((beginning, queues))

    # -- ending

    async def settle(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        return await self._settling.settle(batch)

    async def extend(self, receipts: Collection[Receipt], *, lease: float) -> Collection[Receipt]:
        ordered = list(receipts)
        if not ordered:
            return []
        pairs = [part for receipt in ordered for part in receipt]
        stale = await self._server.run(EXTEND, *self._keys.header, _ms(lease), *pairs)
        return [ordered[position - 1] for position in stale]

    async def reclaim(self, holder: str) -> int:
        queues = await self.queues()
        if not queues:
            return 0
        beginning = f"{quote(holder, safe='@')}:"
        return int(await self._server.run(RECLAIM, *self._keys.header, beginning, "end", *queues))

    # -- inspection and repair

    async def depth(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        if not queues:
            return {}
        numbers = await self._server.run(DEPTH, *self._keys.header, *queues)
        return {
            queue: Depth(
                waiting=numbers[at],
                scheduled=numbers[at + 1],
                held=numbers[at + 2],
                parked=numbers[at + 3],
                dead=numbers[at + 4],
            )
            for queue, at in zip(queues, range(0, len(numbers), 5), strict=True)
        }

    async def queues(self) -> Sequence[str]:
        return sorted(name.decode() for name in await self._server.call("SMEMBERS", self._keys.queues))

    async def browse(
        self, shelf: Shelf, queues: Sequence[str] = (), *, limit: int = 100
    ) -> Sequence[Shelved]:
        return await self._shelves.browse(shelf, queues or await self.queues(), limit)

    async def find(self, task_id: str) -> Located | None:
        return await self._shelves.find(task_id, await self.queues())

    async def purge(self, queues: Sequence[str]) -> int:
        return await self._shelves.purge(queues)

    async def requeue(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        return await self._shelves.unshelve(shelf, "requeue", keys)

    async def discard(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        return await self._shelves.unshelve(shelf, "discard", keys)

    async def rewrite(self, key: str, frame: Frame) -> bool:
        return await self._shelves.rewrite(key, frame)

    async def prune_dead(self, *, age: float | None, most: int | None, limit: int) -> int:
        return await self._shelves.prune_dead(await self.queues(), age, most, limit)

    async def unpark(self, tasks: Collection[str]) -> int:
        return await self._shelves.unpark(tasks, await self.queues())

    # -- revoking

    async def revoke(self, task_ids: Collection[str], *, window: float = 86400.0) -> None:
        if task_ids:
            await self._server.run(REVOKE, *self._keys.header, _ms(window), *task_ids)

    async def revoked(self, among: Collection[str] | None = None) -> Collection[str]:
        await self._learn_revoked()
        known = list(self._revoked) if among is None else among
        return {task_id for task_id in known if self._is_revoked(task_id)}

    async def _learn_revoked(self) -> None:
        known = self._revoked_version
        version, *pairs = await self._server.run(REVOKED, *self._keys.header, known)
        if version < known:  # the server lost its memory
            self._revoked.clear()
            version, *pairs = await self._server.run(REVOKED, *self._keys.header, 0)
        now = asyncio.get_running_loop().time()
        self._revoked = {task_id: ends for task_id, ends in self._revoked.items() if ends > now}
        for task_id, left in zip(pairs[::2], pairs[1::2], strict=True):
            self._revoked[task_id.decode()] = now + left / 1000
        self._revoked_version = version

    def _is_revoked(self, task_id: str) -> bool:
        ends = self._revoked.get(task_id)
        return ends is not None and ends > asyncio.get_running_loop().time()

    # -- who is there, and hints

    async def announce(self, node: NodeInfo, *, ttl: float) -> None:
        said = msgspec.json.encode(node)
        remembered = _ms(ttl) if ttl > 0 else 0
        alive = await self._server.run(NODES, *self._keys.header, node.id, remembered, said, *node.queues)
        if ttl <= 0:
            served = {queue for other in read_nodes(alive) for queue in other.queues}
            await self._hand_over([queue for queue in node.queues if queue not in served])
        else:
            self._server.clock.hear(await self._server.call("TIME"))

    async def _hand_over(self, queues: Sequence[str]) -> None:
        """No node of ours is left for `queues`: let Celery's workers see all that waits in them."""
        if not queues:
            return
        await self._server.run(UNWAKE, *self._keys.header, *queues)
        for queue in queues:
            while await self._server.run(UNRANK, *self._keys.header, queue, _MOST):
                pass

    async def nodes(self) -> Sequence[NodeInfo]:
        return read_nodes(await self._server.run(NODES, *self._keys.header))

    async def publish(self, signal: Signal) -> None:
        await self._server.call("PUBLISH", self._keys.signals, msgspec.json.encode(signal))

    async def signals(self) -> AsyncIterator[Signal]:
        inbox: deque[bytes] = deque(maxlen=_HINTS)
        bell = asyncio.Event()

        def heard(_channel: str, payload: bytes | None) -> None:
            if payload is not None:
                inbox.append(payload)
                bell.set()

        subscriptions = self._listening()
        await subscriptions.add([self._keys.signals], heard)
        try:
            while True:
                await bell.wait()
                bell.clear()
                while inbox:
                    payload = inbox.popleft()
                    with contextlib.suppress(msgspec.MsgspecError):  # not ours: a hint that nobody can follow
                        yield msgspec.json.decode(payload, type=Signal)
        finally:
            subscriptions.remove([self._keys.signals], heard)


def _token_beginning(holder: str) -> str:
    return f"{quote(holder, safe='@')}:{os.urandom(6).hex()}:"


def _ms(seconds: float) -> int:
    return max(round(seconds * 1000), 1)
