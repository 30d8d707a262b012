"""A worker inside the test's own process: node and child as threads, for any broker, ``memory://`` too.

It is the real node and the real runner on a real connection; only the processes are missing. So a task that crashes
takes the test with it, and a hard time limit ends the call but cannot stop its thread.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from umbel.routing import consumed_queues
from umbel.worker import limits
from umbel.worker.child import serve
from umbel.worker.crew import Child
from umbel.worker.ipc import make_ends
from umbel.worker.journal import Journal
from umbel.worker.node import Node
from umbel.worker.options import expand_name
from umbel.worker.runner import Runner
from umbel.worker.settings import NodeSettings
from umbel.worker.verdict import Judge

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["InProcessWorker", "start_worker"]


class InProcessWorker:
    """See ``start_worker``."""

    def __init__(self, app: Umbel, settings: NodeSettings) -> None:
        self.app = app
        self.settings = settings
        self.node: Node | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="umbel-worker", daemon=True)
        self._numbers = itertools.count(-1, -1)

    def start(self) -> None:
        """Returns when the worker fetches."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self, *, cold: bool = False, timeout: float = 30.0) -> None:
        """Shut down: warm, or at once. Raises what the node ended with."""
        if self.node is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(partial(self.node.stop, cold=cold))
        self._thread.join(timeout)
        if self._failure is not None:
            raise self._failure
        if self._thread.is_alive():
            raise TimeoutError(f"The worker has not stopped within {timeout} s: a task is still running.")

    def reload(self) -> None:
        """Celery's word for: tasks have been declared since the worker was started. This one finds them by itself."""

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as exc:  # noqa: BLE001 - raised again by start() or stop(), in the test's thread
            self._failure = exc
        finally:
            self._ready.set()

    async def _run(self) -> None:
        app = self.app
        self._loop = asyncio.get_running_loop()
        node = self.node = Node(
            self.settings, app.new_broker(), app.new_store(), Judge(app, self.settings.name), Journal()
        )
        node.kill = self._replace
        node.on_ready = self._ready.set
        await self._hire(node)
        await node.run()

    async def _hire(self, node: Node) -> None:
        end, ends = make_ends()
        ends[0].setblocking(False)
        child = Child(0, next(self._numbers), self.settings.slots, ends)
        runner = Runner(
            self.app, hostname=self.settings.name, report=end.report, soft_limit=limits.ThreadLimits()
        )

        def work() -> None:
            serve(end, runner, self.settings.pool, self.settings.slots, child.pid)
            end.close()

        threading.Thread(target=work, name="umbel-child", daemon=True).start()
        await node.attach(child)

    def _replace(self, child: Child) -> None:
        # Its threads cannot be killed: they are cut off and left to end by themselves.
        child.dismiss()
        if self.node is not None:
            self.node.child_died(child.pid, "was cut off")
            self._hiring = self._loop.create_task(self._hire(self.node))


@contextmanager
def start_worker(
    app: Umbel,
    *,
    concurrency: int = 1,
    pool: str = "threads",
    queues: Sequence[str] = (),
    name: str = "test@%h",
    grace: float | None = None,
) -> Iterator[InProcessWorker]:
    """Run a worker of `app` in threads of this process for as long as the block lasts.

    `pool` is ``threads`` or ``asyncio``; `queues` default to those of the settings; `grace` is the time in seconds that
    running tasks get at the end of the block::

        with start_worker(app):
            assert add.delay(1, 2).get(timeout=5) == 3
    """
    app.finalize()
    settings = NodeSettings(
        name=expand_name(name),
        id=os.urandom(8).hex(),
        queues=tuple(queues) or consumed_queues(app.conf),
        pool=pool,
        children=1,
        slots=concurrency,
        lease=app.conf.worker_lease,
        grace=grace,
    )
    worker = InProcessWorker(app, settings)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
