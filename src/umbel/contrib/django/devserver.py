"""``manage.py umbel dev``: the site and a worker in one terminal, both started anew when their source changes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

__all__ = ["run_site_and_worker"]

_USAGE = """Usage: manage.py umbel dev [ADDRESS:PORT] [-- WORKER OPTIONS]

Runs the site (runserver) and a worker with --autoreload. Ctrl-C ends both, and so does closing the terminal.

  manage.py umbel dev
  manage.py umbel dev 0.0.0.0:8000 -- -c 1 -l debug
"""
_PR_SET_PDEATHSIG = 1
_GRACE = 10.0
"""Seconds that the other one has when one of the two has ended."""


def run_site_and_worker(arguments: Sequence[str]) -> int:
    """Until Ctrl-C, or until one of the two ends. Returns an exit code."""
    if {"-h", "--help"} & set(arguments[:1]):
        sys.stdout.write(_USAGE)
        return 0
    given = list(arguments)
    cut = given.index("--") if "--" in given else len(given)
    site, worker = given[:cut], given[cut + 1 :]
    manage = [sys.executable, sys.argv[0]]
    pair = _Pair()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup wants it to outlive the terminal
            signal.signal(signum, pair.stop)
    pair.start([*manage, "runserver", *site])
    pair.start([*manage, "umbel", "worker", "--autoreload", "-l", "info", *worker])
    return pair.wait()


class _Pair:
    """Two programs that live and end together."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def start(self, command: list[str]) -> None:
        mine = os.getpid()
        self._processes.append(
            subprocess.Popen(command, start_new_session=True, preexec_fn=lambda: _end_with(mine))
        )

    def stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopped = True

    def wait(self) -> int:
        while not self._stopped and all(process.poll() is None for process in self._processes):
            time.sleep(0.1)
        ended = [process for process in self._processes if process.poll() is not None]
        self._end_all()
        if self._stopped:
            return 0
        return ended[0].returncode or 1

    def _end_all(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                # The worker stops warm; runserver's child is in its group, and goes with it.
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for process in self._processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_with(parent: int) -> None:
    """Where the kernel offers it: SIGTERM for this process when its parent dies, however that happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has died meanwhile
        os._exit(1)
