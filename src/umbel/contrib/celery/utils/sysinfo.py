"""``celery.utils.sysinfo``."""

from __future__ import annotations

import os
from functools import cached_property

__all__ = ["AUTO_CONCURRENCY", "available_cpu_count", "df", "is_auto_concurrency", "load_average"]

AUTO_CONCURRENCY = "auto"


def load_average() -> tuple[float, ...]:
    """The load of this machine in the last 1, 5 and 15 minutes."""
    return tuple(round(value, 2) for value in os.getloadavg())


def is_auto_concurrency(value: object) -> bool:
    """Whether it is the word ``auto``."""
    return isinstance(value, str) and value.strip().lower() == AUTO_CONCURRENCY


def available_cpu_count() -> int:
    """On how many processors this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 2


class df:
    """The room on the disk that holds `path`."""

    def __init__(self, path: str | bytes | os.PathLike[str]) -> None:
        self.path = path

    @cached_property
    def stat(self) -> os.statvfs_result:
        """What the system says."""
        return os.statvfs(self.path)

    @property
    def total_blocks(self) -> float:
        """All of it, in units of a kilobyte."""
        return self.stat.f_blocks * self.stat.f_frsize / 1024

    @property
    def available(self) -> float:
        """What is free, in units of a kilobyte."""
        return self.stat.f_bavail * self.stat.f_frsize / 1024

    @property
    def capacity(self) -> int:
        """How much is used, in per cent."""
        used = self.stat.f_blocks - self.stat.f_bfree
        return -(-used * 100 // ((used + self.stat.f_bavail) or 1))
