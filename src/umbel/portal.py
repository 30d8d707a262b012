"""The bridge from synchronous code to what exists only as coroutines: one event loop per process, on a thread of its own.

Backends are opened on this loop and nowhere else, so that one connection serves callers in any thread and in any event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["arun", "run", "submit"]

T = TypeVar("T")

_CLOSING_SECONDS = 2.0


class _Portal:
    """The loop and its thread; started when first needed, anew after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is not None:
            return loop
        with self._lock:
            if self._loop is None:
                self._start()
            assert self._loop is not None
            return self._loop

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        ready = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(ready.set)
            loop.run_forever()

        thread = threading.Thread(target=serve, name="umbel-portal", daemon=True)
        thread.start()
        ready.wait()
        self._loop, self._thread = loop, thread

    def inside(self) -> bool:
        return self._thread is threading.current_thread()

    def stop(self) -> None:
        """Cancel what still runs, wait for it a moment, and end the thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_drain(), loop).add_done_callback(
            lambda _: loop.call_soon_threadsafe(loop.stop)
        )
        thread.join(_CLOSING_SECONDS)
        if not thread.is_alive():
            loop.close()

    def forget(self) -> None:
        """In a forked child: the thread is gone and the loop's file descriptors are the parent's."""
        self._lock = threading.Lock()
        self._loop = self._thread = None


async def _drain() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_CLOSING_SECONDS / 2)
    await asyncio.get_running_loop().shutdown_asyncgens()


_portal = _Portal()
atexit.register(_portal.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_portal.forget)


def submit(coro: Coroutine[Any, Any, T]) -> Future[T]:
    """Start `coro` on the portal's loop."""
    return asyncio.run_coroutine_threadsafe(coro, _portal.loop())


def run(coro: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """Run `coro` on the portal's loop and wait for its result; it is cancelled when the wait is interrupted.

    Raises ``TimeoutError`` after `timeout` seconds, and RuntimeError when called on the portal's own thread, where
    waiting would be for ever.
    """
    if _portal.inside():
        coro.close()
        raise RuntimeError(
            "umbel.portal.run() was called on the portal's own thread: await the coroutine instead"
        )
    future = submit(coro)
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()
        raise


async def arun(coro: Coroutine[Any, Any, T]) -> T:
    """Await `coro`, run on the portal's loop, from any event loop. Cancellation is passed on."""
    if _portal.inside():
        return await coro
    return await asyncio.wrap_future(submit(coro))
