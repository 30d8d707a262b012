"""From the broker to the buffer: waits for credit, reserves, admits what may run, gives the rest a named end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from umbel import faults
from umbel.core.policy import Ending
from umbel.core.stamps import marks_on
from umbel.errors import OperationalError
from umbel.ports import Ack, Broker, Bury, Delivery, Frame, Receipt, Release, Remote
from umbel.worker.health import Health
from umbel.worker.inflight import Held, Inflight
from umbel.worker.journal import Journal
from umbel.worker.pauses import pause_after
from umbel.worker.settings import NodeSettings
from umbel.worker.settler import Settler
from umbel.worker.verdict import Judge

logger = logging.getLogger("umbel.worker")

RESERVE_WAIT = 5.0
LETTING_GO = 5.0
"""Seconds that the loop may take to end when it is cancelled."""


class Fetcher:
    """Fetches for one node. `wanted` says how many calls there is room for, `admit` takes those that may run, and
    `end` ends those that may not."""

    def __init__(
        self,
        settings: NodeSettings,
        broker: Broker,
        inflight: Inflight,
        settler: Settler,
        judge: Judge,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self.queues: Sequence[str] = settings.queues
        """What is fetched from. Another value counts from the next fetch on."""
        self._broker = broker
        self._inflight = inflight
        self._settler = settler
        self._judge = judge
        self._journal = journal
        self._credit = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.health = Health()
        """Is told what the loop does."""
        # Where remote control may change the queues, that is heard within a second.
        self._wait = 1.0 if isinstance(broker, Remote) else RESERVE_WAIT
        self.wanted: Callable[[], int] = lambda: 0
        self.admit: Callable[[list[Held]], None] = lambda calls: None
        self.renew: Callable[[], Awaitable[None]] = _nothing
        """Renews the leases of all that is held."""
        self.paced: Callable[[Held], bool] = lambda held: False
        """Whether a call waits for its turn first: then it is acknowledged when that has come."""
        self.end: Callable[[Held, Ending, str], None] = lambda held, ending, reason: None

    def credit(self) -> None:
        """There may be room again."""
        self._credit.set()

    def step(self) -> None:
        """A step of some call of the broker is over. If it is a call of the fetch loop, the loop moves, however slowly."""
        if asyncio.current_task() is self._task:
            self.health.moved()

    async def run(self) -> None:
        """Fetch until cancelled."""
        self._task = asyncio.current_task()
        failures = 0
        answered = False
        health = self.health
        while True:
            wanted = self.wanted() if self.queues else 0
            if wanted <= 0:
                self._credit.clear()
                health.wait_for_room()
                await self._credit.wait()
                health.room()
                continue
            try:
                if failures:
                    # Leases may have ended while the broker was away. Renewed first, they are still ours; otherwise
                    # this very call could bring back what is running here.
                    health.turn("renewing leases")
                    await self.renew()
                health.turn("waiting for the broker to answer a fetch")
                deliveries = await self._broker.reserve(
                    self.queues,
                    limit=wanted,
                    lease=self._settings.lease,
                    # Not known to be there, the broker is asked for a quick word first.
                    wait=self._wait if answered else 0.0,
                    holder=self._settings.id,
                )
                answered = True
                health.fetched()
                if deliveries:
                    faults.point("fetcher.reserved")
                await self._take(deliveries)
            except OperationalError as exc:
                answered = False
                health.failed(str(exc))
                pause = pause_after(failures)
                failures += 1
                logger.error("Cannot fetch: %s Trying again in %.1f s.", exc, pause)
                await asyncio.sleep(pause)
                continue
            if failures:
                logger.warning("Connected again to %s.", self._broker.url)
                failures = 0

    async def _take(self, deliveries: Sequence[Delivery]) -> None:
        now, broker_now = asyncio.get_running_loop().time(), self._broker.now()
        ready: list[Held] = []
        early: list[Held] = []
        stamped = [
            delivery
            for delivery in deliveries
            if delivery.frame is not None and delivery.frame.headers.get("stamped_headers")
        ]
        if stamped:
            await self._mark_revoked(stamped, deliveries)
        for delivery in deliveries:
            frame = delivery.frame
            if frame is None:
                self._bury_garbage(delivery)
                continue
            if delivery.receipt.queue not in self.queues:
                # The queue was taken from this worker while it waited there.
                self._settler.add(0, Release(receipt=delivery.receipt, counted=False))
                continue
            if delivery.count > 1 and self._inflight.comes_back(delivery, frame):
                continue
            held = self._inflight.add(delivery, frame, now)
            refusal = self._judge.refuse(held, revoked=delivery.revoked, now=broker_now)
            if refusal is not None:
                self.end(held, *refusal)
                continue
            self._journal.received(held)
            facts = self._judge.facts(frame.task_name)
            if facts is None:  # protocol 1: only the child can read its limits
                held.report_begin = True
            else:
                held.report_begin = facts.reports_begin or _has_hard_limit(frame) or self._journal.tells
                if not facts.acks_late and not self.paced(held):
                    early.append(held)
                    continue
            ready.append(held)
        if ready:
            self.admit(ready)
        if early:
            self.admit(await self.acknowledge(early))

    async def _mark_revoked(self, stamped: Sequence[Delivery], batch: Sequence[Delivery]) -> None:
        """Look which of them have a stamp that was revoked. If that cannot be done, all of `batch` goes back."""
        marks = {d.receipt: set(marks_on(d.frame.headers)) for d in stamped if d.frame is not None}
        try:
            revoked = set(await self._broker.revoked(set().union(*marks.values())))
        except (OperationalError, asyncio.CancelledError):
            for delivery in batch:
                self._settler.add(0, Release(receipt=delivery.receipt, counted=False))
            raise
        for delivery in stamped:
            if not revoked.isdisjoint(marks[delivery.receipt]):
                delivery.revoked = True

    def is_early(self, held: Held) -> bool:
        """Whether a call that has waited for its turn is still to be acknowledged before it runs."""
        facts = self._judge.facts(held.frame.task_name)
        return held.receipt is not None and facts is not None and not facts.acks_late

    async def acknowledge(self, early: list[Held]) -> list[Held]:
        """Acknowledge before running. What proves stale is not run: somebody else has it."""
        self.health.turn("acknowledging what is about to run")
        acks = [Ack(receipt=held.receipt) for held in early if held.receipt]
        settling = asyncio.ensure_future(self._broker.settle(acks))
        try:
            stale = await asyncio.shield(settling)
        except OperationalError:
            # Whether they were acknowledged is not known. Not running them is the lesser evil: those that were not
            # come back when their lease ends; `acks_late = False` accepts that the others are lost.
            for held in early:
                self._inflight.drop(held.seq)
            raise
        except asyncio.CancelledError:
            await self._send_back(early, settling)
            raise
        faults.point("fetcher.acknowledged")
        return self._acknowledged(early, stale)

    def _acknowledged(self, early: list[Held], stale: Collection[Receipt]) -> list[Held]:
        ready, gone = [], set(stale)
        for held in early:
            if held.receipt in gone:
                self._inflight.drop(held.seq)
            else:
                held.receipt = None
                ready.append(held)
        return ready

    async def _send_back(self, early: list[Held], settling: asyncio.Future[Collection[Receipt]]) -> None:
        """Nobody is to begin them any more: those that are acknowledged would be lost, and become new messages."""
        await asyncio.wait([settling], timeout=LETTING_GO / 2)
        settling.cancel()
        if settling.done() and not settling.cancelled() and settling.exception() is None:
            again = self._acknowledged(early, settling.result())
            self._settler.send([self._judge.resend(held) for held in again])
        else:
            logger.warning(
                "Whether %d messages were acknowledged is not known: those that were are lost.", len(early)
            )
        for held in early:
            self._inflight.drop(held.seq)

    def _bury_garbage(self, delivery: Delivery) -> None:
        logger.error(
            "Buried a message of queue %s that cannot be read: %s", delivery.receipt.queue, delivery.problem
        )
        self._settler.add(0, Bury(receipt=delivery.receipt, reason=delivery.problem or "not a message"))


async def _nothing() -> None:
    """Renew nothing."""


def _has_hard_limit(frame: Frame) -> bool:
    limits = frame.headers.get("timelimit")
    return isinstance(limits, list) and bool(limits) and bool(limits[0])
