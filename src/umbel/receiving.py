"""``app.events``: receive the events of workers, those of Celery on the same Redis too, and send some of one's own."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from umbel import portal
from umbel.codecs.commands import read_event, write_event
from umbel.errors import CapabilityError, MessageError, OperationalError
from umbel.monitoring import State
from umbel.ports import Outgoing, Remote

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["EventDispatcher", "EventReceiver", "Events", "tell_sent"]

logger = logging.getLogger("umbel")

_AGAIN_SECONDS = 1.0
"""Between two attempts to listen to a broker that is away."""


class Events:
    """``app.events``."""

    State = State

    def __init__(self, app: Umbel) -> None:
        self._app = app

    def Receiver(
        self,
        connection: Any = None,
        handlers: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
        **unused: Any,
    ) -> EventReceiver:
        """See ``EventReceiver``. The connection is the app's, whatever `connection` says."""
        return EventReceiver(self._app, handlers)

    def Dispatcher(
        self, connection: Any = None, hostname: str | None = None, **unused: Any
    ) -> EventDispatcher:
        """See ``EventDispatcher``."""
        return EventDispatcher(self._app, hostname)

    def default_dispatcher(self, hostname: str | None = None, **unused: Any) -> EventDispatcher:
        """An ``EventDispatcher`` that can be used in a ``with`` block."""
        return EventDispatcher(self._app, hostname)


def _remote(app: Umbel) -> Remote:
    broker = app.broker
    if not isinstance(broker, Remote):
        raise CapabilityError(f"{broker.caps.name} carries no events. Redis does.")
    return broker


class EventReceiver:
    """Calls a handler for each event that comes: by its type, such as ``"task-failed"``; ``"*"`` for all others.

    ::

        with app.connection_for_read() as connection:        # under Celery's name; natively no connection is needed
            app.events.Receiver(connection, handlers={"*": print}).capture(limit=None, timeout=None)
    """

    def __init__(
        self, app: Umbel, handlers: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None
    ) -> None:
        self._app = app
        self.handlers = dict(handlers or {})
        self.should_stop = False

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Handle events: `limit` messages, or until none has come for `timeout` seconds, which raises TimeoutError, or until
        ``should_stop``. With `wakeup` workers are asked for a heartbeat first. Raises CapabilityError."""
        for _ in self.itercapture(limit, timeout, wakeup):
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[dict[str, Any]]:
        """``capture``, event by event."""
        broker, inbox = _remote(self._app), queue.SimpleQueue[bytes]()
        listening = portal.submit(_listen(broker, self._app, inbox))
        taken = 0
        try:
            if wakeup:
                self.wakeup_workers()
            heard = time.monotonic()
            while not self.should_stop and (limit is None or taken < limit):
                try:
                    message = inbox.get(timeout=0.1)
                except queue.Empty:
                    if timeout is not None and time.monotonic() - heard >= timeout:
                        raise TimeoutError(f"No event has come for {timeout:g} s.") from None
                    continue
                heard = time.monotonic()
                taken += 1
                with suppress(MessageError):  # not an event: a hint that nobody can follow
                    for event in read_event(message):
                        self.process(event["type"], event)
                        yield event
        finally:
            listening.cancel()

    def process(self, kind: str, event: dict[str, Any]) -> None:
        """Call the handler for `event`."""
        handler = self.handlers.get(kind) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def wakeup_workers(self) -> None:
        """Ask the workers for a heartbeat."""
        self._app.control.broadcast("heartbeat")


async def _listen(broker: Any, app: Umbel, inbox: queue.SimpleQueue[bytes]) -> None:
    while True:
        with suppress(OperationalError):
            await broker.open()
            async for message in await broker.events(app.conf.event_exchange):
                inbox.put(message)
        await asyncio.sleep(_AGAIN_SECONDS)


class EventDispatcher:
    """Publishes events of one's own: ``app.events.Dispatcher().send("order-shipped", number=3)``."""

    def __init__(self, app: Umbel, hostname: str | None = None) -> None:
        self._app = app
        self.hostname = hostname or f"gen{os.getpid()}@{socket.gethostname()}"
        self._clock = 0

    def send(self, type: str, **fields: Any) -> None:
        """Publish an event of that type. It may be lost. Raises CapabilityError, and TypeError for what JSON cannot hold."""
        self._clock += 1
        event = _event(type, self.hostname, self._clock, fields)
        exchange, key = self._app.conf.event_exchange, type.replace("-", ".")
        message = write_event(event, exchange, key, self.hostname)
        broker = _remote(self._app)

        async def publish() -> None:
            await self._app.broker.open()
            await broker.emit(exchange, key, message)

        portal.run(publish())

    def close(self) -> None:
        """Nothing is kept open."""

    def __enter__(self) -> EventDispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _event(type: str, hostname: str, clock: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hostname": hostname,
        "utcoffset": time.timezone // 3600,
        "pid": os.getpid(),
        "clock": clock,
        **fields,
        "timestamp": time.time(),
        "type": type,
    }


async def tell_sent(app: Umbel, batch: Sequence[Outgoing]) -> None:
    """Publish an event ``task-sent`` for each call of `batch`, which has been stored. It may be lost."""
    broker = app.broker
    if not isinstance(broker, Remote):
        return
    hostname, exchange = f"gen{os.getpid()}@{socket.gethostname()}", app.conf.event_exchange
    events = []
    for outgoing in batch:
        headers = outgoing.frame.headers
        told = {key: headers.get(key) for key in ("root_id", "parent_id", "retries", "eta", "expires")}
        address = {"queue": outgoing.queue, "exchange": "", "routing_key": outgoing.queue}
        named = {"uuid": outgoing.frame.task_id, "name": outgoing.frame.task_name}
        shown = {"args": headers.get("argsrepr", ""), "kwargs": headers.get("kwargsrepr", "")}
        events.append(_event("task-sent", hostname, 1, {**named, **shown, **told, **address}))
    try:
        await broker.open()
        await broker.emit(exchange, "task.multi", write_event(events, exchange, "task.multi", hostname))
    except OperationalError as exc:
        logger.debug("Events could not be published: %s", exc)
