"""``celery.contrib.rdb``: a debugger inside a task, reached by telnet."""

from __future__ import annotations

import contextlib
import os
import pdb
import socket
import sys
from types import FrameType
from typing import Any

__all__ = ["CELERY_RDB_HOST", "CELERY_RDB_PORT", "DEFAULT_PORT", "Rdb", "debugger", "set_trace"]

DEFAULT_PORT = 6899
CELERY_RDB_HOST = os.environ.get("CELERY_RDB_HOST") or "127.0.0.1"
CELERY_RDB_PORT = int(os.environ.get("CELERY_RDB_PORT") or DEFAULT_PORT)
_current: list[Rdb] = []


class Rdb(pdb.Pdb):
    """pdb that waits on a port for one visitor. The first free port counts, from `port` on."""

    me = "Remote Debugger"

    def __init__(
        self,
        host: str = CELERY_RDB_HOST,
        port: int = CELERY_RDB_PORT,
        port_search_limit: int = 100,
        port_skew: int = 0,
        out: Any = None,
    ) -> None:
        self.out = out or sys.__stderr__
        self.active = True
        self.host = host
        listener, self.port = self.get_avail_port(host, port, port_search_limit, port_skew)
        self.ident = f"{self.me}:{self.port}"
        with listener:
            self.say(f"{self.ident}: waits for you: telnet {self.host} {self.port}  (exit ends the session)")
            self._client, (address, client_port) = listener.accept()[0], listener.getsockname()[:2]
        self.remote_addr = f"{address}:{client_port}"
        self._client.setblocking(True)
        self._files = self._client.makefile("r"), self._client.makefile("w")
        super().__init__(completekey="tab", stdin=self._files[0], stdout=self._files[1])
        self.prompt = "(Rdb) "
        self.say(f"{self.ident}: in session.")

    def get_avail_port(
        self, host: str, port: int, search_limit: int = 100, skew: int = 0
    ) -> tuple[socket.socket, int]:
        """A socket that listens on the first free port."""
        for number in range(port + skew, port + skew + search_limit):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, number))
            except OSError:
                listener.close()
                continue
            listener.listen(1)
            return listener, number
        raise RuntimeError(f"No port is free from {port + skew} on. Name another one in CELERY_RDB_PORT.")

    def __enter__(self) -> Rdb:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._close_session()

    def say(self, m: str) -> None:
        """Write a line for who runs the worker."""
        print(m, file=self.out, flush=True)

    def _close_session(self) -> None:
        if self.active:
            self.active = False
            _current[:] = []
            for file in self._files:
                with contextlib.suppress(OSError):
                    file.close()
            self._client.close()
            self.say(f"{self.ident}: session has ended.")

    def do_continue(self, arg: str) -> bool | None:
        """Go on, and end the session."""
        self._close_session()
        self.set_continue()
        return True

    do_c = do_cont = do_continue

    def do_quit(self, arg: str) -> bool | None:
        """End the session; the task goes on."""
        return self.do_continue(arg)

    do_q = do_exit = do_quit


def debugger() -> Rdb:
    """The session of this process; one begins if there is none."""
    if not _current or not _current[0].active:
        _current[:] = [Rdb()]
    return _current[0]


def set_trace(frame: FrameType | None = None) -> None:
    """Stop here, and wait for somebody to connect."""
    return debugger().set_trace(frame or sys._getframe().f_back)
