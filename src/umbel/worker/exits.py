"""How a process ended, in words; and whether the kernel has killed for want of memory, as its counters tell."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time

_VMSTAT = pathlib.Path("/proc/vmstat")
_OWN_GROUP = pathlib.Path("/proc/self/cgroup")
_GROUPS = pathlib.Path("/sys/fs/cgroup")


def describe_exit(status: int) -> str:
    """A wait status in words: "was killed by SIGSEGV", "exited with code 3".

    >>> describe_exit(9)
    'was killed by SIGKILL'
    """
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was killed by {name}"
    return f"exited with code {code}"


_LOOK_SECONDS = 3.0
"""A kill that was longer ago than twice this explains nothing. A large process takes a while to end."""


class Exits:
    """Of the processes of one worker. It notices what the kernel has killed lately, if it is asked to look every second."""

    def __init__(self) -> None:
        self._oom = OomWatch()

    def look(self) -> None:
        """Forget kills that are too old to explain anything."""
        self._oom.look(time.monotonic())

    def describe(self, status: int, *, ours: bool = False) -> str:
        """``describe_exit``, and perhaps why. `ours`: this worker has killed it."""
        how = describe_exit(status)
        starved = "SIGKILL" in how and not ours and self._oom.has_killed()
        return f"{how}, probably for want of memory" if starved else how


class OomWatch:
    """``has_killed`` says whether the counters have moved within the last few seconds, and since it was last asked.

    They are of the whole machine, so what another program was killed for must not be brought up weeks later.
    """

    def __init__(self) -> None:
        self._before = self._last = _kills()
        self._looked = 0.0

    def look(self, now: float) -> None:
        """To be called every second or so."""
        if now - self._looked >= _LOOK_SECONDS:
            self._before, self._last, self._looked = self._last, _kills(), now

    def has_killed(self) -> bool:
        """Of the whole machine and of this process's control group; False where the system does not say."""
        before = self._before
        self._before = self._last = _kills()
        return self._before != before


def _kills() -> tuple[int, int]:
    return _counter(_VMSTAT), _counter(_own_events())


def _own_events() -> pathlib.Path | None:
    with contextlib.suppress(OSError):
        for line in _OWN_GROUP.read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":  # the second version of control groups, the only one with this file
                return _GROUPS / path.lstrip("/") / "memory.events"
    return None


def _counter(path: pathlib.Path | None) -> int:
    """The line ``oom_kill N`` of a file."""
    if path is not None:
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
    return 0
