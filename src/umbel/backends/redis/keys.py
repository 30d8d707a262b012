"""The names of all keys, in one place. What lies behind them is told at the top of ``lua/prelude.lua``."""

from __future__ import annotations

import os

from umbel.backends.redis.options import Options
from umbel.core.priority import umbel_priority
from umbel.ports import Shelf

__all__ = ["Keys"]


class Keys:
    """Key names under one set of options."""

    def __init__(self, options: Options) -> None:
        self.prefix = options.global_keyprefix
        self.bands = tuple(
            (f"{options.sep}{step}" if step else "", umbel_priority(step)) for step in options.priority_steps
        )
        """Suffix and base priority of each of a queue's lists, sooner first."""
        self.header: tuple[str | int, ...] = (
            self.prefix,
            len(self.bands),
            *(part for band in self.bands for part in band),
        )
        """What every script with the prelude expects in front of its own arguments."""
        self.queues = f"{self.prefix}umbel:queues"
        self.revoked = f"{self.prefix}umbel:revoked:version"
        """Counts the changes of the revoked ids."""
        self.hints = f"{self.prefix}umbel:hints"
        self.signals = f"{self.prefix}umbel:signals"

    def band(self, priority: int) -> tuple[str, int]:
        """Suffix and base priority of the list that a priority goes to; the same rule as in the prelude."""
        for band in self.bands:
            if priority >= band[1]:
                return band
        return self.bands[-1]

    def lists(self, queue: str) -> list[str]:
        """Celery's lists of a queue, sooner first."""
        return [f"{self.prefix}{queue}{suffix}" for suffix, _ in self.bands]

    def woken(self, queue: str) -> list[str]:
        """For each of ``lists``: where a waiting node's blocked connection moves a message to."""
        return [self.own(queue, f"woken{suffix}") for suffix, _ in self.bands]

    def own(self, queue: str, name: str) -> str:
        """One of Umbel's keys of a queue."""
        return f"{self.prefix}umbel:{{{queue}}}:{name}"

    def dedupe(self, key: str) -> str:
        """Where a dedupe key is remembered."""
        return f"{self.prefix}umbel:dedupe:{key}"

    def memo(self) -> str:
        """Where what batches of settlements were answered is remembered for a while; new at every call."""
        return f"{self.prefix}umbel:settled:{os.urandom(8).hex()}"

    def shelf(self, queue: str, shelf: Shelf) -> str:
        """The zset that orders a shelf."""
        names = {"scheduled": "due", "held": "leases", "parked": "parked", "dead": "dead"}
        return self.own(queue, names[shelf])
