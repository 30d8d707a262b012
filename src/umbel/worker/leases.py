"""The leases of all that a node holds: renewed by one call, and what becomes of a run whose lease is lost all the same.

Another run has its message then. Whatever the superseded one produces is not written, and where that can be done it is
stopped, so that no two runs act on the world for longer than it takes to notice:

* in a child that runs one call at a time (``prefork``), by SIGKILL. What waits behind it goes back, uncounted;
* a coroutine of the ``asyncio`` pool, by cancelling it;
* a thread cannot be stopped without its neighbours, nor ``solo`` without the worker: it goes on, and nobody listens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from umbel.errors import OperationalError
from umbel.ports import Broker
from umbel.worker.crew import Child, Crew
from umbel.worker.health import Health
from umbel.worker.inflight import Held, Inflight
from umbel.worker.journal import Journal
from umbel.worker.pauses import renewal_pause
from umbel.worker.settings import NodeSettings

logger = logging.getLogger("umbel.worker")


class Leases:
    """Of one node. `kill` ends a child."""

    def __init__(
        self,
        settings: NodeSettings,
        broker: Broker,
        inflight: Inflight,
        crew: Crew,
        journal: Journal,
        health: Health,
        kill: Callable[[Child], None],
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._inflight = inflight
        self._crew = crew
        self._journal = journal
        self._health = health
        self._kill = kill

    async def run(self) -> None:
        """Renew until cancelled."""
        failures = 0
        while True:
            await asyncio.sleep(renewal_pause(self._settings.lease, failures))
            try:
                await self.renew()
                if failures:
                    logger.warning("Leases are renewed again.")
                failures = 0
            except OperationalError as exc:
                log = logger.debug if failures else logger.error
                log("Cannot renew leases: %s Trying again and again.", exc)
                self._health.lost(str(exc))
                failures += 1

    async def renew(self) -> None:
        """Renew them all now. Raises OperationalError."""
        receipts = self._inflight.receipts()
        if not receipts:
            return
        stale = await self._broker.extend(list(receipts), lease=self._settings.lease)
        self._health.reached()
        for receipt in stale:
            held = receipts[receipt]
            mine = self._inflight.get(held.seq) is held and held.receipt == receipt
            if mine and held.settlement is None:
                held.lease_lost = True
                self._journal.lease_lost(held, self._stop(held))

    def _stop(self, held: Held) -> str:
        """Stop what runs without a lease. Returns what was done, for people."""
        crew = self._crew
        child = next((child for child in crew.children.values() if held.seq in child.handed), None)
        if child is not None:
            crew.offer(child.take_back(), first=True)
        if held in crew.buffer:
            crew.buffer.remove(held)
            self._inflight.drop(held.seq)
            return "It had not begun here, and will not."
        if child is None or child.gone:
            return "It has ended here."
        if self._settings.pool == "prefork":
            held.stopped = True
            self._kill(child)
            return "Its process is killed."
        if self._settings.pool == "asyncio":
            held.stopped = True
            child.cancel(held.seq)
            return "It is cancelled, if it is a coroutine."
        return "It cannot be stopped, and goes on."
