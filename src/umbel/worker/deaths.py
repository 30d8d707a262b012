"""How children died: the supervisor's word, which may come before or after the end of their connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

PATIENCE = 1.0
"""Seconds that the end of a connection waits for the supervisor's word on how the child died."""


class Deaths:
    """Of one node, by pid."""

    def __init__(self) -> None:
        self._notices: dict[int, asyncio.Future[str]] = {}

    def __len__(self) -> int:
        return len(self._notices)

    def tell(self, pid: int, how: str, *, known: bool) -> None:
        """A child has died. Kept for ``of``, if it is `known` or awaited: nobody asks for any other."""
        if known or pid in self._notices:
            notice = self._notice(pid)
            if not notice.done():
                notice.set_result(how)

    async def of(self, pid: int, kill: Callable[[], None]) -> str:
        """How it died: "was killed by SIGKILL". If nobody says so in time it lives, and is killed.

        The end of a connection is not the end of a process: a task may have closed what it found open, and its calls must
        not begin elsewhere while it goes on. After a SIGKILL it runs no more code, whether or not there is a supervisor
        to say so.
        """
        try:
            how = await self._told(pid)
            if how is None:
                kill()
                how = await self._told(pid) or "ended its connection, and was killed"
            return how
        finally:
            self.forget(pid)

    async def _told(self, pid: int) -> str | None:
        """The supervisor's word; None: it has not come in time."""
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._notice(pid)), PATIENCE)
        return None

    def forget(self, pid: int) -> None:
        """Nobody will ask."""
        self._notices.pop(pid, None)

    def _notice(self, pid: int) -> asyncio.Future[str]:
        return self._notices.setdefault(pid, asyncio.get_running_loop().create_future())
