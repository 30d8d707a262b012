"""``kombu.simple``: one queue, with ``get`` and ``put``."""

from __future__ import annotations

import time
from collections import deque
from queue import Empty
from typing import Any, ClassVar, Self

from umbel.contrib.celery.messaging import Consumer, Producer, maybe_channel
from umbel.contrib.celery.queues import Exchange, Queue

__all__ = ["Empty", "SimpleBuffer", "SimpleQueue"]


class SimpleQueue:
    """``queue.put({"n": 1})``; ``message = queue.get(timeout=3); message.payload; message.ack()``.

    `options`: queue_opts, queue_args, exchange_opts, serializer, compression, accept.
    """

    Empty = Empty
    no_ack = False
    queue_opts: ClassVar[dict[str, Any]] = {}
    exchange_opts: ClassVar[dict[str, Any]] = {"type": "direct"}

    def __init__(self, channel: Any, name: Queue | str, no_ack: bool | None = None, **options: Any) -> None:
        self.channel = maybe_channel(channel)
        self.no_ack = self.no_ack if no_ack is None else no_ack
        queue = name
        if not isinstance(queue, Queue):
            exchange = Exchange(queue, **{**self.exchange_opts, **(options.get("exchange_opts") or {})})
            described = {**self.queue_opts, **(options.get("queue_opts") or {})}
            queue = Queue(
                queue, exchange, queue, queue_arguments=options.get("queue_args") or {}, **described
            )
        how = {name: options.get(name) for name in ("serializer", "compression")}
        self.consumer = Consumer(self.channel, queue, accept=options.get("accept"))
        self.producer = Producer(channel, queue.exchange, queue.routing_key, **how)
        self.queue = self.consumer.queues[0]
        self.buffer: deque[Any] = deque()
        self._consuming = False
        self.consumer.register_callback(lambda _body, message: self.buffer.append(message))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next message. Raises Empty when none comes within `timeout` seconds."""
        if not block:
            return self.get_nowait()
        if not self._consuming:
            self.consumer.consume(no_ack=self.no_ack)
            self._consuming = True
        end = None if timeout is None else time.monotonic() + timeout
        while not self.buffer:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise Empty
            try:
                self.channel.connection.drain_events(timeout=left)
            except TimeoutError:
                raise Empty from None
        return self.buffer.popleft()

    def get_nowait(self) -> Any:
        """The next message. Raises Empty when none waits."""
        message = self.queue.get(no_ack=self.no_ack, accept=self.consumer.accept)
        if message is None:
            raise Empty
        return message

    def put(self, message: Any, **options: Any) -> None:
        """Send a message; `options` as for ``Producer.publish``."""
        self.producer.publish(message, **options)

    def clear(self) -> int:
        """Delete what waits. Returns how many messages."""
        return self.consumer.purge()

    def qsize(self) -> int:
        """How many messages wait."""
        return int(self.queue.queue_declare().message_count)

    def close(self) -> None:
        """End consuming."""
        self.consumer.cancel()

    def __len__(self) -> int:
        return self.qsize()

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


class SimpleBuffer(SimpleQueue):
    """The same for messages that may be lost: they are acknowledged as they are received."""

    no_ack = True
    queue_opts: ClassVar[dict[str, Any]] = {"durable": False, "auto_delete": True, "exclusive": True}
    exchange_opts: ClassVar[dict[str, Any]] = {
        "durable": False,
        "delivery_mode": "transient",
        "auto_delete": True,
    }
