"""``kombu.Producer`` and ``kombu.Consumer``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Self

from umbel.codecs import compression as compressions
from umbel.contrib.celery.kombu_errors import ChannelError
from umbel.contrib.celery.kombu_functional import ChannelPromise, maybe_list
from umbel.contrib.celery.message import Message
from umbel.contrib.celery.queues import DELIVERY_MODES, PERSISTENT_DELIVERY_MODE, Exchange, Queue
from umbel.contrib.celery.serialization import dumps, prepare_accept_content
from umbel.errors import ContentDisallowed

__all__ = ["Consumer", "Producer", "maybe_channel", "maybe_declare"]


def _is_connection(thing: Any) -> bool:
    return hasattr(type(thing), "default_channel")  # asking the object itself would connect


def maybe_channel(channel: Any) -> Any:
    """The default channel of a connection; a channel as it is."""
    return channel.default_channel if _is_connection(channel) else channel


def maybe_declare(entity: Any, channel: Any = None, retry: bool = False, **retry_policy: Any) -> bool:
    """Declare a queue or an exchange, unless this connection has done so. Returns whether it did."""
    if not entity.is_bound:
        if channel is None:
            raise ChannelError(
                f"{entity!r} is not bound to a channel; give one: maybe_declare(entity, channel)."
            )
        entity = entity.bind(channel)
    elif channel is not None and entity.channel.closed:
        entity.revive(channel)
    channel = maybe_channel(channel) or entity.channel
    connection = channel.connection
    known = (type(entity).__name__, entity.name, str(getattr(entity, "exchange", "")), _key_of(entity))
    if known in connection.declared_entities:
        return False
    declare = connection.ensure(entity, entity.declare, **retry_policy) if retry else entity.declare
    declare(channel=channel)
    if entity.can_cache_declaration:
        connection.declared_entities.add(known)
    return True


def _key_of(entity: Any) -> str:
    return str(getattr(entity, "routing_key", "") or getattr(entity, "type", ""))


class Producer:
    """Publishes messages: ``Producer(connection, exchange=..., routing_key=...).publish({"n": 1})``."""

    auto_declare = True
    compression: str | None = None
    on_return: Any = None
    routing_key = ""
    serializer: str | None = None

    def __init__(
        self,
        channel: Any,
        exchange: Exchange | str | None = None,
        routing_key: str | None = None,
        serializer: str | None = None,
        auto_declare: bool | None = None,
        compression: str | None = None,
        on_return: Any = None,
    ) -> None:
        self.exchange = exchange if isinstance(exchange, Exchange) else Exchange(exchange or "")
        self.routing_key = routing_key or self.routing_key
        self.serializer = serializer or self.serializer
        self.compression = compression or self.compression
        self.on_return = on_return or self.on_return
        if auto_declare is not None:
            self.auto_declare = auto_declare
        self._connection: Any = None
        self._channel: Any = None
        self._pool: Any = None
        if channel:
            self.revive(channel)

    @property
    def channel(self) -> Any:
        """The channel; opened when first needed."""
        if isinstance(self._channel, ChannelPromise):
            self._channel = self._channel()
        if self._connection is not None and getattr(self._channel, "closed", False):
            self._channel = self._connection.default_channel
        return self._channel

    @channel.setter
    def channel(self, channel: Any) -> None:
        self._channel = channel

    @property
    def connection(self) -> Any:
        """The connection."""
        return self._connection or getattr(self.channel, "connection", None)

    __connection__ = connection

    def revive(self, channel: Any) -> None:
        """Use another channel or connection."""
        if _is_connection(channel):
            self._connection = channel
            self._channel = ChannelPromise(lambda: channel.default_channel)
        else:
            self._connection, self._channel = None, channel

    def declare(self) -> None:
        """Declare the exchange."""
        if self.exchange.name:
            self.exchange.declare(channel=self.channel)

    def maybe_declare(self, entity: Any, retry: bool = False, **retry_policy: Any) -> Any:
        """Declare something, unless that has been done."""
        return maybe_declare(entity, self.channel, retry, **retry_policy) if entity else None

    def publish(
        self,
        body: Any,
        routing_key: str | None = None,
        exchange: Exchange | str | None = None,
        serializer: str | None = None,
        headers: Any = None,
        **options: Any,
    ) -> None:
        """Send `body` to the queues that `exchange` feeds.

        `options`: compression, priority, declare, retry, retry_policy, expiration, content_type, content_encoding, delivery_mode,
        timeout; all others are properties of the message, such as correlation_id and reply_to. mandatory and immediate are
        taken and not used: nothing is sent back.
        """
        take = options.pop
        retry, policy = take("retry", False), dict(take("retry_policy", None) or {})
        timeout, declare = take("timeout", None), [*(take("declare", None) or ())]
        for unused in ("mandatory", "immediate", "confirm_timeout"):
            take(unused, None)
        to = self.exchange if exchange is None or exchange == "" else exchange
        if exchange == "" or not isinstance(to, Exchange):
            to = exchange or ""
        headers = dict(headers or {})
        kind = (take("content_type", None), take("content_encoding", None))
        method = take("compression", None) or self.compression
        data, content_type, encoding = self._written(body, serializer or self.serializer, *kind)
        if method:
            headers["compression"], data = compressions.compress(data, method)
        priority = take("priority", None)
        properties = self._properties(to, options)
        key = self.routing_key if routing_key is None else routing_key
        if self.auto_declare and self.exchange.name and self.exchange not in declare:
            declare.append(self.exchange)

        def send() -> None:
            channel = self.channel
            for entity in declare:
                self.maybe_declare(entity)
            message = channel.prepare_message(data, priority, content_type, encoding, headers, properties)
            channel.basic_publish(message, exchange=str(to), routing_key=key, timeout=timeout)

        if retry:
            self.connection.ensure(self, send, **policy)()
        else:
            send()

    @staticmethod
    def _properties(exchange: Exchange | str, given: dict[str, Any]) -> dict[str, Any]:
        properties = dict(given)
        mode: Any = properties.pop("delivery_mode", None) or getattr(exchange, "delivery_mode", None)
        properties["delivery_mode"] = DELIVERY_MODES.get(mode, mode) or PERSISTENT_DELIVERY_MODE
        expiration = properties.pop("expiration", None)
        if expiration is not None:
            properties["expiration"] = str(int(expiration * 1000))
        if isinstance(properties.get("reply_to"), Queue):
            properties["reply_to"] = properties["reply_to"].name
        return properties

    @staticmethod
    def _written(
        body: Any, serializer: str | None, content_type: str | None, encoding: str | None
    ) -> tuple[bytes, str, str]:
        if not content_type:
            content_type, encoding, data = dumps(body, serializer=serializer)
            return data, content_type, encoding
        if isinstance(body, str):
            encoding = encoding or "utf-8"
            return body.encode(encoding), content_type, encoding
        return bytes(body), content_type, encoding or "binary"

    def release(self) -> None:
        """Give it back to its pool, if it is of one."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.release(self)

    close = release

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Producer: {self.exchange!r}>"


class Consumer:
    """Receives messages: ``with Consumer(channel, queues, callbacks=[f]): connection.drain_events()`` calls ``f(body, message)``.

    `options`: on_decode_error(message, exc), on_message(message), accept, prefetch_count, tag_prefix.
    """

    ContentDisallowed = ContentDisallowed
    auto_declare = True
    no_ack: bool | None = None
    _tags = count(1)

    def __init__(
        self,
        channel: Any,
        queues: Queue | Iterable[Queue] | None = None,
        no_ack: bool | None = None,
        auto_declare: bool | None = None,
        callbacks: list[Callable[..., Any]] | None = None,
        **options: Any,
    ) -> None:
        self._queues: dict[str, Queue] = {queue.name: queue for queue in maybe_list(queues or [])}
        self.no_ack = self.no_ack if no_ack is None else no_ack
        self.callbacks = [] if callbacks is None else callbacks
        self.on_decode_error = options.pop("on_decode_error", None)
        self.on_message = options.pop("on_message", None)
        self.accept = prepare_accept_content(options.pop("accept", None))
        self.prefetch_count: int | None = options.pop("prefetch_count", None)
        self.tag_prefix = options.pop("tag_prefix", None) or ""
        if options:
            raise TypeError(f"Consumer has no arguments {', '.join(options)}.")
        self._active: dict[str, str] = {}
        if auto_declare is not None:
            self.auto_declare = auto_declare
        self.channel: Any = None
        if channel:
            self.revive(channel)

    @property
    def queues(self) -> list[Queue]:
        """What it consumes from."""
        return list(self._queues.values())

    @property
    def connection(self) -> Any:
        """The connection."""
        return self.channel.connection

    def revive(self, channel: Any) -> None:
        """Use another channel; what was consumed is consumed there."""
        active, self._active = list(self._active), {}
        self.channel = maybe_channel(channel)
        self._queues = {name: queue(self.channel) for name, queue in self._queues.items()}
        if self.auto_declare:
            self.declare()
        if self.prefetch_count is not None:
            self.qos(prefetch_count=self.prefetch_count)
        for name in active:
            self._consume(self._queues[name], None)

    def declare(self) -> None:
        """Declare the queues, their exchanges and bindings."""
        for queue in self.queues:
            queue.declare()
        self._queues = {queue.name: queue for queue in self.queues}  # they may have got their names now

    def register_callback(self, callback: Callable[..., Any]) -> None:
        """Add a function to be called with the decoded body and the message."""
        self.callbacks.append(callback)

    def add_queue(self, queue: Queue) -> Queue:
        """Add a queue. It is consumed once ``consume()`` has been called again."""
        queue = queue(self.channel)
        if self.auto_declare:
            queue.declare()
        self._queues[queue.name] = queue
        return queue

    def consume(self, no_ack: bool | None = None) -> None:
        """Begin to consume. May be called again for queues that were added."""
        for queue in self.queues:
            self._consume(queue, no_ack)

    def _consume(self, queue: Queue, no_ack: bool | None) -> None:
        if queue.name not in self._active:
            no_ack = self.no_ack if no_ack is None else no_ack
            tag = f"{self.tag_prefix}{next(self._tags)}"
            queue.consume(tag, self._receive, no_ack=no_ack)
            self._active[queue.name] = tag

    def cancel(self) -> None:
        """End consuming. What was received stays to be settled."""
        for tag in self._active.values():
            self.channel.basic_cancel(tag)
        self._active.clear()

    close = cancel

    def cancel_by_queue(self, queue: Queue | str) -> None:
        """End consuming one queue."""
        name = str(queue)
        tag = self._active.pop(name, None)
        if tag is not None:
            self.channel.basic_cancel(tag)
        self._queues.pop(name, None)

    def consuming_from(self, queue: Queue | str) -> bool:
        """Whether it consumes this queue."""
        return str(queue) in self._active

    def purge(self) -> int:
        """Delete what waits in its queues. Returns how many messages."""
        return sum(queue.purge() for queue in self.queues)

    def flow(self, active: bool) -> None:
        """Pause, or go on."""
        self.channel.flow(active)

    def qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Have no more than `prefetch_count` messages that are not settled."""
        self.channel.basic_qos(prefetch_size, prefetch_count, apply_global)

    def recover(self, requeue: bool = False) -> None:
        """Have all that was not settled delivered again."""
        self.channel.basic_recover(requeue=requeue)

    def receive(self, body: Any, message: Message) -> None:
        """Called with each message: calls the callbacks."""
        if not self.callbacks:
            raise NotImplementedError("Consumer does not have any callbacks")
        for callback in self.callbacks:
            callback(body, message)

    def _receive(self, message: Message) -> Any:
        if self.accept is not None:
            message.accept = self.accept
        try:
            if message.errors:
                raise message.errors[0]
            body = None if self.on_message else message.decode()
        except Exception as exc:
            if self.on_decode_error is None:
                raise
            return self.on_decode_error(message, exc)
        return self.on_message(message) if self.on_message else self.receive(body, message)

    def __enter__(self) -> Self:
        self.consume()
        return self

    def __exit__(self, *unused: object) -> None:
        if not self.channel.closed:
            self.cancel()

    def __repr__(self) -> str:
        return f"<Consumer: {self.queues}>"
