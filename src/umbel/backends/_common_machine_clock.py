"""The two clocks of a database file, in milliseconds.

SQLite has no clock of its own, and all who share a file share a machine. **Wall** time is what "due at nine" and
"kept for a day" mean; it must survive a reboot, and somebody may set it. **Steady** time is what leases and signs of
life are measured in: it is never set, and it stands still while the machine sleeps, so a changed clock or a closed
lid does not make every lease end at once. It begins anew at every boot. The file says which boot it belongs to; when
that is another one, everything held then is held no more (``Database`` sees to it when it opens the file).

A wall clock that is set back lets what is sent afterwards overtake what waits in the same priority, and delays what is
scheduled; set forward, it makes scheduled messages due and records expire. Nothing is lost either way, and nothing that
is held is touched.

Where the kernel does not name its boots (only Linux does), steady time is wall time.
"""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["BOOT_ID", "milliseconds", "steady_now", "wall_now"]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


BOOT_ID = _boot_id()
"""Names this boot of the machine; '' where the kernel does not."""


def wall_now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def steady_now() -> int:
    """Milliseconds of a clock that nobody sets, the same for all processes of one boot."""
    return time.monotonic_ns() // 1_000_000 if BOOT_ID else wall_now()


def milliseconds(seconds: float) -> int:
    """A duration in the unit of the database, rounded up so that nothing happens early."""
    return -int(-seconds * 1000 // 1)
