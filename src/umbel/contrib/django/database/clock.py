"""The clock of a database, as this process knows it.

Servers have one, and their statements use it. SQLite has none: all who share a file share a machine. **Wall** time is what
"due at nine" means. **Steady** time is what leases and signs of life are measured in: nobody can set it, and it stands still
while the machine sleeps. It begins anew at every boot, so the file remembers by how much it differed from wall time when it
was first used after a boot: that makes steady instants readable as wall time, and comparable with those from before.
"""

from __future__ import annotations

import time

from umbel.backends._common_machine_clock import BOOT_ID, steady_now, wall_now
from umbel.backends._sql.database import Session

__all__ = ["Clock"]

HEARD_FOR = 60.0
"""Seconds after which the clock of a server is looked at again."""


class Clock:
    """Of one database."""

    def __init__(self) -> None:
        self._ahead = 0.0
        """Seconds by which the server's clock is ahead of this process's steady one."""
        self._heard_at: float | None = None
        self._offset = 0
        """Milliseconds from the machine's steady clock to steady instants in the file."""

    # -- SQLite

    def times(self) -> dict[str, int]:
        """What the statements of SQLite are given as the time."""
        return {"now": wall_now(), "steady": steady_now() + self._offset}

    def learn_offset(self, session: Session) -> None:
        """Read the offset of this boot, or begin a new boot. In a transaction that holds the write lock."""
        for boot, offset in session.rows("boot"):
            if boot == BOOT_ID:
                self._offset = offset
                return
        self._offset = wall_now() - steady_now()
        session.run("forget_boot")
        session.run("set_boot", boot=BOOT_ID, offset=self._offset)

    # -- servers

    def is_old(self) -> bool:
        """Whether the server should be asked for its time."""
        return self._heard_at is None or time.monotonic() - self._heard_at > HEARD_FOR

    def hear(self, milliseconds: int) -> None:
        """What the server's clock shows now."""
        self._heard_at = time.monotonic()
        self._ahead = milliseconds / 1000 - self._heard_at

    def now(self) -> float:
        """Seconds since 1970, by this machine's clock while no server has been heard."""
        return time.time() if self._heard_at is None else time.monotonic() + self._ahead
