"""Settlements as scripts: quick ones for what nearly all batches are, and one that can do everything."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Sequence

from umbel.backends.redis.keys import Keys
from umbel.backends.redis.scripts import ACK, FINISH, SETTLE
from umbel.backends.redis.sending import Sender
from umbel.backends.redis.server import Server
from umbel.backends.redis.store import RedisStore
from umbel.backends.redis.wire import Arg
from umbel.errors import BrokerUnavailable, CapabilityError
from umbel.ports import Ack, Bury, Park, Receipt, Record, Release, Retry, Settlement

__all__ = ["Settling"]

_MEMOS = 16
"""So many of the last batches are remembered by the server. A settler waits for one at a time; those of early acknowledgement
do not come again."""
_DOUBTS = 8
"""So many of them are remembered here, those without an answer: the others' places are used in turn."""
_ACKS = 4000
_RECORDS = 1000
"""The most that the quick scripts take: what they hand to ``unpack`` has to fit on Lua's stack."""


class _Memo:
    """Where the server remembers what a batch was answered. Without it, a batch whose answer was lost would come back as stale,
    and a worker would believe that its leases were lost."""

    def __init__(self, key: str) -> None:
        self.key = key
        """Used again and again, so that it takes no room: the name of the batch lies with the answer."""
        self.batch = os.urandom(8).hex()
        self.asked = False
        """The batch may have been carried out already."""

    def word(self) -> str:
        """What the scripts want to know of it."""
        return ("?" if self.asked else "!") + self.batch


class Settling:
    """Carries out the settlements of one broker; writes records too once it has a `store` on the same server."""

    def __init__(self, server: Server, keys: Keys, sender: Sender) -> None:
        self.store: RedisStore | None = None
        self._server = server
        self._keys = keys
        self._sender = sender
        self._memos = itertools.cycle([f"{keys.memo()}:{n}" for n in range(_MEMOS)])
        self._doubts: dict[Receipt, tuple[int, _Memo]] = {}
        """Batches that may have been carried out, by their first receipt, and their length."""

    async def settle(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        """See ``Broker.settle``. A batch that begins with one whose answer was lost is answered as that one was."""
        if not batch:
            return []
        first = batch[0].receipt
        length, memo = self._doubts.get(first, (len(batch), None))
        if length > len(batch):  # something after it was refused, and now all of it comes in smaller batches
            length, memo = len(batch), None
        stale = await self._settle(batch[:length], memo or self._new_memo())
        if length < len(batch):
            stale = [*stale, *await self.settle(batch[length:])]
        self._doubts.pop(first, None)
        return stale

    async def _settle(self, batch: Sequence[Settlement], memo: _Memo) -> Collection[Receipt]:
        first = batch[0].receipt
        await self._server.connect()
        try:
            try:
                return await self._try(batch, memo)
            except BrokerUnavailable as exc:
                if exc.refused:
                    raise
                self._doubt(first, len(batch), memo)
                return await self._try(batch, memo)
        except BrokerUnavailable as exc:
            if exc.refused:  # now, and had it come in before, it was then
                self._doubts.pop(first, None)
            raise

    def _doubt(self, first: Receipt, length: int, memo: _Memo) -> None:
        """From now on, until there is an answer, the batch may have been carried out: whatever else becomes of it."""
        memo.asked = True
        self._doubts.pop(first, None)
        while len(self._doubts) >= _DOUBTS:
            del self._doubts[next(iter(self._doubts))]
        self._doubts[first] = (length, memo)

    def _new_memo(self) -> _Memo:
        """In a place where nothing lies that may be asked for again."""
        taken = {memo.key for _, memo in self._doubts.values()}
        return _Memo(next(key for key in self._memos if key not in taken))

    async def _try(self, batch: Sequence[Settlement], memo: _Memo) -> Collection[Receipt]:
        acks = [item for item in batch if isinstance(item, Ack) and not item.then]
        if len(acks) == len(batch):
            recorded = [(item.receipt, item.record) for item in acks if item.record is not None]
            if not recorded and len(acks) <= _ACKS:
                return await self._acknowledge([item.receipt for item in acks], memo)
            if len(recorded) == len(acks) <= _RECORDS and self.store is not None:
                return await self._finish(recorded, self.store, memo)
        own_db = self._server.address.db
        args: list[Arg] = [own_db if self.store is None else self.store.address.db, own_db]
        for item in batch:
            self._pack(item, args)
        stale = await self._server.run(SETTLE, *self._keys.header, memo.key, memo.word(), *args)
        return [batch[position - 1].receipt for position in stale]

    async def _acknowledge(self, receipts: Sequence[Receipt], memo: _Memo) -> Collection[Receipt]:
        by_queue: dict[str, list[Receipt]] = {}
        for receipt in receipts:
            by_queue.setdefault(receipt.queue, []).append(receipt)
        args: list[Arg] = []
        for mine in by_queue.values():
            args.append(len(mine))
            args += [receipt.token for receipt in mine]
        stale = await self._server.run(ACK, memo.word(), *args, keys=self._quick_keys(memo, by_queue))
        ordered = [receipt for mine in by_queue.values() for receipt in mine]
        return [ordered[position - 1] for position in stale]

    async def _finish(
        self, batch: Sequence[tuple[Receipt, Record]], store: RedisStore, memo: _Memo
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
        stale = await self._server.run(FINISH, memo.word(), *args, keys=self._quick_keys(memo, by_queue))
        ordered = [receipt for mine in by_queue.values() for receipt, _ in mine]
        return [ordered[position - 1] for position in stale]

    def _quick_keys(self, memo: _Memo, queues: Iterable[str]) -> list[str]:
        """What the two quick scripts get for KEYS."""
        own = self._keys.own
        return [
            memo.key,
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
