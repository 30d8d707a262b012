"""``kombu.common`` and ``kombu.mixins``: loops around consumers."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid as uuids
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, ClassVar

from umbel.contrib.celery.kombu_functional import TokenBucket, cached_property, nested
from umbel.contrib.celery.messaging import Consumer, Producer, maybe_declare
from umbel.contrib.celery.queues import Exchange, Queue
from umbel.contrib.celery.serialization import registry
from umbel.ids import new_id

__all__ = [
    "Broadcast",
    "ConsumerMixin",
    "ConsumerProducerMixin",
    "QoS",
    "collect_replies",
    "drain_consumer",
    "eventloop",
    "ignore_errors",
    "insured",
    "itermessages",
    "maybe_declare",
    "oid_from",
    "send_reply",
    "uuid",
]

logger = logging.getLogger("umbel.kombu")
uuid = new_id


def oid_from(instance: Any, threads: bool = True) -> str:
    """An id of an object of this process, and of this thread."""
    thread = threading.get_ident() if threads else 0
    return str(
        uuids.uuid5(uuids.NAMESPACE_OID, f"{uuids.getnode():x}-{os.getpid()}-{thread}-{id(instance):x}")
    )


class Broadcast(Queue):
    """A queue of its own for everybody who consumes a fanout exchange."""

    def __init__(
        self, name: str | None = None, queue: str | None = None, unique: bool = False, **options: Any
    ) -> None:
        if unique or not queue:
            queue = f"{queue or 'bcast'}.{new_id()}"
        exchange = options.pop("exchange", None) or Exchange(name or "", type="fanout")
        options = {"alias": name, "auto_delete": True, **options}
        super().__init__(queue, exchange, **options)


def eventloop(
    conn: Any, limit: int | None = None, timeout: float | None = None, ignore_timeouts: bool = False
) -> Iterator[Any]:
    """``connection.drain_events()`` again and again, `limit` times."""
    for _ in range(limit) if limit else count():
        try:
            yield conn.drain_events(timeout=timeout)
        except TimeoutError:
            if timeout and not ignore_timeouts:
                raise


def drain_consumer(
    consumer: Consumer, limit: int | None = 1, timeout: float | None = None, callbacks: Any = None
) -> Iterator[tuple[Any, Any]]:
    """Each (body, message) that a consumer receives."""
    received: deque[tuple[Any, Any]] = deque()
    consumer.callbacks = [lambda body, message: received.append((body, message)), *(callbacks or [])]
    with consumer:
        for _ in eventloop(consumer.connection, limit=limit, timeout=timeout, ignore_timeouts=True):
            if received:
                yield received.popleft()


def itermessages(
    conn: Any,
    channel: Any,
    queue: Queue,
    limit: int | None = 1,
    timeout: float | None = None,
    callbacks: Any = None,
    **options: Any,
) -> Iterator[tuple[Any, Any]]:
    """Each (body, message) of a queue."""
    return drain_consumer(conn.Consumer([queue], channel, **options), limit, timeout, callbacks)


def send_reply(exchange: Any, req: Any, msg: Any, producer: Any = None, **options: Any) -> None:
    """Answer to whoever sent `req`, where its ``reply_to`` says."""
    address = {
        "routing_key": req.properties["reply_to"],
        "correlation_id": req.properties.get("correlation_id"),
        "serializer": registry.type_to_name[req.content_type],
        "content_encoding": req.content_encoding,
    }
    producer.publish(msg, exchange=exchange, **{**address, **options})


def collect_replies(conn: Any, channel: Any, queue: Queue, *args: Any, **options: Any) -> Iterator[Any]:
    """The bodies of the answers that come into a queue."""
    no_ack = options.setdefault("no_ack", True)
    for body, message in itermessages(conn, channel, queue, *args, **options):
        if not no_ack:
            message.ack()
        yield body


@contextmanager
def _ignoring(conn: Any) -> Iterator[None]:
    try:
        yield
    except conn.connection_errors + conn.channel_errors:
        pass


def ignore_errors(conn: Any, fun: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
    """Call `fun` and ignore errors of the connection; without it, a context manager that does."""
    if fun is None:
        return _ignoring(conn)
    with _ignoring(conn):
        return fun(*args, **kwargs)
    return None


def insured(pool: Any, fun: Any, args: Any, kwargs: Any, errback: Any = None, **options: Any) -> Any:
    """Call ``fun(..., connection=, channel=)`` with a connection of `pool`, again when it breaks."""
    with pool.acquire(block=True) as conn:
        conn.ensure_connection(errback=errback)
        call = conn.autoretry(fun, conn.default_channel, errback=errback, **options)
        return call(*args, **{**kwargs, "connection": conn})[0]


class QoS:
    """A prefetch count that threads change and the consumer's loop applies: ``update()``."""

    def __init__(
        self, callback: Callable[..., Any], initial_value: int, max_prefetch: int | None = None
    ) -> None:
        self.callback = callback
        self.value = initial_value or 0
        self.max_prefetch = max_prefetch
        self.prev: int | None = None
        self._mutex = threading.RLock()

    def increment_eventually(self, n: int = 1) -> int:
        """Raise it; 0, which means any number, stays."""
        with self._mutex:
            if self.value:
                value = self.value + max(n, 0)
                self.value = value if self.max_prefetch is None else min(value, self.max_prefetch)
            return self.value

    def decrement_eventually(self, n: int = 1) -> int:
        """Lower it, to 1 at least."""
        with self._mutex:
            if self.value:
                self.value = max(self.value - n, 1)
            return self.value

    def set(self, pcount: int) -> int:
        """Apply a value."""
        if pcount != self.prev:
            self.callback(prefetch_count=pcount)
            self.prev = pcount
        return pcount

    def update(self) -> int:
        """Apply the value."""
        with self._mutex:
            return self.set(self.value)


class ConsumerMixin:
    """A program that consumes: it has ``connection`` and ``get_consumers(Consumer, channel)``, and is started with ``run()``."""

    connect_max_retries: ClassVar[int | None] = None
    should_stop = False
    connection: Any

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        """The consumers to be run: ``[Consumer(queues=[...], callbacks=[...])]``."""
        raise NotImplementedError("Subclass responsibility")

    def on_connection_revived(self) -> None:
        """The connection is there."""

    def on_consume_ready(self, connection: Any, channel: Any, consumers: Any, **kwargs: Any) -> None:
        """Messages will be received now."""

    def on_consume_end(self, connection: Any, channel: Any) -> None:
        """Consuming has ended."""

    def on_iteration(self) -> None:
        """Called once in each turn of the loop."""

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """A message cannot be read: it is logged and acknowledged."""
        logger.error("A message cannot be read and is dropped: %s. %r", exc, message)
        message.ack()

    def on_connection_error(self, exc: Exception, interval: float) -> None:
        """The broker cannot be reached; it is tried again in `interval` seconds."""
        logger.warning("Broker connection error, trying again in %s seconds: %s", interval, exc)

    @contextmanager
    def extra_context(self, connection: Any, channel: Any) -> Iterator[None]:
        """Entered around consuming."""
        yield

    @cached_property
    def restart_limit(self) -> Any:
        """How often consuming is begun again."""
        return TokenBucket(1)

    @property
    def connection_errors(self) -> tuple[type[Exception], ...]:
        """After which it connects again."""
        errors: tuple[type[Exception], ...] = self.connection.connection_errors
        return errors

    @property
    def channel_errors(self) -> tuple[type[Exception], ...]:
        """Likewise."""
        errors: tuple[type[Exception], ...] = self.connection.channel_errors
        return errors

    def run(self, _tokens: int = 1, **kwargs: Any) -> None:
        """Consume until ``should_stop`` is true; connect again when the connection breaks."""
        while not self.should_stop:
            try:
                if self.restart_limit.can_consume(_tokens):
                    for _ in self.consume(limit=None, **kwargs):
                        pass
                else:
                    time.sleep(self.restart_limit.expected_time(_tokens))
            except self.connection_errors + self.channel_errors:
                logger.warning(
                    "Connection to broker lost, trying to re-establish connection...", exc_info=True
                )

    def consume(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        safety_interval: float = 1,
        **kwargs: Any,
    ) -> Iterator[None]:
        """Consume; yields after each message."""
        elapsed = 0.0
        with self.consumer_context(**kwargs) as (connection, _channel, _consumers):
            for _ in range(limit) if limit else count():
                if self.should_stop:
                    break
                self.on_iteration()
                try:
                    connection.drain_events(timeout=safety_interval)
                except TimeoutError:
                    elapsed += safety_interval
                    if timeout and elapsed >= timeout:
                        raise
                else:
                    yield
                    elapsed = 0.0

    @contextmanager
    def consumer_context(self, **kwargs: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Connected and consuming."""
        with self.Consumer() as (connection, channel, consumers), self.extra_context(connection, channel):
            self.on_consume_ready(connection, channel, consumers, **kwargs)
            yield connection, channel, consumers

    def create_connection(self) -> Any:
        """A connection of its own."""
        return self.connection.clone()

    @contextmanager
    def establish_connection(self) -> Iterator[Any]:
        """Connected."""
        with self.create_connection() as connection:
            connection.ensure_connection(self.on_connection_error, self.connect_max_retries)
            yield connection

    @contextmanager
    def Consumer(self) -> Iterator[tuple[Any, Any, Any]]:
        """Consuming."""
        with self.establish_connection() as connection:
            self.on_connection_revived()
            logger.info("Connected to %s", connection.as_uri())
            channel = connection.default_channel
            make = partial(Consumer, channel, on_decode_error=self.on_decode_error)
            with nested(*self.get_consumers(make, channel)) as consumers:
                yield connection, channel, consumers
            self.on_consume_end(connection, channel)


class ConsumerProducerMixin(ConsumerMixin):
    """The same with ``self.producer``, on a connection of its own."""

    _producer_connection: Any = None

    @property
    def producer_connection(self) -> Any:
        """That connection."""
        if self._producer_connection is None:
            connection = self.connection.clone()
            connection.ensure_connection(self.on_connection_error, self.connect_max_retries)
            self._producer_connection = connection
        return self._producer_connection

    @property
    def producer(self) -> Producer:
        """A producer."""
        return Producer(self.producer_connection)

    def on_consume_end(self, connection: Any, channel: Any) -> None:
        """Closes that connection."""
        if self._producer_connection is not None:
            self._producer_connection.close()
            self._producer_connection = None
