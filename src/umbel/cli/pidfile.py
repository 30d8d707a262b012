"""A file that names the process of a worker or a beat, and keeps a second one from starting."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from umbel.cli import exits

__all__ = ["pid_in"]


@contextlib.contextmanager
def pid_in(path: str | None) -> Iterator[None]:
    """Hold a pidfile. One that a dead process left behind is replaced."""
    if path is None:
        yield
        return
    file = Path(path)
    ours = f"{os.getpid()}\n"
    while True:
        try:
            with file.open("x") as stream:
                stream.write(ours)
            break
        except FileExistsError:
            pid = _pid_of(file)
            if pid == os.getpid():  # the worker has started itself anew (--autoreload, SIGHUP)
                break
            if pid is not None and _alive(pid):
                _refuse(file, pid)
            file.unlink(missing_ok=True)
        except OSError as exc:
            exits.fail(f"The pidfile {path} cannot be written: {exc.strerror}.", exits.USAGE)
    try:
        yield
    finally:
        if _pid_of(file) == os.getpid():
            file.unlink(missing_ok=True)


def _refuse(file: Path, pid: int) -> NoReturn:
    exits.fail(
        f"One already runs with this pidfile: {file} names the process {pid}. "
        "Stop it first, or give this one another --pidfile.",
        exits.USAGE,
    )


def _pid_of(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
