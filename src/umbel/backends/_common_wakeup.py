"""What the backends share in waiting."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["Wakeup"]


class Wakeup:
    """An ``asyncio.Event`` of the running loop that any thread may set."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def set(self) -> None:
        with suppress(RuntimeError):  # a loop that was closed meanwhile has nobody left to wake
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, timeout: float) -> None:
        """Until it is set, or `timeout` seconds; then it is unset again."""
        try:
            async with asyncio.timeout(None if timeout == float("inf") else timeout):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
