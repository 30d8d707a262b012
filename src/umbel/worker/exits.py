"""How a process ended, in words; and whether the kernel has killed for want of memory, as its counters tell."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal

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


class Exits:
    """Of the processes of one worker. It notices what the kernel has killed between one end and the next."""

    def __init__(self) -> None:
        self._oom = OomWatch()

    def describe(self, status: int) -> str:
        """``describe_exit``, and perhaps why."""
        how = describe_exit(status)
        starved = self._oom.has_killed()  # asked each time, so that old kills explain nothing new
        return f"{how}, probably for want of memory" if starved and "SIGKILL" in how else how


class OomWatch:
    """``has_killed`` says whether the counters have moved since it was last asked."""

    def __init__(self) -> None:
        self._seen = _kills()

    def has_killed(self) -> bool:
        """Of the whole machine and of this process's control group; False where the system does not say."""
        before, self._seen = self._seen, _kills()
        return self._seen != before


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
