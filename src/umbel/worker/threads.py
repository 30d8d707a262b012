"""What running in threads takes: a way out for values, and a loop for coroutine functions."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from typing import Any

import msgspec

__all__ = ["Box", "ThreadLoops"]


class Box(msgspec.Struct):
    """What a function returned or raised, on its way out of a thread.

    As a value: futures and coroutines give StopIteration and GeneratorExit meanings of their own, and the task would never end.
    """

    value: Any = None
    error: BaseException | None = None

    def open(self) -> Any:
        """The value; or raises the error."""
        if self.error is not None:
            raise self.error
        return self.value


class ThreadLoops:
    """One event loop for each thread that runs coroutine functions, so that what they keep open survives the call."""

    def __init__(self) -> None:
        self._runners: dict[int, asyncio.Runner] = {}

    def run(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run `coro` to its end in this thread's loop, in a copy of the current context."""
        thread = threading.get_ident()
        runner = self._runners.get(thread)
        if runner is None:
            runner = self._runners[thread] = asyncio.Runner()
        return runner.run(coro, context=contextvars.copy_context())

    def close_mine(self) -> None:
        """Close this thread's loop, if there is one."""
        runner = self._runners.pop(threading.get_ident(), None)
        if runner is not None:
            runner.close()
