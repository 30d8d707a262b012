"""``celery.utils.threads``."""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any

from umbel.contrib.celery.local import Proxy

__all__ = [
    "Local",
    "LocalManager",
    "LocalStack",
    "bgThread",
    "default_socket_timeout",
    "get_ident",
    "release_local",
]


@contextmanager
def default_socket_timeout(timeout: float | None) -> Iterator[None]:
    """Within this block sockets are made with that timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


class bgThread(threading.Thread):
    """A thread that does its ``body()`` again and again until ``stop()``. It is a daemon; an error in it ends the process."""

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(daemon=True, name=name or type(self).__name__)
        self._shutdown = threading.Event()
        self._ended = threading.Event()

    def body(self) -> None:
        """To be written by who uses this."""
        raise NotImplementedError

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Called with what is to be said of an error."""
        sys.stderr.write((msg + "\n").format(*fmt))
        traceback.print_exc(None, sys.stderr)

    def run(self) -> None:
        """What the thread does."""
        try:
            while not self._shutdown.is_set():
                try:
                    self.body()
                except Exception as exc:  # noqa: BLE001 - on_crash() says so, and the process ends
                    self.on_crash("{0!r} crashed: {1!r}", self.name, exc)
                    sys.stderr.flush()
                    os._exit(1)
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Let it end after its present ``body()``, and wait for that."""
        self._shutdown.set()
        if self.is_alive() and threading.current_thread() is not self:
            self._ended.wait()
            self.join()


class Local:
    """Attributes of which each thread and coroutine has its own."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        object.__setattr__(self, "_held", ContextVar[dict[str, Any]]("umbel_local"))

    def _all(self) -> dict[str, Any]:
        held: dict[str, Any] = self._held.get({})
        return held

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return iter([(get_ident(), self._all())] if self._all() else [])

    def __call__(self, proxy: str) -> Proxy:
        """A proxy for the attribute of that name."""
        return Proxy(self, name=proxy)

    def __release_local__(self) -> None:
        self._held.set({})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._all()[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._held.set({**self._all(), name: value})

    def __delattr__(self, name: str) -> None:
        if name not in self._all():
            raise AttributeError(name)
        self._held.set({key: value for key, value in self._all().items() if key != name})


class LocalStack:
    """A stack of which each thread and coroutine has its own."""

    def __init__(self) -> None:
        self._held: ContextVar[tuple[Any, ...]] = ContextVar("umbel_stack", default=())

    def push(self, obj: Any) -> list[Any]:
        """Lay `obj` on top."""
        self._held.set((*self._held.get(), obj))
        return self.stack

    def pop(self) -> Any:
        """Take off what is on top; None when there is nothing."""
        *below, top = self._held.get() or (None,)
        self._held.set(tuple(below))
        return top

    @property
    def stack(self) -> list[Any]:
        """All of it, the top last."""
        return list(self._held.get())

    @property
    def top(self) -> Any:
        """What is on top."""
        held = self._held.get()
        return held[-1] if held else None

    def __len__(self) -> int:
        return len(self._held.get())

    def __call__(self) -> Proxy:
        """A proxy for what is on top."""

        def lookup() -> Any:
            if not self._held.get():
                raise RuntimeError("object unbound")
            return self.top

        return Proxy(lookup)

    def __release_local__(self) -> None:
        self._held.set(())


def release_local(local: Any) -> None:
    """Empty it for this thread or coroutine."""
    local.__release_local__()


class LocalManager:
    """Several of them, to be emptied together."""

    def __init__(self, locals: Any = None, ident_func: Callable[[], Any] | None = None) -> None:
        self.locals: list[Any] = [locals] if isinstance(locals, Local | LocalStack) else list(locals or ())
        self.ident_func = ident_func or get_ident

    def get_ident(self) -> Any:
        """What tells this thread from others."""
        return self.ident_func()

    def cleanup(self) -> None:
        """Empty them all for this thread or coroutine."""
        for local in self.locals:
            release_local(local)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} storages: {len(self.locals)}>"
