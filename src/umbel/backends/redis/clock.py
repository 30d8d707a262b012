"""The server's wall clock, known without asking for it."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["ServerClock"]


class ServerClock:
    """What it showed when it was last heard, and how long ago that was by a clock that nobody sets."""

    def __init__(self) -> None:
        self._shown: float | None = None
        self._heard_at = 0.0

    def hear(self, answer: Any) -> None:
        """The answer to TIME. Anything else, from a server that does not let this user ask, is passed over."""
        if isinstance(answer, list):
            seconds, microseconds = answer
            self._shown, self._heard_at = int(seconds) + int(microseconds) / 1e6, time.monotonic()

    def now(self) -> float:
        """Seconds since 1970; by the clock of this machine while the server has not been heard."""
        return time.time() if self._shown is None else self._shown + time.monotonic() - self._heard_at
