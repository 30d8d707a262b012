"""A node's connection to its broker and its store: opened with patience, left with a word."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging

from umbel.errors import BrokerUnavailable, OperationalError, StoreUnavailable
from umbel.ports import Broker, ResultStore
from umbel.worker.health import Health
from umbel.worker.pauses import pause_after
from umbel.worker.presence import Presence
from umbel.worker.settings import NodeSettings

logger = logging.getLogger("umbel.worker")

GOODBYE_SECONDS = 5.0
_CALLS = 6
"""So many calls an attempt to connect makes at most, each with all the patience of the broker."""


class Connection:
    """Of one node. `stop` ends the attempts to connect."""

    def __init__(
        self,
        settings: NodeSettings,
        broker: Broker,
        store: ResultStore | None,
        *,
        presence: Presence,
        health: Health,
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._store = store
        self._presence = presence
        self._health = health
        self._stop = stop

    async def open(self) -> None:
        """Connect, and take over from the predecessors. Raises BrokerUnavailable after as many attempts as were asked for."""
        for attempt in itertools.count():
            try:
                async with asyncio.timeout(_CALLS * self._broker.patience + self._settings.limits.slack):
                    await self._open_once()
                return
            except (OperationalError, TimeoutError) as exc:
                said = str(exc) or f"{self._broker.url} neither answers nor refuses."
                if attempt + 1 == self._settings.connect_attempts:
                    raise BrokerUnavailable(said) from exc
                pause = pause_after(attempt)
                self._health.lost(said)
                what = "result store" if isinstance(exc, StoreUnavailable) else "broker"
                logger.error("Cannot reach the %s: %s Trying again in %.1f s.", what, said, pause)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
                    return

    async def _open_once(self) -> None:
        await self._broker.open()
        if self._store is not None:
            await self._store.open()
        if self._settings.predecessors:
            count = sum([await self._broker.reclaim(gone) for gone in self._settings.predecessors])
            log = logger.warning if count else logger.info
            log("Took back %d tasks that the previous node held.", count)
            await self._presence.succeed()
        await self._presence.check_name()
        self._health.reached()

    async def close(self, *, clean: bool) -> None:
        """Say good-bye and let go. Bounded: a node that ends because a call hangs must not hang here too."""
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                if clean:
                    # What a cancelled reserve may have popped is given back now rather than when its lease ends.
                    # After a failure tasks may still run; the next node takes them back when their children are dead.
                    await self._broker.reclaim(self._settings.id)
                await self._presence.leave()
        except (OperationalError, TimeoutError) as exc:
            logger.warning("Left without a word to the broker: %s", exc)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._broker.close()
                if self._store is not None:
                    await self._store.close()
