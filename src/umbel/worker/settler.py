"""The one door out: every ending leaves the node through here, in batches, in order.

While one batch is on its way the next one gathers, so a busy node settles by the hundred and an idle one at
once. A batch that fails because the store is out of reach stays, and is tried again for as long as the node
lives: settlements repeat safely, since a receipt opens only once.

What the broker refuses for good is found by halves, so that the others of its batch do not wait for it: a settlement is
replaced by a simpler one, which buries the message, and a record or a message that has nothing to settle is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from umbel import faults
from umbel.errors import OperationalError
from umbel.ports import Ack, Broker, Bury, Outgoing, Receipt, Record, ResultStore, Retry, Settlement
from umbel.worker.pauses import pause_after
from umbel.worker.settlements import buried

logger = logging.getLogger("umbel.worker")

T = TypeVar("T")

BATCH = 500
BATCH_BYTES = 4 << 20
"""A batch is cut before what would make it larger than this, so that it is on its way, and the broker with others, for a small part
of the time that an answer may take. What is larger by itself goes alone."""

Settled = Callable[[int, bool], None]
"""Called with a sequence number once its settlement is carried out; the flag says that its receipt was stale."""


class Settler:
    """Carries out settlements and stores records, in the order in which they come."""

    def __init__(
        self,
        broker: Broker,
        store: ResultStore | None,
        *,
        adopted: bool,
        settled: Settled,
        lease: float = 25.0,
    ) -> None:
        self._broker = broker
        self._store = store
        self._adopted = adopted
        self._settled = settled
        self._lease = lease
        self.on_flush: Callable[[], None] = lambda: None
        """Called whenever something has been stored."""
        self.refused: Callable[[int, Settlement, str], object] = self.bury
        """Called with a settlement that the broker refuses, and why; adds another one."""
        self._most = BATCH
        """How many go at once: fewer while one that is refused is looked for."""
        self._settlements: list[tuple[int, Settlement]] = []
        self._records: list[Record] = []
        self._outgoing: list[Outgoing] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, seq: int, settlement: Settlement) -> None:
        """Settle the call `seq`. Its record travels with it where the store allows, before it otherwise."""
        self._settlements.append((seq, settlement))
        self._idle.clear()
        self._work.set()

    def backlog(self) -> int:
        """How much waits to be stored."""
        return len(self._settlements) + len(self._records) + len(self._outgoing)

    def record(self, record: Record) -> None:
        """Store a record that ends nothing: STARTED, progress, the outcome of a call acknowledged early."""
        self._records.append(record)
        self._idle.clear()
        self._work.set()

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send what follows from a call that has nothing left to settle."""
        self._outgoing += messages
        self._idle.clear()
        self._work.set()

    async def run(self) -> None:
        """Work until cancelled."""
        failures = 0
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                while self._settlements or self._records or self._outgoing:
                    await self._flush()
                    failures = 0
                    self.on_flush()
            except OperationalError as exc:
                pause = pause_after(failures)
                failures += 1
                logger.error(
                    "Cannot settle %d finished tasks: %s Trying again in %.1f s; nothing is lost meanwhile.",
                    len(self._settlements),
                    exc,
                    pause,
                )
                self._work.set()
                await asyncio.sleep(pause)
            else:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until everything added so far is stored."""
        await self._idle.wait()

    async def _flush(self) -> None:
        # Records first: with a store of its own, "stored, then settled" can repeat but cannot lose.
        if self._records:
            await self._pass_on(self._records, self._put, _bytes_of_record)
        if self._outgoing:
            await self._pass_on(self._outgoing, self._send, _bytes_of_message)
        if self._records or self._outgoing:
            return
        batch = _batch(self._settlements, self._most, _bytes_of_settlement)
        if batch:
            receipts = [settlement.receipt for _, settlement in batch]
            try:
                if not self._adopted:
                    await self._store_apart(batch)
                    if receipts != [settlement.receipt for _, settlement in batch]:
                        return  # one has come back to this node, and must be fenced anew
                stale = await self._broker.settle([settlement for _, settlement in batch])
            except OperationalError as exc:
                self._narrow(len(batch), exc)
                if len(batch) == 1:
                    self._replace_first(exc)
                return
            faults.point("settler.settled")
            del self._settlements[: len(batch)]
            self._widen()
            self._tell(receipts, batch, stale)

    async def _put(self, records: list[Record]) -> None:
        if self._store is not None:
            await self._store.put(records)
        faults.point("settler.recorded")

    async def _send(self, messages: list[Outgoing]) -> None:
        await self._broker.send(messages)
        faults.point("settler.sent")

    # -- what is refused

    async def _pass_on(
        self,
        waiting: list[T],
        carry: Callable[[list[T]], Awaitable[None]],
        bytes_of: Callable[[T], int],
    ) -> None:
        """Carry the first of `waiting` to where they go. One that is refused is dropped: there is no message to bury."""
        batch = _batch(waiting, self._most, bytes_of)
        try:
            await carry(batch)
        except OperationalError as exc:
            self._narrow(len(batch), exc)
            if len(batch) > 1:
                return
            logger.error("Dropped %s: %s", _called(batch[0]), exc)
        else:
            self._widen()
        del waiting[: len(batch)]

    def _narrow(self, tried: int, exc: OperationalError) -> None:
        """Look for the one that is refused in the first half of so many. Raises `exc` when it is not about one of them."""
        if not exc.refused:
            raise exc
        self._most = max(tried // 2, 1)

    def _widen(self) -> None:
        self._most = min(self._most * 2, BATCH)

    def _replace_first(self, exc: OperationalError) -> None:
        seq, settlement = self._settlements[0]
        if buried(settlement, "") is None:
            raise exc
        del self._settlements[0]
        self.refused(seq, settlement, str(exc))

    def bury(self, seq: int, settlement: Settlement, reason: str) -> Settlement | None:
        """Do the next best thing instead of `settlement`, which is refused for `reason`, and say what that is."""
        instead = buried(settlement, f"its ending was refused: {reason}")
        if instead is not None:
            logger.error(
                "Burying a message of queue %s, whose ending is refused: %s", instead.receipt.queue, reason
            )
            self.add(seq, instead)
        return instead

    # -- settling

    async def _store_apart(self, batch: list[tuple[int, Settlement]]) -> None:
        """Store the records of `batch` in a store that the broker cannot write to.

        Asking for the leases once more is the fence: what a superseded run produced is not written.
        """
        recorded = [
            (settlement.receipt, settlement.record, settlement)
            for _, settlement in batch
            if isinstance(settlement, (Ack, Retry, Bury)) and settlement.record is not None
        ]
        if not recorded:
            return
        stale = set(await self._broker.extend([receipt for receipt, _, _ in recorded], lease=self._lease))
        faults.point("settler.fenced")
        records = [record for receipt, record, _ in recorded if receipt not in stale]
        if self._store is not None and records:
            await self._store.put(records)
            faults.point("settler.stored")
        for receipt, _, settlement in recorded:
            if settlement.receipt is receipt:
                settlement.record = None

    def _tell(
        self, receipts: list[Receipt], batch: list[tuple[int, Settlement]], stale: Collection[Receipt]
    ) -> None:
        """`receipts`: those that `batch` was sent with. What has come back to this node meanwhile has another one, which is
        still to be settled."""
        lost = set(stale)
        again = []
        for receipt, entry in zip(receipts, batch, strict=True):
            if entry[1].receipt is receipt:
                self._settled(entry[0], receipt in lost)
            else:
                again.append(entry)
        self._settlements[:0] = again


def _called(item: object) -> str:
    """A record or a message, for the log."""
    if isinstance(item, Outgoing):
        return f"a message for queue {item.queue} (task {item.frame.task_name}[{item.frame.task_id}])"
    return f"a record of task {item.task_id}" if isinstance(item, Record) else repr(item)


def _batch(items: list[T], most: int, bytes_of: Callable[[T], int]) -> list[T]:
    """The first of `items`, at most so many: as many as make one batch."""
    batch = items[:most]
    total = 0
    for count, item in enumerate(batch):
        total += bytes_of(item)
        if total > BATCH_BYTES:
            return batch[: max(count, 1)]
    return batch


def _bytes_of_record(record: Record) -> int:
    return len(record.payload)


def _bytes_of_message(message: Outgoing) -> int:
    return len(message.frame.body)


def _bytes_of_settlement(item: tuple[int, Settlement]) -> int:
    _, settlement = item
    if isinstance(settlement, (Ack, Bury)):
        total = sum(map(_bytes_of_message, settlement.then)) if settlement.then else 0
    elif isinstance(settlement, Retry):
        total = _bytes_of_message(settlement.replacement)
    else:
        return 0
    return total if settlement.record is None else total + len(settlement.record.payload)
