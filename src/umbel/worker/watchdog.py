"""The watchdog of the fetch loop: a worker that stops fetching notices it by itself.

What a broker does wrong is an error, and the fetch loop tries again by itself. This is for what should not be possible: a
call that neither returns nor raises within all of its deadlines, a wake-up that was lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine

from umbel.errors import UmbelError
from umbel.worker.fetcher import LETTING_GO, RESERVE_WAIT, Fetcher
from umbel.worker.health import Health, Limits
from umbel.worker.pauses import pause_after

__all__ = ["FetchStuck", "Watchdog", "guard"]

logger = logging.getLogger("umbel.worker")

TICK = 1.0


class FetchStuck(UmbelError):
    """The fetch loop has stopped moving, and starting it anew did not help. The node ends."""


class Watchdog:
    """Runs `fetch`, and runs it anew when it has not come around for `limit` seconds; `tries` times in a row."""

    def __init__(
        self,
        fetch: Callable[[], Coroutine[None, None, None]],
        health: Health,
        *,
        limit: float,
        tries: int,
    ) -> None:
        self._fetch = fetch
        self._health = health
        self._limit = limit
        self._tries = tries
        self._tick = min(TICK, limit / 4)

    async def run(self) -> None:
        """Fetch until cancelled. Raises what the fetch loop raised, and FetchStuck."""
        vain = 0
        while True:
            fetching = asyncio.create_task(self._fetch(), name="fetch")
            try:
                await self._until_stuck(fetching)
                vain = vain + 1 if self._health.stuck else 1
                self._complain(vain)
            finally:
                await _let_go(fetching)
            if vain >= self._tries or not fetching.done():
                raise FetchStuck(f"The fetch loop is stuck: {self._health.stuck}.")
            await asyncio.sleep(pause_after(vain - 1))
            self._health.room()

    async def _until_stuck(self, fetching: asyncio.Task[None]) -> None:
        still, turned = 0.0, 0.0
        while still <= self._limit:
            before = time.monotonic()
            done, _ = await asyncio.wait([fetching], timeout=self._tick)
            if done:
                fetching.result()
                return
            self._health.report()
            if self._health.turned != turned:
                still, turned = 0.0, self._health.turned
            else:
                # No more than that: when the whole process was stopped or suspended, the loop has not had the time either.
                still += min(time.monotonic() - before, 2 * self._tick)

    def _complain(self, vain: int) -> None:
        health = self._health
        health.stuck = f"the fetch loop has not moved for {self._limit:.0f} s ({health.step})"
        logger.critical(
            "The fetch loop has not moved for %.0f s: %s. It should have come around by now, whatever the broker does. %s",
            self._limit,
            health.step,
            "It is started anew; running tasks go on."
            if vain < self._tries
            else "Starting it anew has not helped: this node ends, and another one takes back what it holds.",
        )


def guard(fetcher: Fetcher, patience: float, limits: Limits) -> Watchdog:
    """A watchdog for `fetcher`, whose broker has that much `patience`."""
    limit = limits.stuck or RESERVE_WAIT + patience + limits.slack
    return Watchdog(fetcher.run, fetcher.health, limit=limit, tries=limits.tries)


async def _let_go(fetching: asyncio.Task[None]) -> None:
    fetching.cancel()
    await asyncio.wait([fetching], timeout=LETTING_GO)
    if fetching.done() and not fetching.cancelled():
        fetching.exception()  # seen, whatever it was
