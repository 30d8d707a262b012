"""``celery.platforms``: users, pid files, and leaving for the background."""

from __future__ import annotations

import atexit
import contextlib
import grp
import os
import pwd
import resource
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from umbel.contrib.celery.platforms import EX_CANTCREAT, SecurityError

__all__ = [
    "DaemonContext",
    "LockFailed",
    "PIDFile",
    "Pidfile",
    "close_open_fds",
    "create_pidlock",
    "detached",
    "fd_by_path",
    "get_fdmax",
    "initgroups",
    "maybe_drop_privileges",
    "parse_gid",
    "parse_uid",
    "setgid",
    "setgroups",
    "setuid",
]

# ---------------------------------------------------------------------------------------------------- users


def parse_uid(uid: int | str) -> int:
    """The number of a user: of a name or a number."""
    try:
        return int(uid)
    except ValueError:
        try:
            return pwd.getpwnam(str(uid)).pw_uid
        except KeyError:
            raise KeyError(f"User does not exist: {uid}") from None


def parse_gid(gid: int | str) -> int:
    """The number of a group."""
    try:
        return int(gid)
    except ValueError:
        try:
            return grp.getgrnam(str(gid)).gr_gid
        except KeyError:
            raise KeyError(f"Group does not exist: {gid}") from None


def setgroups(groups: Iterable[int]) -> None:
    """Be in these groups. Not allowed where it would change nothing is no error."""
    wanted = list(groups)
    try:
        os.setgroups(wanted)
    except PermissionError:
        if sorted(wanted) != sorted(os.getgroups()):
            raise


def initgroups(uid: int, gid: int) -> None:
    """Be in the groups of that user."""
    os.initgroups(pwd.getpwuid(uid).pw_name, gid)


def setgid(gid: int | str) -> None:
    """Be in that group."""
    os.setgid(parse_gid(gid))


def setuid(uid: int | str) -> None:
    """Be that user."""
    os.setuid(parse_uid(uid))


def maybe_drop_privileges(uid: int | str | None = None, gid: int | str | None = None) -> None:
    """Become that user, in the group `gid` or in the user's own. It cannot be taken back."""
    group = None if not gid else parse_gid(gid)
    if not uid:
        if group is not None:
            os.setgid(group)
        return
    user = parse_uid(uid)
    if group is None:
        group = pwd.getpwuid(user).pw_gid
    os.setgid(group)
    with contextlib.suppress(KeyError):
        if os.geteuid() == 0:
            initgroups(user, group)
    os.setuid(user)
    if user != 0 and os.getuid() != 0 and _could_be_root():
        raise SecurityError("The process could become root again; it does not go on.")


def _could_be_root() -> bool:
    try:
        os.setuid(0)
    except OSError:
        return False
    return True


# ------------------------------------------------------------------------------------------------ pid files


class LockFailed(Exception):
    """The pid file is there already, or is none."""


class Pidfile:
    """A file with the id of a process, which is there while it runs: ``with Pidfile("x.pid"):``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)

    def acquire(self) -> Pidfile:
        """Write it. Raises LockFailed when it is there."""
        try:
            self.write_pid()
        except OSError as exc:
            raise LockFailed(str(exc)) from exc
        return self

    __enter__ = acquire

    def is_locked(self) -> bool:
        """Whether it is there."""
        return os.path.exists(self.path)

    def release(self, *args: Any) -> None:
        """Remove it."""
        self.remove()

    __exit__ = release

    def read_pid(self) -> int | None:
        """The id that it holds; None when it is not there. Raises ValueError when it holds something else."""
        try:
            text = Path(self.path).read_text()
        except FileNotFoundError:
            return None
        if not text.endswith("\n"):
            raise ValueError(f"The pid file {self.path} is not complete.")
        try:
            return int(text.strip())
        except ValueError:
            raise ValueError(f"The pid file {self.path} does not hold the id of a process.") from None

    def remove(self) -> None:
        """Remove it, if it is there and may be removed."""
        with contextlib.suppress(FileNotFoundError, PermissionError):
            os.unlink(self.path)

    def remove_if_stale(self) -> bool:
        """Remove it when its process is gone. Returns whether a new one may be written."""
        try:
            pid = self.read_pid()
        except ValueError:
            sys.stderr.write(f"The pid file {self.path} is broken and is removed.\n")
            self.remove()
            return True
        if not pid or pid == os.getpid():
            self.remove()
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            sys.stderr.write(f"The pid file {self.path} is of a process that is gone and is removed.\n")
            self.remove()
            return True
        except OSError:
            return False
        return False

    def write_pid(self) -> None:
        """Write the id of this process into a file that must not be there."""
        descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{os.getpid()}\n")
            file.flush()
            os.fsync(file.fileno())


PIDFile = Pidfile


def _take(pidfile: str | os.PathLike[str]) -> Pidfile:
    lock = Pidfile(pidfile)
    if lock.is_locked() and not lock.remove_if_stale():
        sys.stderr.write(
            f"ERROR: Pidfile ({pidfile}) already exists. Does it run already? (pid: {lock.read_pid()})\n"
        )
        raise SystemExit(EX_CANTCREAT)
    return lock.acquire()


def create_pidlock(pidfile: str | os.PathLike[str]) -> Pidfile:
    """Write the pid file, and remove it when the program ends. Leaves the program when another process holds it."""
    lock = _take(pidfile)
    owner = os.getpid()

    def release() -> None:
        if os.getpid() == owner:
            lock.release()

    atexit.register(release)
    return lock


# --------------------------------------------------------------------------------------------- descriptors


def get_fdmax(default: int | None = None) -> int | None:
    """How many files may be open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return default if limit == resource.RLIM_INFINITY else limit


def _open_fds() -> list[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(folder)]
    return list(range(get_fdmax(2048) or 2048))


def _number(file: Any) -> int | None:
    try:
        return file if isinstance(file, int) else int(file.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def close_open_fds(keep: Collection[Any] | None = None) -> None:
    """Close all open files but these."""
    kept = {_number(file) for file in keep or ()}
    for descriptor in _open_fds():
        if descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def fd_by_path(paths: Iterable[str]) -> list[int]:
    """The descriptors of open files at these places."""
    wanted = set()
    for path in paths:
        with contextlib.suppress(OSError):
            found = os.stat(path)
            wanted.add((found.st_dev, found.st_ino))
    descriptors = []
    for descriptor in _open_fds():
        with contextlib.suppress(OSError):
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) in wanted:
                descriptors.append(descriptor)
    return descriptors


# ---------------------------------------------------------------------------------------------- background


class DaemonContext:
    """``with DaemonContext():`` - the block runs in the background: the process has left, and a grandchild goes on.

    `umask`: a number, or a text such as ``"022"``. `fake`: do not leave. `after_chdir` is called when the directory was changed.
    """

    def __init__(
        self,
        pidfile: Any = None,
        workdir: str | None = None,
        umask: int | str | None = None,
        fake: bool = False,
        after_chdir: Callable[[], Any] | None = None,
        after_forkers: bool = True,
        **kwargs: Any,
    ) -> None:
        self.workdir = workdir or "/"
        self.umask = int(umask, 8) if isinstance(umask, str) else umask
        self.fake, self.after_chdir = fake, after_chdir
        self.stdfds = (sys.stdin, sys.stdout, sys.stderr)
        self._is_open = False

    def open(self) -> None:
        """Leave for the background."""
        if not self._is_open:
            if not self.fake:
                self._detach()
            os.chdir(self.workdir)
            if self.umask is not None:
                os.umask(self.umask)
            if self.after_chdir:
                self.after_chdir()
            if not self.fake:
                close_open_fds([*self.stdfds, 0, 1, 2])
                for descriptor in (0, 1, 2):
                    self.redirect_to_null(descriptor)
            self._is_open = True

    def redirect_to_null(self, fd: int | None) -> None:
        """Let a descriptor lead nowhere."""
        if fd is not None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, fd)
            if nowhere != fd:
                os.close(nowhere)

    def _detach(self) -> None:
        for file in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                file.flush()
        if os.fork():
            os._exit(0)
        os.setsid()
        if os.fork():
            os._exit(0)

    def close(self, *args: Any) -> None:
        """The block has ended."""
        self._is_open = False

    def __enter__(self) -> DaemonContext:
        self.open()
        return self

    __exit__ = close


def detached(
    logfile: str | None = None,
    pidfile: str | None = None,
    uid: int | str | None = None,
    gid: int | str | None = None,
    umask: int | str = 0,
    workdir: str | None = None,
    **opts: Any,
) -> DaemonContext:
    """A ``DaemonContext`` for a program that becomes another user and writes these files.

    Before it leaves it makes sure that it can write them, so that an error is still seen. `fake` (in `opts`): do not leave.
    """
    workdir = workdir or os.getcwd()
    maybe_drop_privileges(uid=uid, gid=gid)
    with contextlib.suppress(OSError):
        os.chdir(workdir)
    if logfile and logfile != os.devnull:
        os.close(os.open(logfile, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644))
    if pidfile:
        _take(pidfile).release()
    return DaemonContext(umask=umask, workdir=workdir, fake=bool(opts.get("fake")), after_forkers=False)
