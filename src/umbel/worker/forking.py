"""How the supervisor forks, and what a forked process does first and last."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

logger = logging.getLogger("umbel.worker")

_PR_SET_PDEATHSIG = 1


def fork() -> int:
    # What stands in the buffers would otherwise be written twice.
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork()


def run_and_exit(main: Callable[[], int | None]) -> None:
    """Run the body of a forked process and end it without unwinding into the supervisor's frames."""
    code = 1
    try:
        code = main() or 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException:
        logger.critical("This process ends on an error of its own.", exc_info=True)
        if not isinstance(sys.exc_info()[1], Exception):
            raise
    finally:
        logging.shutdown()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def close_node_ends(ends: tuple[socket.socket, int, int]) -> None:
    sock, read_end, write_end = ends
    sock.close()
    os.close(read_end)
    os.close(write_end)


def leave_signals_to_the_supervisor() -> None:
    """A signal to the whole process group must not end this process.

    Not SIG_IGN: programs that a task starts would inherit that, and could not be terminated any more.
    """
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(signum, _pass)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _pass(signum: int, frame: FrameType | None) -> None:
    """Do nothing."""


def die_with_parent() -> None:
    """Where the kernel offers it: SIGKILL for this process when the supervisor dies, however that happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
