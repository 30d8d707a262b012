"""``connection.channel()``: AMQP's verbs, carried out by one of Umbel's brokers."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from umbel import portal
from umbel.contrib.celery.kombu_errors import ChannelError, ConnectionError, MessageStateError
from umbel.contrib.celery.message import Message
from umbel.core.priority import frame_priority
from umbel.errors import CapabilityError, UmbelError
from umbel.ids import new_id
from umbel.ports import Ack, Broker, Bury, Delivery, Frame, Outgoing, Receipt, Release

__all__ = ["HOLDER", "LEASE", "Channel", "QueueDeclared"]

logger = logging.getLogger("umbel.kombu")

LEASE = 30.0
"""Seconds after which the messages of a process that has died are delivered again."""
HOLDER = "kombu"
_RENEW = 5.0
_tags = itertools.count(1)
_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


class QueueDeclared(NamedTuple):
    """The answer to ``queue_declare``."""

    queue: str
    message_count: int
    consumer_count: int


class _Consumer(NamedTuple):
    queue: str
    callback: Callable[[Message], Any] | None
    no_ack: bool


class Channel:
    """Consumers, and the messages that they have not settled. Closing it gives those back."""

    def __init__(self, connection: Any) -> None:
        self.connection: Any = connection
        self.channel_id = next(_tags)
        self.prefetch_count = 0
        self.active = True
        self.closed = False
        self._consumers: dict[str, _Consumer] = {}
        self._unacked: dict[str, Receipt] = {}
        self._lock = threading.Lock()
        self._renewing = False
        self.pid = os.getpid()
        self._pool: Any = None
        _channels.add(self)

    @property
    def _broker(self) -> Broker:
        if self.closed:
            raise ConnectionError("This channel is closed. Open another: connection.channel().")
        broker: Broker = self.connection.broker
        return broker

    def close(self) -> None:
        """Cancel its consumers and give back what was not settled."""
        if self.closed:
            return
        self._consumers.clear()
        try:
            self.basic_recover(requeue=True)
        finally:
            self.closed = True
            self.connection.forget_channel(self)

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *unused: object) -> None:
        self.release()

    def release(self) -> None:
        """Close it, or give it back to its pool."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.release(self)
        else:
            self.close()

    # -- exchanges and queues

    def exchange_declare(
        self, exchange: str = "", type: str = "direct", passive: bool = False, **unused: Any
    ) -> None:
        """Make the type of an exchange known."""
        self.connection.topology.declare(exchange, type or "direct", passive)

    def exchange_delete(self, exchange: str, **unused: Any) -> None:
        """Forget an exchange and its bindings."""
        self.connection.topology.forget(self._broker, exchange)

    def exchange_bind(self, destination: str, source: str = "", **unused: Any) -> None:
        """Not possible."""
        raise CapabilityError(
            f"The exchange {source!r} cannot feed the exchange {destination!r}. Bind the queues of {destination!r} to "
            f"{source!r} instead: queue.bind_to(exchange={source!r}, routing_key=...)."
        )

    exchange_unbind = exchange_bind

    def queue_declare(self, queue: str = "", passive: bool = False, **unused: Any) -> QueueDeclared:
        """Make a queue known. `passive`: raise ChannelError when it is not."""
        known, broker = self.connection.topology.queues, self._broker
        queue = queue or f"amq.gen-{new_id()}"
        waiting = self._size(queue)
        if not passive:
            known.add(queue)
        elif not waiting and queue not in known and queue not in portal.run(broker.queues()):
            raise ChannelError(f"NOT_FOUND - no queue {queue!r} at {broker.url}.")
        consumers = sum(consumer.queue == queue for consumer in self._consumers.values())
        return QueueDeclared(queue, waiting, consumers)

    def _size(self, queue: str) -> int:
        return portal.run(self._broker.depth([queue]))[queue].waiting

    def queue_bind(self, queue: str, exchange: str = "", routing_key: str = "", **unused: Any) -> None:
        """Let an exchange feed a queue."""
        if exchange:
            self.connection.topology.bind(self._broker, exchange, routing_key or "", queue)

    def queue_unbind(self, queue: str, exchange: str = "", routing_key: str = "", **unused: Any) -> None:
        """Undo ``queue_bind``."""
        if exchange:
            self.connection.topology.unbind(self._broker, exchange, routing_key or "", queue)

    def queue_purge(self, queue: str, **unused: Any) -> int:
        """Delete what waits. Returns how many messages."""
        return portal.run(self._broker.purge([queue]))

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **unused: Any
    ) -> int | None:
        """Delete what waits in a queue, and its bindings. Returns how many messages."""
        used = any(consumer.queue == queue for consumer in self._consumers.values())
        if (if_unused and used) or (if_empty and self._size(queue)):
            return None
        self.connection.topology.unbind_all(self._broker, queue)
        return self.queue_purge(queue)

    # -- sending

    def prepare_message(
        self,
        body: Any,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        headers: Any = None,
        properties: Any = None,
        **unused: Any,
    ) -> dict[str, Any]:
        """A message for ``basic_publish``."""
        properties = dict(properties or {})
        if priority is not None:
            properties["priority"] = priority
        return {
            "body": body.encode("utf-8") if isinstance(body, str) else bytes(body),
            "content-type": content_type or "application/data",
            "content-encoding": content_encoding or "utf-8",
            "headers": dict(headers or {}),
            "properties": properties,
        }

    def basic_publish(
        self, message: dict[str, Any], exchange: str = "", routing_key: str = "", **options: Any
    ) -> None:
        """Send it to every queue that `exchange` feeds under `routing_key`; to nobody when there is none."""
        broker = self._broker
        headers, due_in = message["headers"], _due_in(message["headers"])
        batch = []
        for queue in self.connection.topology.targets(broker, exchange, routing_key or ""):
            info = {"exchange": exchange, "routing_key": routing_key, "queue": queue}
            if not exchange:
                del info["queue"]
            properties = {"delivery_mode": 2, **message["properties"], "delivery_info": info}
            kind = (message["content-type"], message["content-encoding"])
            frame = Frame(message["body"], *kind, dict(headers), properties)
            out = Outgoing(frame=frame, queue=queue, priority=frame_priority(frame), due_in=due_in)
            batch.append(out)
        if batch:
            broker.send_now(batch, timeout=options.get("timeout"))

    # -- receiving

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Have no more than `prefetch_count` messages that are not settled; 0: any number."""
        self.prefetch_count = prefetch_count or 0

    def flow(self, active: bool) -> None:
        """Stop receiving, or go on."""
        self.active = active

    def basic_consume(
        self,
        queue: str,
        callback: Callable[[Message], Any] | None = None,
        no_ack: bool = False,
        consumer_tag: str = "",
        **unused: Any,
    ) -> str:
        """Have `callback` called by ``connection.drain_events()`` for each message. Returns the consumer's tag."""
        tag = consumer_tag or f"{next(_tags)}"
        self._consumers[tag] = _Consumer(queue, callback, bool(no_ack))
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """Undo ``basic_consume``. What was received stays to be settled."""
        self._consumers.pop(consumer_tag, None)

    def is_no_ack(self, consumer_tag: str | None) -> bool:
        """Whether the messages of this consumer need no acknowledgement."""
        consumer = self._consumers.get(consumer_tag or "")
        return consumer is not None and consumer.no_ack

    def wanted(self) -> list[str]:
        """The queues from which it would take a message now."""
        if not self.active or (0 < self.prefetch_count <= len(self._unacked)):
            return []
        return list(dict.fromkeys(consumer.queue for consumer in self._consumers.values()))

    def deliver(self, delivery: Delivery) -> None:
        """Hand a message to one of the consumers of its queue."""
        queue = delivery.receipt.queue
        mine = [(tag, consumer) for tag, consumer in self._consumers.items() if consumer.queue == queue]
        if not mine:  # cancelled meanwhile
            self._settle(Release(receipt=delivery.receipt))
            return
        tag, consumer = mine[0]
        if len(mine) > 1:  # each in its turn
            self._consumers[tag] = self._consumers.pop(tag)
        message = self._received(delivery, tag, consumer.no_ack)
        if message is not None and consumer.callback is not None:
            consumer.callback(message)

    def basic_get(self, queue: str, no_ack: bool = False, **unused: Any) -> Message | None:
        """The next message of a queue, or None."""
        found = portal.run(self._broker.reserve([queue], limit=1, lease=LEASE, wait=0, holder=HOLDER))
        return self._received(found[0], None, no_ack) if found else None

    def _received(self, delivery: Delivery, tag: str | None, no_ack: bool) -> Message | None:
        frame, receipt = delivery.frame, delivery.receipt
        if frame is None:
            logger.error("What lay in %s is not a message: %s", receipt.queue, delivery.problem)
            self._settle(Bury(receipt=receipt, reason=delivery.problem))
            return None
        delivery_tag = new_id()
        if no_ack:
            self._settle(Ack(receipt=receipt))
        else:
            self._hold(delivery_tag, receipt)
        given = frame.properties.get("delivery_info")
        info: dict[str, Any] = (
            dict(given) if isinstance(given, dict) else {"exchange": "", "routing_key": receipt.queue}
        )
        info.pop("queue", None)
        properties = {**frame.properties, "delivery_info": dict(info), "delivery_tag": delivery_tag}
        if tag is not None:
            info["consumer_tag"] = tag
        info["redelivered"] = delivery.count > 1
        return Message(
            frame.body,
            delivery_tag,
            channel=self,
            content_type=frame.content_type,
            content_encoding=frame.content_encoding,
            delivery_info=info,
            properties=properties,
            headers=frame.headers,
        )

    # -- settling

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """The message is done with."""
        receipts = self._taken(delivery_tag, multiple)
        self._settle(*(Ack(receipt=receipt) for receipt in receipts))

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Put it back, or among the dead letters."""
        for receipt in self._taken(delivery_tag, False):
            if requeue:
                self._settle(Release(receipt=receipt, counted=True))
            else:
                self._settle(Bury(receipt=receipt, reason="rejected by its consumer"))

    def basic_recover(self, requeue: bool = True) -> None:
        """Put back all that was not settled."""
        with self._lock:
            receipts, self._unacked = list(self._unacked.values()), {}
        # Each is put in front: the last one first, so that the order stays.
        self._settle(*(Release(receipt=receipt) for receipt in reversed(receipts)))

    def _taken(self, delivery_tag: str, multiple: bool) -> list[Receipt]:
        with self._lock:
            if delivery_tag not in self._unacked:
                raise MessageStateError(f"This channel has no message with the tag {delivery_tag!r}.")
            tags = list(self._unacked)
            tags = tags[: tags.index(delivery_tag) + 1] if multiple else [delivery_tag]
            return [self._unacked.pop(tag) for tag in tags]

    def _settle(self, *settlements: Ack | Bury | Release) -> None:
        if settlements:
            stale = portal.run(self._broker.settle(settlements))
            if stale:
                logger.warning("%d messages were held for too long and are delivered again.", len(stale))

    # -- leases

    def _hold(self, delivery_tag: str, receipt: Receipt) -> None:
        with self._lock:
            self._unacked[delivery_tag] = receipt
            start, self._renewing = not self._renewing, True
        if start:
            portal.submit(_renew(weakref.ref(self)))

    def held(self) -> list[Receipt]:
        """What is to be renewed; when that is nothing, renewing ends."""
        with self._lock:
            self._renewing = bool(self._unacked) and not self.closed
            return list(self._unacked.values()) if self._renewing else []

    async def extend(self, receipts: list[Receipt]) -> None:
        """Renew leases."""
        await self._broker.extend(receipts, lease=LEASE)


async def _renew(channel: weakref.ref[Channel]) -> None:
    """Renew the leases of a channel for as long as somebody has it."""
    while True:
        await asyncio.sleep(_RENEW)
        alive = channel()
        receipts = [] if alive is None else alive.held()
        if alive is None or not receipts:
            return
        try:
            await alive.extend(receipts)
        except UmbelError as exc:
            logger.warning("Leases could not be renewed, trying again: %s", exc)
        del alive


def _due_in(headers: dict[str, Any]) -> float | None:
    """In how many seconds a task's message is due."""
    eta = headers.get("eta")
    if not isinstance(eta, str) or "task" not in headers:
        return None
    try:
        due = datetime.fromisoformat(eta)
    except ValueError:
        return None
    return (due.replace(tzinfo=due.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _give_back() -> None:
    """At the end of the process: what was received and not settled is delivered again at once."""
    for channel in list(_channels):
        try:
            if channel.pid == os.getpid() and not channel.closed and channel.held():
                channel.close()
        except UmbelError as exc:
            logger.warning("Messages will be delivered again in %g s: %s", LEASE, exc)


atexit.register(_give_back)
