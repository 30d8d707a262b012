"""Named points between two steps, at which a test may kill the process or make it hang.

``point("settler.stored")`` does nothing at all, unless the environment variable ``UMBEL_FAULT_POINTS`` named a directory
when this module was imported. Then, in that directory,

* ``NAME.passed`` grows by one byte at each passage, whichever process passes: its size counts them, and tells afterwards
  which points a test has visited;
* ``NAME.armed`` holds what happens at one passage: ``kill 3`` sends SIGKILL to the process that passes the point for the
  third time, ``hang 3`` keeps it there, event loop and all, for as long as the file exists.

Counting across processes is what lets a test kill once: the process that is started in place of the dead one passes the
point too, and must not die of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

__all__ = ["VARIABLE", "point"]

VARIABLE = "UMBEL_FAULT_POINTS"
_PAUSE = 0.005


def _nothing(name: str) -> None:
    """Do nothing: nobody is testing."""


def _armed(directory: str) -> Callable[[str], None]:
    def pass_point(name: str) -> None:
        stem = os.path.join(directory, name)
        number = _count(stem + ".passed")
        if _order(stem + ".armed") == ("kill", number):
            os.kill(os.getpid(), signal.SIGKILL)
        while _order(stem + ".armed") == ("hang", number):
            time.sleep(_PAUSE)

    return pass_point


def _count(path: str) -> int:
    """The number of this passage. What is appended by a single write ends where the position is then."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, b".")
        return os.lseek(fd, 0, os.SEEK_CUR)
    finally:
        os.close(fd)


def _order(path: str) -> tuple[str, int]:
    try:
        with open(path, encoding="ascii") as file:
            action, number = file.read().split()
    except FileNotFoundError:
        return "", 0
    return action, int(number)


_directory = os.environ.get(VARIABLE)
point: Callable[[str], None] = _armed(_directory) if _directory else _nothing
"""Pass the point of this name. Names are ``module.what_has_just_happened``; the tests discover them in the source."""
