"""What tasks write down, one line for each event, and how it is read: the only word that passes between them and the checker.

A line is appended with one ``write`` to a file opened with O_APPEND, so that lines of many processes neither mix nor get
lost, and outlive whoever wrote them. The clock is CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import os
import pathlib
import time
from typing import NamedTuple

FILE = "ledger"
STARTED, FINISHED = "started", "finished"


class Event(NamedTuple):
    """`number` is the number of the call, `at` in nanoseconds."""

    kind: str
    number: int
    pid: int
    at: int


class Writer:
    """Appends events to the file of a directory. One for a process and all that it forks."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._fd = os.open(directory / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def write(self, kind: str, number: int) -> None:
        """It is on record, whatever happens next."""
        os.write(self._fd, f"{kind} {number} {os.getpid()} {time.monotonic_ns()}\n".encode())


class Reader:
    """Reads the events of a directory, in the order in which they were written, each once."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._path = directory / FILE
        self._offset = 0
        self.events: list[Event] = []
        """All of them so far."""

    def read(self) -> list[Event]:
        """``events``, after reading what is new."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            data = data[: data.rfind(b"\n") + 1]  # of a line that is being written, a part may be there
            self._offset += len(data)
            for line in data.decode().splitlines():
                kind, number, pid, at = line.split()
                self.events.append(Event(kind, int(number), int(pid), int(at)))
        return self.events
