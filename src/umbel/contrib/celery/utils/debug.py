"""``celery.utils.debug``: memory and threads of this process."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from umbel.contrib.celery.local import try_import

__all__ = [
    "blockdetection",
    "cry",
    "hfloat",
    "humanbytes",
    "mem_rss",
    "memdump",
    "ps",
    "sample",
    "sample_mem",
]

_UNITS = ((2**40, "TB"), (2**30, "GB"), (2**20, "MB"), (2**10, "KB"))
_samples: list[str | None] = []


@contextmanager
def blockdetection(timeout: float) -> Iterator[None]:
    """Raise RuntimeError in the main thread when this block takes longer than `timeout` seconds."""
    if not timeout:
        yield
        return

    def late(signum: int, frame: Any) -> None:
        where = "" if frame is None else f" in {frame.f_code.co_filename}:{frame.f_lineno}"
        raise RuntimeError(f"Blocking detection: longer than {timeout} s{where}")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ps() -> Any:
    """This process as psutil sees it; None when psutil is not installed."""
    psutil = try_import("psutil")
    return None if psutil is None else psutil.Process(os.getpid())


def mem_rss() -> str | None:
    """The memory that this process uses, for people. None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return humanbytes(pages * os.sysconf("SC_PAGE_SIZE"))


def sample_mem() -> str | None:
    """Note how much memory is used now, for ``memdump()``."""
    used = mem_rss()
    _samples.append(used)
    return used


def memdump(samples: int = 10, file: Any = None) -> None:
    """Write what ``sample_mem()`` has noted, and how much is used after garbage was collected."""
    out = file or sys.stdout
    if _samples:
        out.write("- rss (sample):\n")
        for used in sample(_samples, samples):
            out.write(f"-    > {used},\n")
        _samples.clear()
    gc.collect()
    out.write(f"- rss (end): {mem_rss()}.\n")


def sample(x: Sequence[Any], n: int, k: int = 0) -> Iterator[Any]:
    """`n` of the elements of `x`, evenly spread, the first being number `k`."""
    step = len(x) // n or 1
    return iter(x[k : k + step * n : step])


def hfloat(f: float, p: int = 5) -> Any:
    """A number in `p` digits."""
    whole = int(f)
    return whole if whole == f else f"{f:.{p}}"


def humanbytes(s: float) -> str:
    """A number of bytes in the unit that fits."""
    unit, name = next(((unit, name) for unit, name in _UNITS if s >= unit), (1, "b"))
    return f"{hfloat(s / unit)}{name}"


def cry(out: Any = None, sepchr: str = "=", seplen: int = 49) -> str:
    """Where each thread is at this moment."""
    text = io.StringIO() if out is None else out
    threads = {thread.ident: thread for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        thread = threads.get(ident)
        if thread is not None:
            text.write(f"{thread.name}\n{sepchr * seplen}\n")
            traceback.print_stack(frame, file=text)
            text.write(f"{sepchr * seplen}\n\n")
    return str(text.getvalue()) if hasattr(text, "getvalue") else ""
