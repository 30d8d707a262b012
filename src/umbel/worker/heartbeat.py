"""The heartbeat: the node tells its supervisor how it is; the supervisor notices when it does not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

from umbel.worker import link
from umbel.worker.health import Limits, Verdict, judge
from umbel.worker.node import Node

__all__ = ["Vigil", "beat"]


async def beat(sock: socket.socket, node: Node) -> None:
    """Tell the supervisor how `node` is, until cancelled. From the node's own loop: one that hangs is silent."""
    while True:
        health = node.report()
        # A supervisor that does not read is stopped or has gone: the link tells the latter by itself.
        with contextlib.suppress(OSError):
            link.send(sock, link.Beat(health, node.crew.busy(), len(node.inflight)))
        # Whoever starts a worker waits for it to be ready.
        pause = node.settings.limits.beat
        await asyncio.sleep(pause / 10 if health.state == "starting" else pause)


class Vigil:
    """What the supervisor has heard of its nodes, one after the other.

    Time is counted while the supervisor itself runs: when all of it was suspended or stopped for an hour, the node was
    silent for no longer than it should be.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.beat: link.Beat | None = None
        """The last word of the present node."""
        self.silent = 0.0
        """Seconds since a node was heard, this one or those before it."""
        self._age = 0.0
        self._looked = time.monotonic()
        self.vain = 0
        """Nodes in a row that hung before they had fetched once."""

    def begin(self) -> None:
        """Another node has been started."""
        self.beat = None
        self._age = 0.0

    def heard(self, beat: link.Beat) -> None:
        """The node has said something."""
        self.beat = beat
        self.silent = 0.0
        if beat.health.fetched_ago is not None:
            self.vain = 0

    def look(self) -> None:
        """Let the time since the last look pass. To be called before what was said meanwhile is heard."""
        now = time.monotonic()
        passed = min(now - self._looked, 2 * self.limits.beat)
        self._looked = now
        self.silent += passed
        self._age += passed

    def hangs(self) -> bool:
        """Whether the present node has had its chance and is silent for too long."""
        return min(self.silent, self._age) > self.limits.hung

    def verdict(self) -> Verdict:
        """What to think of the node."""
        health = self.beat.health if self.beat is not None else None
        return judge(health, self.silent, patience=self.limits.silent, unanswered=self.limits.unanswered)

    def facts(self) -> dict[str, Any]:
        """What the node has said, for those who ask over HTTP. Seconds; None: nothing yet."""
        beat, silent = self.beat, self.silent
        fetched = beat.health.fetched_ago if beat is not None else None
        return {
            "fetched_ago": None if fetched is None else round(fetched + silent, 3),
            "heard_ago": round(silent, 3),
            "running": None if beat is None else beat.running,
            "held": None if beat is None else beat.held,
        }
