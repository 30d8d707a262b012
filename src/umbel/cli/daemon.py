"""A worker or a beat in the background: detached from the terminal, as another user if that is asked for."""

from __future__ import annotations

import grp
import os
import pwd
import sys

from umbel.cli import exits

__all__ = ["change_user", "detach"]

_ENVIRONMENT = "UMBEL_DETACHED"
"""Set for a worker that starts itself anew: it is in the background already."""


def detach(*, umask: str | None = None, uid: str | None = None, gid: str | None = None) -> None:
    """Go on in the background. Returns only there; the process that was started ends with code 0.

    Output goes nowhere: name a logfile. `umask` is octal, `uid` and `gid` are names or numbers. Wrong ones end with a usage error before
    anything has begun.
    """
    become = _user(uid), _group(gid), _mask(umask)
    if os.environ.get(_ENVIRONMENT) != str(os.getpid()):
        if os.fork():
            os._exit(0)
        os.setsid()
        if os.fork():
            os._exit(0)
        os.environ[_ENVIRONMENT] = str(os.getpid())
        null = os.open(os.devnull, os.O_RDWR)
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
    _become(*become)


def change_user(*, umask: str | None = None, uid: str | None = None, gid: str | None = None) -> None:
    """Go on as that user and group, with that mask for files, in the foreground."""
    _become(_user(uid), _group(gid), _mask(umask))


def _become(user: int | None, group: int | None, mask: int | None) -> None:
    if mask is not None:
        os.umask(mask)
    if group is not None:
        os.setgid(group)
    if user is not None:
        if os.getuid() == 0:
            os.initgroups(pwd.getpwuid(user).pw_name, os.getgid() if group is None else group)
        os.setuid(user)


def _user(given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return int(given) if given.isdigit() else pwd.getpwnam(given).pw_uid
    except KeyError:
        exits.fail(f"There is no user {given!r} (--uid).", exits.USAGE)


def _group(given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return int(given) if given.isdigit() else grp.getgrnam(given).gr_gid
    except KeyError:
        exits.fail(f"There is no group {given!r} (--gid).", exits.USAGE)


def _mask(given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return int(given, 8)
    except ValueError:
        exits.fail(
            f"{given!r} is no mask for files (--umask): expected octal digits, such as 022.", exits.USAGE
        )
