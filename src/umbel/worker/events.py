"""Events: what a worker tells the world about itself and its calls, in Celery's form. Hints for monitors, such as Flower.

They may be lost, and never delay work: what cannot be published soon is dropped. Off, they cost nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from umbel._version import __version__
from umbel.codecs.commands import write_event
from umbel.errors import OperationalError
from umbel.ports import Broker, Remote
from umbel.worker.inflight import Held
from umbel.worker.ipc import Done

__all__ = ["Events"]

logger = logging.getLogger("umbel.worker")

HEARTBEAT_SECONDS = 2.0
BATCH_SECONDS = 0.1
"""So long events of calls are gathered for one message."""
_BATCH = 500
"""So many in one message."""
_BACKLOG = 10_000
"""So many wait to be published; older ones are dropped for newer ones."""
_ENDINGS = {
    "success": "succeeded",
    "failure": "failed",
    "retry": "retried",
    "rejected": "rejected",
    "lost": "failed",
    "timeout": "failed",
    "refused": "rejected",
    "unknown": "rejected",
    "revoked": "revoked",
    "expired": "revoked",
}


class Events:
    """Of one node. `active` and `processed` are for its heartbeat."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        exchange: str,
        active: Callable[[], int],
        processed: Callable[[], int],
    ) -> None:
        self._broker = broker
        self._name = name
        self._exchange = exchange
        self._active = active
        self._processed = processed
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_BACKLOG)
        self._changed = asyncio.Event()
        self.on = False
        self.on_heartbeat: Callable[[], object] = lambda: None
        self._clock = 0

    def enable(self) -> bool:
        """Begin to publish. Returns whether that is a change. Nothing is published where the broker carries no events."""
        return self._switch(isinstance(self._broker, Remote))

    def disable(self) -> bool:
        """Stop publishing. Returns whether that is a change."""
        return self._switch(False)

    def _switch(self, on: bool) -> bool:
        changed, self.on = self.on != on, on
        self._changed.set()
        return changed

    # -- what happens to calls

    def received(self, held: Held) -> None:
        """A call has come to this worker."""
        headers = held.frame.headers
        self._task(
            "received",
            held,
            name=held.frame.task_name,
            args=headers.get("argsrepr", ""),
            kwargs=headers.get("kwargsrepr", ""),
            **{key: headers.get(key) for key in ("root_id", "parent_id", "eta", "expires")},
            retries=headers.get("retries", 0),
        )

    def started(self, held: Held) -> None:
        """Its run has begun."""
        self._task("started", held)

    def done(self, held: Held, done: Done) -> None:
        """A child has said how it ended."""
        if done.ending == "success":
            self._task("succeeded", held, result=done.summary, runtime=done.runtime)
        elif done.ending in _ENDINGS:
            self._ended(held, done.ending, done.reason, done.traceback)

    def ended(self, held: Held, ending: str, reason: str) -> None:
        """The node has ended it."""
        if ending in _ENDINGS:
            self._ended(held, ending, reason, "")

    def _ended(self, held: Held, ending: str, reason: str, traceback: str) -> None:
        kind = _ENDINGS[ending]
        if kind == "revoked":
            told: dict[str, Any] = {
                "terminated": held.doomed is not None,
                "signum": None,
                "expired": ending == "expired",
            }
        elif kind == "rejected":
            told = {"requeue": False}
        else:
            told = {"exception": reason, "traceback": traceback}
        self._task(kind, held, **told)

    def _task(self, kind: str, held: Held, **fields: Any) -> None:
        if held.frame.task_id:
            self._waiting.append(self._event(f"task-{kind}", uuid=held.frame.task_id, **fields))

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._clock += 1
        return {
            "hostname": self._name,
            "utcoffset": time.timezone // 3600,
            "pid": os.getpid(),
            "clock": self._clock,
            **fields,
            "timestamp": time.time(),
            "type": kind,
        }

    # -- publishing

    async def run(self) -> None:
        """Publish until cancelled."""
        said, beat = False, 0.0
        while True:
            if not self.on and not said:
                await self._changed.wait()
            self._changed.clear()
            try:
                if said and not self.on:
                    self._waiting.clear()
                    await self._say("worker-offline")
                    said = False
                    continue
                if self.on and not said:
                    await self._say("worker-online")
                    said = True
                if time.monotonic() - beat >= HEARTBEAT_SECONDS:
                    beat = time.monotonic()
                    await self._say("worker-heartbeat")
                    self.on_heartbeat()
                await self._flush()
            except OperationalError as exc:
                logger.debug("Events could not be published: %s", exc)
            await asyncio.sleep(BATCH_SECONDS)

    async def leave(self) -> None:
        """Publish what is left, and that the worker goes."""
        if self.on:
            try:
                await self._flush()
                await self._say("worker-offline")
            except OperationalError as exc:
                logger.debug("Events could not be published: %s", exc)

    async def _say(self, kind: str) -> None:
        software = {"sw_ident": "umbel", "sw_ver": __version__, "sw_sys": platform.system()}
        event = self._event(
            kind,
            freq=HEARTBEAT_SECONDS,
            active=self._active(),
            processed=self._processed(),
            loadavg=[round(load, 2) for load in os.getloadavg()],
            **software,
        )
        await self._publish(kind.replace("-", "."), event)

    async def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            await self._publish("task.multi", batch)

    async def _publish(self, routing_key: str, body: Any) -> None:
        if isinstance(self._broker, Remote):
            message = write_event(body, self._exchange, routing_key, self._name)
            await self._broker.emit(self._exchange, routing_key, message)
