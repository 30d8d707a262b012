"""Settlements as scripts: quick ones for what nearly all batches are, and one that can do everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from umbel.backends.redis.keys import Keys
from umbel.backends.redis.scripts import ACK, FINISH, SETTLE
from umbel.backends.redis.sending import Sender
from umbel.backends.redis.server import Server
from umbel.backends.redis.store import RedisStore
from umbel.backends.redis.wire import Arg
from umbel.errors import BrokerUnavailable, CapabilityError
from umbel.ports import Ack, Bury, Park, Receipt, Record, Release, Retry, Settlement

__all__ = ["Settling"]

_ACKS = 4000
_RECORDS = 1000
"""The most that the quick scripts take: what they hand to ``unpack`` has to fit on Lua's stack."""


class Settling:
    """Carries out the settlements of one broker; writes records too once it has a `store` on the same server."""

    def __init__(self, server: Server, keys: Keys, sender: Sender) -> None:
        self.store: RedisStore | None = None
        self._server = server
        self._keys = keys
        self._sender = sender

    async def settle(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        """See ``Broker.settle``."""
        if not batch:
            return []
        acks = [item for item in batch if isinstance(item, Ack) and not item.then]
        if len(acks) == len(batch):
            recorded = [(item.receipt, item.record) for item in acks if item.record is not None]
            if not recorded and len(acks) <= _ACKS:
                return await self._acknowledge([item.receipt for item in acks])
            if len(recorded) == len(acks) <= _RECORDS and self.store is not None:
                return await self._finish(recorded, self.store)
        own_db = self._server.address.db
        args: list[Arg] = [own_db if self.store is None else self.store.address.db, own_db]
        for item in batch:
            self._pack(item, args)
        memo = self._keys.memo()
        stale = await self._once(
            lambda again: self._server.run(SETTLE, *self._keys.header, memo, again, *args)
        )
        return [batch[position - 1].receipt for position in stale]

    async def _once(self, run: Callable[[int], Awaitable[list[int]]]) -> list[int]:
        """Settle; when the connection breaks, ask again: the server remembers for a while what it answered.

        Otherwise all that was settled would come back as stale, and a worker would believe that its leases were lost.
        """
        await self._server.connect()
        try:
            return await run(0)
        except BrokerUnavailable:
            return await run(1)

    async def _acknowledge(self, receipts: Sequence[Receipt]) -> Collection[Receipt]:
        by_queue: dict[str, list[Receipt]] = {}
        for receipt in receipts:
            by_queue.setdefault(receipt.queue, []).append(receipt)
        args: list[Arg] = []
        for mine in by_queue.values():
            args.append(len(mine))
            args += [receipt.token for receipt in mine]
        keys = self._quick_keys(by_queue)
        stale = await self._once(lambda again: self._server.run(ACK, again, *args, keys=keys))
        ordered = [receipt for mine in by_queue.values() for receipt in mine]
        return [ordered[position - 1] for position in stale]

    async def _finish(
        self, batch: Sequence[tuple[Receipt, Record]], store: RedisStore
    ) -> Collection[Receipt]:
        """Acknowledge messages and store the record of each."""
        by_queue: dict[str, list[tuple[Receipt, Record]]] = {}
        for item in batch:
            by_queue.setdefault(item[0].queue, []).append(item)
        args: list[Arg] = [store.address.db, self._server.address.db]
        for mine in by_queue.values():
            args.append(len(mine))
            for receipt, record in mine:
                args += (receipt.token, store.key(record.task_id), record.payload, _ttl(record.ttl))
        keys = self._quick_keys(by_queue)
        stale = await self._once(lambda again: self._server.run(FINISH, again, *args, keys=keys))
        ordered = [receipt for mine in by_queue.values() for receipt, _ in mine]
        return [ordered[position - 1] for position in stale]

    def _quick_keys(self, queues: Iterable[str]) -> list[str]:
        """What the two quick scripts get for KEYS."""
        own = self._keys.own
        return [
            self._keys.memo(),
            *(key for queue in queues for key in (own(queue, "held"), own(queue, "leases"))),
        ]

    def _pack(self, item: Settlement, args: list[Arg]) -> None:
        """Append one settlement as settle.lua reads it."""
        kind, reason, task = "ack", "", ""
        sendings: list[tuple[Arg, ...]] = []
        record: Record | None = None
        if isinstance(item, Ack | Bury):
            sendings, record = [self._sender.follow_up(out) for out in item.then], item.record
            if isinstance(item, Bury):
                kind, reason = "bury", item.reason
        elif isinstance(item, Retry):
            home, record = item.receipt.queue, item.record
            sendings = [self._sender.replacement(item.replacement, home=home, first=item.first)]
        elif isinstance(item, Park):
            kind, reason, task = "park", item.reason, item.task
        elif isinstance(item, Release):
            kind = "release" if item.counted else "uncounted"
        args += (kind, item.receipt.queue, item.receipt.token, reason.encode("utf-8", "replace"))
        args.append(task.encode("utf-8", "replace"))
        if record is None:
            args.append(0)
        elif self.store is None:
            raise CapabilityError(
                "A settlement carries a record, but this broker has adopted no result store."
            )
        else:
            args += (1, self.store.key(record.task_id), record.payload, _ttl(record.ttl))
        args.append(len(sendings))
        for sending in sendings:
            args += sending


def _ttl(seconds: float | None) -> int:
    return -1 if seconds is None else max(round(seconds * 1000), 1)
