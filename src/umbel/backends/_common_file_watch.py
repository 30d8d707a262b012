"""Being told by the kernel that a file was written to: Linux's inotify through ctypes, or nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import weakref
from pathlib import Path

__all__ = ["FileWatch"]

_IN_MODIFY, _IN_DELETE_SELF, _IN_MOVE_SELF = 0x2, 0x400, 0x800
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # the same bits as IN_NONBLOCK and IN_CLOEXEC

try:
    _libc = ctypes.CDLL(None, use_errno=True)
    _inotify_init, _inotify_add_watch = _libc.inotify_init1, _libc.inotify_add_watch
    _available = True
except (OSError, AttributeError):  # not Linux
    _available = False


class FileWatch:
    """Wait for a write to a file, for ``poke`` from another thread, or for a while.

    Where the kernel does not tell (not Linux, or too many watches in use), ``told`` is False, and only ``poke``
    and time end a ``wait``.
    """

    def __init__(self, *, listen: bool) -> None:
        self.told = False
        self._poke_reader, self._poke_writer = os.pipe()
        os.set_blocking(self._poke_reader, False)
        os.set_blocking(self._poke_writer, False)
        self._poll = select.poll()
        self._poll.register(self._poke_reader, select.POLLIN)
        self._inotify = _inotify_init(_FLAGS) if listen and _available else -1
        if self._inotify >= 0:
            self._poll.register(self._inotify, select.POLLIN)
        _all.add(self)

    def watch(self, path: Path) -> None:
        """From now on watch `path`: again after it was deleted and made anew."""
        if self._inotify < 0:
            return
        events = _IN_MODIFY | _IN_DELETE_SELF | _IN_MOVE_SELF
        self.told = _inotify_add_watch(self._inotify, os.fsencode(path), events) >= 0
        if not self.told and ctypes.get_errno() not in (errno.ENOENT, errno.ENOSPC, errno.EACCES):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))

    def wait(self, seconds: float, also: int | None = None) -> bool:
        """Whether something happened within `seconds`; there may `also` be something to read on another descriptor."""
        if also is not None:
            self._poll.register(also, select.POLLIN)
        try:
            ready = self._poll.poll(max(seconds, 0.0) * 1000)
        finally:
            if also is not None:
                self._poll.unregister(also)
        for descriptor, _ in ready:
            if descriptor != also:
                _empty(descriptor)
        return bool(ready)

    def poke(self) -> None:
        """End a ``wait``. Any thread."""
        try:
            os.write(self._poke_writer, b"!")
        except BlockingIOError:
            return  # it is full of pokes

    def close(self) -> None:
        _all.discard(self)
        for descriptor in (self._poke_reader, self._poke_writer, self._inotify):
            if descriptor >= 0:
                os.close(descriptor)


_all: weakref.WeakSet[FileWatch] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for watch in list(_all):  # of the parent's threads: here they are only open descriptors
        watch.close()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _empty(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except BlockingIOError:
        return
