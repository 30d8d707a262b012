"""Boot steps: components of the program's own that live with a worker. They are started in its node, in a thread, and stopped when it stops.

::

    class Heart(bootsteps.StartStopStep):
        requires = {"celery.worker.components:Timer"}

        def start(self, worker):
            self.entry = worker.timer.call_repeatedly(5.0, Path("/tmp/alive").touch)

        def stop(self, worker):
            self.entry.cancel()

    app.steps["worker"].add(Heart)

Steps for ``app.steps["consumer"]`` are started after those of the worker and get the consumer. A step may require others; Celery's own components
are always there.
"""

from __future__ import annotations

import asyncio
import contextlib
import graphlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from umbel.contrib.celery.connection import Connection

if TYPE_CHECKING:
    from umbel.contrib.celery.app import Celery

__all__ = ["ConsumerStep", "StartStopStep", "Step", "Steps", "Timer", "Worker"]

logger = logging.getLogger("umbel.worker")

_STOP_SECONDS = 5.0
"""So long the steps may take to stop."""
_DRAIN_SECONDS = 0.5


class Step:
    """A component. `requires`: steps that come before it."""

    name: str | None = None
    label: str | None = None
    conditional: bool = False
    requires: Iterable[Any] = ()
    last: bool = False
    enabled: bool = True
    queue: Any = None

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        """`kwargs`: what the options of the program's own were given (``app.user_options``)."""

    def include_if(self, parent: Any) -> Any:
        """Whether it is wanted."""
        return self.enabled

    def create(self, parent: Any) -> Any:
        """Make what it is about. What is returned is started and stopped with it."""

    def include(self, parent: Any) -> bool:
        """Add it to `parent`. Returns whether it is wanted."""
        if not self.include_if(parent):
            return False
        self._created(self.create(parent))
        parent.steps.append(self)
        return True

    def _created(self, obj: Any) -> None:
        """What ``create`` has returned."""

    def info(self, obj: Any) -> Any:
        """What it would tell of itself."""

    @property
    def alias(self) -> str:
        """Its short name."""
        return self.label or type(self).__name__

    def __repr__(self) -> str:
        return f"<step: {self.alias}>"


class StartStopStep(Step):
    """One that is started and stopped."""

    obj: Any = None

    def _created(self, obj: Any) -> None:
        self.obj = obj

    def start(self, parent: Any) -> Any:
        """Begin."""
        return None if self.obj is None else self.obj.start()

    def stop(self, parent: Any) -> Any:
        """End."""
        return None if self.obj is None else self.obj.stop()

    def close(self, parent: Any) -> Any:
        """The worker is about to stop."""

    def terminate(self, parent: Any) -> Any:
        """End at once."""
        return None if self.obj is None else getattr(self.obj, "terminate", self.obj.stop)()


class ConsumerStep(StartStopStep):
    """Consumers of messages that are no calls: ``get_consumers(channel)`` returns ``kombu.Consumer`` objects."""

    requires: Iterable[Any] = ("celery.worker.consumer:Connection",)
    consumers: Any = None

    def get_consumers(self, channel: Any) -> Any:
        """Make them."""
        raise NotImplementedError("missing get_consumers")

    def start(self, parent: Any) -> None:
        self._ended = threading.Event()
        self._connection = parent.connection.clone()
        self.consumers = self.get_consumers(self._connection.channel())
        for consumer in self.consumers or ():
            consumer.consume()
        self._thread = threading.Thread(target=self._drain, name=self.alias, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while not self._ended.is_set():
            try:
                self._connection.drain_events(timeout=_DRAIN_SECONDS)
            except TimeoutError:
                continue
            except Exception:
                logger.exception("The step %s failed to handle a message", self.alias)
                self._ended.wait(_DRAIN_SECONDS)

    def stop(self, parent: Any) -> None:
        self._ended.set()
        self._thread.join(_STOP_SECONDS)
        for consumer in self.consumers or ():
            consumer.cancel()
        self._connection.close()

    def shutdown(self, c: Any) -> None:
        """Celery's word for it."""
        self.stop(c)


class Entry:
    """Something that a timer calls, once or again and again, until ``cancel()``."""

    def __init__(self, pause: float, call: Callable[[], object], *, again: bool) -> None:
        self._pause = pause
        self._call = call
        self._again = again
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="timer", daemon=True).start()

    def _run(self) -> None:
        due = time.monotonic() + self._pause
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            try:
                self._call()
            except Exception:
                logger.exception("What a timer of a boot step called raised")
            if not self._again:
                return
            due = max(due + self._pause, time.monotonic())

    def cancel(self) -> None:
        """Do not call it any more."""
        self._ended.set()

    @property
    def canceled(self) -> bool:
        """Whether it was cancelled."""
        return self._ended.is_set()


class Timer:
    """Calls functions later, each in a thread of its own."""

    def call_repeatedly(
        self, secs: float, fun: Callable[..., Any], args: Any = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        """Every `secs` seconds."""
        return Entry(secs, lambda: fun(*args, **(kwargs or {})), again=True)

    def call_after(
        self, secs: float, fun: Callable[..., Any], args: Any = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        """In `secs` seconds."""
        return Entry(secs, lambda: fun(*args, **(kwargs or {})), again=False)

    def cancel(self, entry: Entry) -> None:
        """Not any more."""
        entry.cancel()


class _Parent:
    """What steps are given: the worker, or its consumer."""

    def __init__(self, app: Celery, hostname: str, timer: Timer) -> None:
        self.app = app
        self.hostname = hostname
        self.timer = timer
        self.steps: list[Step] = []


class Worker(_Parent):
    """The worker, as steps see it."""

    def __init__(self, app: Celery, hostname: str, timer: Timer, options: dict[str, Any]) -> None:
        super().__init__(app, hostname, timer)
        self.options = options
        self.pid = os.getpid()
        self.consumer = Consumer(self)

    def stop(self, in_sighandler: bool = False, exitcode: Any = None) -> None:
        """Let the worker end what runs, and stop."""
        os.kill(os.getppid(), signal.SIGTERM)

    def terminate(self, in_sighandler: bool = False) -> None:
        """Let it stop at once."""
        os.kill(os.getppid(), signal.SIGQUIT)


class Consumer(_Parent):
    """Its consumer. `connection` is one of its own to the broker."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.app, worker.hostname, worker.timer)
        self.controller = worker

    @property
    def connection(self) -> Connection:
        """A way to the broker."""
        return self.app.connection_for_read()

    @property
    def event_dispatcher(self) -> Any:
        """Publishes events in the name of the worker."""
        return self.app.events.Dispatcher(hostname=self.hostname)


class Steps:
    """The steps of one worker."""

    kinds: ClassVar[tuple[str, str]] = ("worker", "consumer")

    def __init__(self, app: Celery, hostname: str, options: dict[str, Any]) -> None:
        self._worker = Worker(app, hostname, Timer(), options)
        self._classes = {kind: _in_order(app.steps[kind]) for kind in self.kinds}
        self._options = options
        self._started: list[tuple[Any, Any]] = []

    async def run(self) -> None:
        """Start them, and stop them when it is cancelled."""
        thread = asyncio.get_running_loop().run_in_executor(None, self._start)
        try:
            await thread
            await asyncio.Event().wait()
        finally:
            stopping = threading.Thread(target=self._stop, name="steps", daemon=True)
            stopping.start()
            stopping.join(_STOP_SECONDS)

    def _start(self) -> None:
        for kind, parent in zip(self.kinds, (self._worker, self._worker.consumer), strict=True):
            included = [
                step
                for step in (cls(parent, **self._options) for cls in self._classes[kind])
                if step.include(parent)
            ]
            for step in included:
                if hasattr(step, "start"):
                    logger.info("Boot step %s starts.", step.alias)
                    step.start(parent)
                    self._started.append((step, parent))

    def _stop(self) -> None:
        for step, parent in reversed(self._started):
            with contextlib.suppress(AttributeError):
                step.close(parent)
            try:
                step.stop(parent)
            except Exception:
                logger.exception("The boot step %s failed to stop", step.alias)


def _in_order(classes: Iterable[Any]) -> list[Any]:
    """The classes, each after those that it requires. What is required and not among them is Celery's, and is there."""
    wanted = sorted(classes, key=lambda cls: (cls.last, f"{cls.__module__}.{cls.__qualname__}"))
    names = {
        cls: {f"{cls.__module__}:{cls.__qualname__}", f"{cls.__module__}.{cls.__qualname__}"}
        for cls in wanted
    }
    sorter: graphlib.TopologicalSorter[Any] = graphlib.TopologicalSorter()
    for cls in wanted:
        required = set(cls.requires)
        sorter.add(cls, *(other for other in wanted if other in required or names[other] & _texts(required)))
    return list(sorter.static_order())


def _texts(required: Iterable[Any]) -> set[str]:
    return {name for name in required if isinstance(name, str)}
