"""What a node does now and then for everybody: bring parked messages back, and delete old results and dead letters."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection

from umbel import faults
from umbel.errors import OperationalError
from umbel.ports import Broker, ResultStore, Signal
from umbel.worker.settings import NodeSettings

logger = logging.getLogger("umbel.worker")

PARKED = "parked"
"""Kind of the signal that a message of an unknown task was parked; its ids are task names."""
FIRST_PAUSE = 0.5
UNPARK_SECONDS = 30.0
"""Rounds are so far apart, after a quick start."""
BOUNCE_SECONDS = 3.0
"""But no further when another worker has just parked something: an idle worker of old may be quicker again and again."""
PRUNE_SECONDS = 60.0
PRUNED_AT_ONCE = 2000
"""Dead letters that one call deletes at most: it must not keep others from the broker for long."""


class Upkeep:
    """Of one node that knows `tasks`."""

    def __init__(
        self, settings: NodeSettings, broker: Broker, store: ResultStore | None, tasks: Collection[str]
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._store = store
        self._tasks = frozenset(tasks)
        self._wake = asyncio.Event()
        self._pause = 0.0
        self._again_at = 0.0
        self._told: asyncio.Queue[str] = asyncio.Queue(maxsize=100)

    def parked(self, task: str) -> None:
        """This node has parked a message of `task`: tell the others, one of which may know it by now."""
        if not self._told.full():
            self._told.put_nowait(task)
            self._wake.set()

    def heed(self, signal: Signal) -> None:
        """Another node has parked something."""
        if signal.kind == PARKED and not self._tasks.isdisjoint(signal.ids):
            self._wake_later()

    def _wake_later(self) -> None:
        """Bring messages back soon, and less and less soon while they are parked again and again.

        During a rolling deploy an idle worker of old can take them before one of the new ones is free.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now < self._again_at:
            return
        if now > self._again_at + UNPARK_SECONDS:
            self._pause = 0.0
        self._again_at = now + self._pause
        loop.call_later(self._pause, self._wake.set)
        self._pause = min(BOUNCE_SECONDS, max(0.25, self._pause * 2))

    async def run(self) -> None:
        """Work until cancelled. The signals make it quick; the clock makes it sure."""
        loop = asyncio.get_running_loop()
        prune_at = loop.time() + PRUNE_SECONDS * random.random()
        # What the first round brings back may be parked again at once by a worker of the last release, and its signal be
        # missed because nobody listens here yet: so the next rounds follow soon.
        pause = FIRST_PAUSE
        self._wake.set()
        while True:
            try:
                async with asyncio.timeout(pause * (0.75 + 0.5 * random.random())):
                    await self._wake.wait()
            except TimeoutError:
                pause = min(pause * 2, UNPARK_SECONDS)
            self._wake.clear()
            try:
                await self._tell()
                count = await self._broker.unpark(list(self._tasks))
                if count:
                    faults.point("upkeep.unparked")
                    logger.warning("Brought back %d parked messages: this worker knows their tasks.", count)
                if loop.time() >= prune_at:
                    prune_at = loop.time() + PRUNE_SECONDS
                    await self._prune()
            except OperationalError as exc:
                logger.debug("Upkeep has to wait: %s", exc)

    async def _prune(self) -> None:
        if self._store is not None:
            await self._store.prune()
        age, most = self._settings.dead_letter_expires, self._settings.dead_letter_limit
        if age is None and most is None:
            return
        count = deleted = await self._broker.prune_dead(age=age, most=most, limit=PRUNED_AT_ONCE)
        while deleted >= PRUNED_AT_ONCE:
            await asyncio.sleep(0)
            deleted = await self._broker.prune_dead(age=age, most=most, limit=PRUNED_AT_ONCE)
            count += deleted
        if count:
            logger.warning(
                "Deleted %d dead letters that were too old (dead_letter_expires) or too many (dead_letter_limit).",
                count,
            )

    async def _tell(self) -> None:
        names: set[str] = set()
        while not self._told.empty():
            names.add(self._told.get_nowait())
        if names:
            await self._broker.publish(Signal(kind=PARKED, ids=sorted(names)))
