"""Signals of what a worker receives, for those of the program's functions that listen: ``task_received``, ``task_revoked`` …

They are called in a thread of the node: what takes long, or fails, keeps nothing from its way. What they cannot keep up with is dropped.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from umbel import signals
from umbel.errors import NotRegistered, Reject
from umbel.worker.inflight import Held
from umbel.worker.request import Request

__all__ = ["Hearing"]

logger = logging.getLogger("umbel.worker")

_MOST = 10_000
"""So many calls of receivers wait; more are dropped."""


class Hearing:
    """Of one node. `consumer` is the sender of those signals that have no task for a sender."""

    def __init__(self, app: Any, hostname: str, consumer: Any = None) -> None:
        self._app = app
        self._hostname = hostname
        self.consumer = consumer
        self._waiting: queue.Queue[Callable[[], object]] = queue.Queue(_MOST)
        self._thread: threading.Thread | None = None
        self._dropping = False

    @property
    def on(self) -> bool:
        """Whether anybody listens."""
        return bool(
            signals.task_received.receivers
            or signals.task_revoked.receivers
            or signals.task_rejected.receivers
            or signals.task_unknown.receivers
        )

    def received(self, held: Held) -> None:
        """A call has come to this worker."""
        if signals.task_received.receivers:
            request = self._request(held)
            self._tell(lambda: signals.task_received.send(self.consumer, request=request))

    def ended(self, held: Held, ending: str, reason: str) -> None:
        """The node has ended a call."""
        if ending in ("revoked", "expired") and signals.task_revoked.receivers:
            request = self._request(held)
            told = {"terminated": held.doomed is not None, "signum": None, "expired": ending == "expired"}
            sender = request.task or self.consumer
            self._tell(lambda: signals.task_revoked.send(sender, request=request, **told))
        elif ending == "unknown" and signals.task_unknown.receivers:
            request, error = self._request(held), NotRegistered(reason)
            self._tell(
                lambda: signals.task_unknown.send(
                    self.consumer, message=request.message, exc=error, name=request.name, id=request.id
                )
            )
        elif ending in ("refused", "rejected") and signals.task_rejected.receivers:
            message, refused = self._request(held).message, Reject(reason)
            self._tell(lambda: signals.task_rejected.send(self.consumer, message=message, exc=refused))

    def beaten(self) -> None:
        """A heartbeat has been published."""
        if signals.heartbeat_sent.receivers:
            self._tell(lambda: signals.heartbeat_sent.send(self.consumer))

    def _request(self, held: Held) -> Request:
        return Request(held, self._hostname, app=self._app)

    def _tell(self, call: Callable[[], object]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="signals", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(call)
            self._dropping = False
        except queue.Full:
            if not self._dropping:
                logger.warning(
                    "Receivers of signals cannot keep up with what this worker receives: they miss some of it."
                )
            self._dropping = True

    def _run(self) -> None:
        while True:
            self._waiting.get()()
