"""``celery.platforms``: signals, users, pid files, and processes in the background."""

from __future__ import annotations

import errno
import os
import platform
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from umbel.contrib.celery.local import try_import
from umbel.errors import UmbelError, UmbelWarning

__all__ = [
    "EX_CANTCREAT",
    "EX_FAILURE",
    "EX_OK",
    "EX_UNAVAILABLE",
    "EX_USAGE",
    "IS_WINDOWS",
    "SIGMAP",
    "SIGNAMES",
    "SYSTEM",
    "IS_macOS",
    "SecurityError",
    "SecurityWarning",
    "Signals",
    "check_privileges",
    "get_errno_name",
    "ignore_errno",
    "isatty",
    "pyimplementation",
    "set_mp_process_title",
    "set_process_title",
    "signal_name",
    "signals",
    "strargv",
]


EX_OK = getattr(os, "EX_OK", 0)
EX_FAILURE = 1
EX_UNAVAILABLE = getattr(os, "EX_UNAVAILABLE", 69)
EX_USAGE = getattr(os, "EX_USAGE", 64)
EX_CANTCREAT = getattr(os, "EX_CANTCREAT", 73)
SYSTEM = platform.system()
IS_macOS = SYSTEM == "Darwin"
IS_WINDOWS = SYSTEM == "Windows"
SIGNAMES = {name for name in dir(signal) if name.startswith("SIG") and "_" not in name}
SIGMAP = {getattr(signal, name): name for name in sorted(SIGNAMES)}


class SecurityError(UmbelError):
    """Something would be dangerous."""


class SecurityWarning(UmbelWarning):
    """Something may be dangerous."""


def pyimplementation() -> str:
    """The Python that runs this."""
    return platform.python_implementation()


def isatty(fh: Any) -> bool:
    """Whether a file is a terminal."""
    try:
        return bool(fh.isatty())
    except AttributeError:
        return False


# ------------------------------------------------------------------------------------------------- signals


class Signals:
    """Handlers of signals by name: ``signals["INT"] = handler``. Signals that this system does not have are passed over."""

    ignored = signal.SIG_IGN
    default = signal.SIG_DFL

    def signum(self, name: Any) -> Any:
        """The number of a signal: of ``INT``, ``SIGINT`` or a number."""
        if isinstance(name, int):
            return name
        if not isinstance(name, str) or not name.isupper():
            raise TypeError("signal name must be uppercase string.")
        return getattr(signal, name if name.startswith("SIG") else f"SIG{name}")

    def supported(self, name: Any) -> bool:
        """Whether this system has it."""
        try:
            self.signum(name)
        except AttributeError:
            return False
        return True

    def arm_alarm(self, seconds: float) -> None:
        """Send this process ALRM in so many seconds."""
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def reset_alarm(self) -> int:
        """Send no ALRM."""
        return signal.alarm(0)

    def reset(self, *signal_names: str) -> None:
        """Let these do what they do by default."""
        self.update((name, self.default) for name in signal_names)

    def ignore(self, *names: str) -> None:
        """Let these do nothing."""
        self.update((name, self.ignored) for name in names)

    def update(self, _d_: Any = None, **sigmap: Any) -> None:
        """Set many handlers."""
        for name, handler in {**dict(_d_ or {}), **sigmap}.items():
            self[name] = handler

    def __getitem__(self, name: Any) -> Any:
        return signal.getsignal(self.signum(name))

    def __setitem__(self, name: Any, handler: Any) -> None:
        try:
            signal.signal(self.signum(name), handler)
        except (AttributeError, ValueError):
            return  # not of this system, or not in the main thread


signals = Signals()


def signal_name(signum: int) -> str:
    """``TERM`` of 15."""
    return signal.Signals(signum).name[3:]


# -------------------------------------------------------------------------------------------------- titles


def strargv(argv: Sequence[str]) -> str:
    """The arguments of a command line as text, its name left out."""
    return " ".join(argv[1:])


def set_process_title(progname: str, info: str | None = None) -> str:
    """Name this process in the lists of processes, where setproctitle is installed. Returns the name."""
    title = f"[{progname}] {info}" if info else f"[{progname}]"
    setproctitle = try_import("setproctitle")
    if setproctitle is not None:
        setproctitle.setproctitle(title)
    return title


def set_mp_process_title(progname: str, info: str | None = None, hostname: str | None = None) -> str:
    """The same, with the name of the process among those of this program."""
    multiprocessing = sys.modules.get("multiprocessing")
    name = multiprocessing.current_process().name if multiprocessing else "MainProcess"
    return set_process_title(f"{progname}:{name}" if not hostname else f"{progname}: {hostname}:{name}", info)


# -------------------------------------------------------------------------------------------------- errors


def get_errno_name(n: Any) -> int:
    """The number of an error: of ``ENOENT`` or a number."""
    return getattr(errno, n) if isinstance(n, str) else n  # type: ignore[no-any-return]


@contextmanager
def ignore_errno(*errnos: Any, **kwargs: Any) -> Iterator[None]:
    """Within this block these errors of the system are passed over. `types`: of these classes only."""
    types = kwargs.get("types") or (Exception,)
    numbers = [get_errno_name(name) for name in errnos]
    try:
        yield
    except types as exc:
        if getattr(exc, "errno", None) not in numbers:
            raise


def check_privileges(accept_content: Iterable[str]) -> None:
    """Warn of a worker that runs as root; refuse that with pickle, unless C_FORCE_ROOT is set."""
    who = {"uid": os.getuid(), "euid": os.geteuid(), "gid": os.getgid(), "egid": os.getegid()}
    if 0 not in (who["uid"], who["euid"]):
        return
    told = ", ".join(f"{name}={value}" for name, value in who.items())
    dangerous = {"pickle", "application/x-python-serialize"} & set(accept_content or ())
    if dangerous and not os.environ.get("C_FORCE_ROOT"):
        raise SecurityError(
            f"Who can send a message could become root: this worker accepts pickle and runs as root ({told}). Start it as "
            "another user (--uid), do not accept pickle, or set C_FORCE_ROOT if you must."
        )
    warnings.warn(
        SecurityWarning(f"The worker runs as root ({told}). Start it as another user: --uid."), stacklevel=2
    )
