"""How a node is known to others: it announces itself, notices a namesake, and heeds hints."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable

from umbel.errors import OperationalError
from umbel.ports import Broker, NodeHealth, NodeInfo, Signal
from umbel.worker.pauses import pause_after
from umbel.worker.settings import NodeSettings

logger = logging.getLogger("umbel.worker")

ANNOUNCE_SECONDS = 2.0
"""With the time that an idle fetch may take, well below what ``umbel health`` allows (see ``health``)."""
FORGET_SECONDS = 20.0
"""A node that has announced nothing for so long is forgotten."""


class Presence:
    """Of one node. `counters` and `tasks` say what to tell; `heed` gets every signal."""

    def __init__(
        self,
        settings: NodeSettings,
        broker: Broker,
        *,
        started: float,
        tasks: list[str],
        counters: Callable[[], dict[str, int]],
        heed: Callable[[Signal], None],
    ) -> None:
        self._settings = settings
        self.queues = settings.queues
        """What it says it consumes."""
        self._broker = broker
        self._started = started
        self._tasks = tasks
        self._counters = counters
        self._heed = heed
        self.health: Callable[[], NodeHealth | None] = lambda: None

    async def succeed(self) -> None:
        """Take the place of the predecessors: they would be remembered for a while as nodes that say nothing."""
        await self._broker.announce(self._info(), ttl=FORGET_SECONDS)
        for gone in self._settings.predecessors:
            dead = self._info()
            dead.id = gone
            await self._broker.announce(dead, ttl=0)

    async def check_name(self) -> None:
        """Warn when another live worker has the same name."""
        settings = self._settings
        for other in await self._broker.nodes():
            if other.name == settings.name and other.id not in (settings.id, *settings.predecessors):
                logger.warning(
                    "Another worker named %s is alive (pid %d, heard %.0f s ago). Both will work, but commands to one "
                    "reach both; give each a name of its own with -n.",
                    other.name,
                    other.pid,
                    other.seen_ago,
                )

    async def announce(self) -> None:
        """Say every few seconds that this node lives, until cancelled."""
        while True:
            info = self._info()
            try:
                await self._broker.announce(info, ttl=FORGET_SECONDS)
            except OperationalError as exc:
                logger.debug("Cannot announce this node: %s", exc)
            starting = info.health is not None and info.health.state == "starting"
            pause = ANNOUNCE_SECONDS / 10 if starting else ANNOUNCE_SECONDS
            await asyncio.sleep(pause * (0.9 + 0.2 * random.random()))

    async def leave(self) -> None:
        """Say that this node has gone."""
        await self._broker.announce(self._info(), ttl=0)

    async def listen(self) -> None:
        """Pass on signals until cancelled. They are hints: what is missed is found out later."""
        failures = 0
        while True:
            try:
                async for signal in self._broker.signals():
                    failures = 0
                    self._heed(signal)
            except OperationalError as exc:
                logger.debug("Not listening for signals: %s", exc)
            await asyncio.sleep(pause_after(failures))
            failures += 1

    def _info(self) -> NodeInfo:
        settings = self._settings
        return NodeInfo(
            name=settings.name,
            id=settings.id,
            pid=os.getpid(),
            queues=list(self.queues),
            pool=settings.pool,
            concurrency=settings.children * settings.slots,
            tasks=self._tasks,
            started=self._started,
            counters=self._counters(),
            health=self.health(),
        )
