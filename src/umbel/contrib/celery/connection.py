"""``kombu.Connection``: the way to a broker, and what is made of it."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any, Self

from umbel import portal
from umbel.backends import open_broker
from umbel.contrib.celery.channel import HOLDER, LEASE, Channel
from umbel.contrib.celery.kombu_errors import CHANNEL_ERRORS, CONNECTION_ERRORS
from umbel.contrib.celery.kombu_functional import retry_over_time
from umbel.contrib.celery.kombu_urls import as_url, sanitize_url, url_to_parts
from umbel.contrib.celery.messaging import Consumer, Producer, maybe_channel
from umbel.contrib.celery.resources import ChannelPool, ConnectionPool
from umbel.contrib.celery.simple import SimpleBuffer, SimpleQueue
from umbel.contrib.celery.topology import Topology, topology_of
from umbel.errors import CapabilityError
from umbel.ports import Broker

__all__ = ["Connection", "maybe_channel"]

_LOOK = 1.0
"""Seconds after which ``drain_events`` looks whether another thread has begun to consume something else."""
_OF_ENSURE = frozenset(
    {"max_retries", "interval_start", "interval_step", "interval_max", "retry_errors", "errback"}
)


class Connection:
    """``Connection("redis://localhost:6379/0")``. It connects when it is first used; closing it closes its channels.

    Several URLs in one, with ``;`` between them, are tried one after the other. `options`: port, transport, ssl,
    transport_options, connect_timeout; failover_strategy, login_method and heartbeat are taken and not used.
    """

    connection_errors = CONNECTION_ERRORS
    recoverable_connection_errors = CONNECTION_ERRORS
    channel_errors = CHANNEL_ERRORS
    recoverable_channel_errors = CHANNEL_ERRORS
    supports_heartbeats = False
    is_evented = False
    qos_semantics_matches_spec = True

    def __init__(
        self,
        hostname: str | list[str] | None = "localhost",
        userid: str | None = None,
        password: str | None = None,
        virtual_host: str | None = None,
        **options: Any,
    ) -> None:
        urls = hostname.split(";") if isinstance(hostname, str) else list(hostname or ["localhost"])
        login = {"user": userid, "password": password, "path": virtual_host}
        scheme, port = options.get("transport") or "amqp", options.get("port")
        self._urls = [url if "://" in url else as_url(scheme, url, port, **login) for url in urls if url]
        self.transport_options: dict[str, Any] = dict(options.get("transport_options") or {})
        self.ssl = options.get("ssl")
        self.connect_timeout = options.get("connect_timeout")
        self.heartbeat = options.get("heartbeat")
        self._lock = threading.RLock()
        self._forget()
        self._pool: ConnectionPool | None = None

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._broker: Broker | None = None
        self._opened = False
        self._channels: list[Channel] = []
        self._default: Channel | None = None
        self.declared_entities: set[Any] = set()

    # -- what it is

    @property
    def url(self) -> str:
        """The URL that is used now, with its password."""
        return self._urls[0]

    def as_uri(self, include_password: bool = False, mask: str = "**") -> str:
        """The URL, without its password unless asked for."""
        return self.url if include_password else sanitize_url(self.url, mask)

    def info(self) -> dict[str, Any]:
        """What it was made of."""
        parts = url_to_parts(self.url)
        return {
            "hostname": parts.hostname,
            "userid": parts.username,
            "password": parts.password,
            "virtual_host": parts.path,
            "port": parts.port,
            "transport": parts.scheme,
            "transport_options": self.transport_options,
            "ssl": self.ssl,
            "uri_prefix": None,
        }

    def __getattr__(self, name: str) -> Any:
        if name in ("hostname", "userid", "password", "virtual_host", "port"):
            return self.info()[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def transport_cls(self) -> str:
        """The scheme of the URL."""
        return url_to_parts(self.url).scheme

    @property
    def transport(self) -> Any:
        """What it says of the driver."""
        kind = self.transport_cls
        return SimpleNamespace(
            driver_type=kind,
            driver_name="umbel",
            connection_errors=self.connection_errors,
            channel_errors=self.channel_errors,
        )

    @property
    def host(self) -> str:
        """Host and port."""
        parts = url_to_parts(self.url)
        return f"{parts.hostname or 'localhost'}:{parts.port or ''}".rstrip(":")

    @property
    def client(self) -> Self:
        """Itself: kombu's channels have it behind another object."""
        return self

    def supports_exchange_type(self, exchange_type: str) -> bool:
        """Whether there are exchanges of this type."""
        return exchange_type in ("direct", "topic", "fanout")

    # -- being connected

    @property
    def broker(self) -> Broker:
        """Umbel's broker behind it."""
        with self._lock:
            if self._pid != os.getpid():  # the sockets and the messages are the parent's
                self._forget()
            if self._broker is None:
                self._broker = open_broker(self.url, self._broker_options())
            return self._broker

    def _broker_options(self) -> dict[str, Any]:
        given = {k: v for k, v in self.transport_options.items() if k not in _OF_ENSURE}
        if not self.transport_cls.startswith(("redis", "unix", "sentinel")):
            return {}
        if self.ssl:
            given.setdefault("ssl", self.ssl)
        if self.connect_timeout:
            given.setdefault("socket_connect_timeout", self.connect_timeout)
        return given

    @property
    def topology(self) -> Topology:
        """The exchanges of the broker."""
        return topology_of(self.broker.url)

    def connect(self) -> Self:
        """Connect now. Raises BrokerUnavailable, which is kombu's OperationalError too."""
        try:
            portal.run(self.broker.open())
        except CONNECTION_ERRORS:
            self._drop()
            self.maybe_switch_next()
            raise
        self._opened = True
        return self

    @property
    def connection(self) -> Self:
        """Itself, connected."""
        return self if self.connected else self.connect()

    @property
    def connected(self) -> bool:
        """Whether it has connected, and was not closed."""
        return self._opened and self._pid == os.getpid()

    def maybe_switch_next(self) -> None:
        """Use the next of several URLs."""
        self._urls.append(self._urls.pop(0))

    def ensure_connection(
        self, errback: Callable[..., Any] | None = None, max_retries: int | None = None, **policy: Any
    ) -> Self:
        """Connect, and try again `max_retries` times (None: for ever). ``errback(exc, interval)`` is told of each failure."""
        if self.connected:
            return self

        def failed(exc: Exception, intervals: Iterator[float], retries: int) -> float:
            pause = 0.0 if retries < len(self._urls) - 1 else next(intervals)
            if errback is not None:
                errback(exc, pause)
            return pause

        policy.pop("reraise_as_library_errors", None)
        retry_over_time(self.connect, CONNECTION_ERRORS, errback=failed, max_retries=max_retries, **policy)
        return self

    def ensure(
        self,
        obj: Any,
        fun: Callable[..., Any],
        errback: Callable[..., Any] | None = None,
        max_retries: int | None = None,
        **policy: Any,
    ) -> Callable[..., Any]:
        """`fun`, to be called again when the connection breaks: ``connection.ensure(producer, producer.publish)(body)``."""
        start, step = policy.get("interval_start", 1), policy.get("interval_step", 1)
        most, on_revive = policy.get("interval_max", 1), policy.get("on_revive")
        caught = (*CONNECTION_ERRORS, *(policy.get("retry_errors") or ()))

        def ensured(*args: Any, **kwargs: Any) -> Any:
            for tries in count():
                try:
                    return fun(*args, **kwargs)
                except caught as exc:
                    if max_retries is not None and tries >= max_retries:
                        raise
                    pause = min(start + step * tries, most)
                    if errback is not None:
                        errback(exc, pause)
                    time.sleep(pause)
                    if obj is not None and hasattr(obj, "revive") and on_revive is not None:
                        on_revive(self.default_channel)
            return None

        return ensured

    def autoretry(
        self, fun: Callable[..., Any], channel: Any = None, **policy: Any
    ) -> Callable[..., tuple[Any, Any]]:
        """``ensure`` for functions that want a channel: ``fun(..., channel=...)``. Returns its result and the channel."""

        def call(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
            used = channel if channel is not None and not channel.closed else self.default_channel
            return fun(*args, channel=used, **kwargs), used

        return self.ensure(self, call, **policy)

    def _drop(self) -> None:
        with self._lock:
            broker, self._broker, self._opened = self._broker, None, False
        if broker is not None:
            portal.run(broker.close())

    def release(self) -> None:
        """Close it, or give it back to its pool. It may be used again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.release(self)
        else:
            self.collapse()

    close = release

    def collapse(self) -> None:
        """Close it: what its channels have not settled goes back."""
        if self._pid == os.getpid():
            try:
                for channel in list(self._channels):
                    channel.close()
            finally:
                self._drop()
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.release()

    def clone(self, **changes: Any) -> Self:
        """Another one like it."""
        if changes:
            hostname = changes.pop("hostname", ";".join(self._urls))
            options = {"transport_options": self.transport_options, "ssl": self.ssl, **changes}
            return type(self)(hostname, **options)
        other = copy.copy(self)
        other._lock = threading.RLock()
        other._urls = list(self._urls)
        other._forget()
        other._pool = None
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (";".join(self._urls), self.transport_options, self.ssl)

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()} at {id(self):#x}>"

    # -- channels

    def channel(self) -> Channel:
        """Open a channel."""
        channel = Channel(self.connection)
        self._channels.append(channel)
        return channel

    @property
    def default_channel(self) -> Channel:
        """The channel of those who open none. Connects, and gives up after some tries."""
        self.ensure_connection(
            max_retries=self.transport_options.get("max_retries", 3),
            interval_start=self.transport_options.get("interval_start", 0.2),
            interval_step=self.transport_options.get("interval_step", 0.2),
            interval_max=self.transport_options.get("interval_max", 1),
        )
        if self._default is None or self._default.closed:
            self._default = self.channel()
        return self._default

    def forget_channel(self, channel: Channel) -> None:
        """A channel has been closed."""
        if channel in self._channels:
            self._channels.remove(channel)

    def drain_events(self, timeout: float | None = None, **unused: Any) -> None:
        """Receive a message and hand it to its consumer. Raises ``socket.timeout`` when none comes within `timeout` seconds."""
        broker = self.connection.broker
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            wanted = {queue: channel for channel in self._channels for queue in channel.wanted()}
            left = _LOOK if end is None else min(_LOOK, end - time.monotonic())
            left = max(left, 0.0)
            if wanted:
                queues = list(wanted)
                for delivery in portal.run(
                    broker.reserve(queues, limit=1, lease=LEASE, wait=left, holder=HOLDER)
                ):
                    channel = wanted[delivery.receipt.queue]
                    # Of several channels that consume one queue, each gets its turn.
                    self._channels.sort(key=lambda each, last=channel: each is not last)  # type: ignore[misc]
                    channel.deliver(delivery)
                    return
            else:
                time.sleep(min(left, 0.05))
            if end is not None and time.monotonic() >= end:
                raise TimeoutError("timed out")

    def heartbeat_check(self, rate: int = 2) -> None:
        """Nothing has to be sent."""

    def get_heartbeat_interval(self) -> float:
        """None are sent."""
        return 0

    def register_with_event_loop(self, loop: Any) -> None:
        """Not possible."""
        raise CapabilityError(
            "A connection cannot be driven by kombu's event loop here. Call connection.drain_events() in a thread of its own."
        )

    # -- what is made of it

    def Producer(self, channel: Any = None, *args: Any, **options: Any) -> Producer:
        """A producer on this connection."""
        return Producer(channel or self, *args, **options)

    def Consumer(self, queues: Any = None, channel: Any = None, *args: Any, **options: Any) -> Consumer:
        """A consumer on this connection."""
        return Consumer(channel or self, queues, *args, **options)

    def SimpleQueue(self, name: Any, no_ack: bool | None = None, **options: Any) -> SimpleQueue:
        """A queue with ``get`` and ``put``."""
        return SimpleQueue(options.pop("channel", None) or self, name, no_ack, **options)

    def SimpleBuffer(self, name: Any, no_ack: bool | None = None, **options: Any) -> SimpleBuffer:
        """The same for messages that may be lost."""
        return SimpleBuffer(options.pop("channel", None) or self, name, no_ack, **options)

    def Pool(self, limit: int | None = None, **unused: Any) -> ConnectionPool:
        """A pool of connections like this one."""
        return ConnectionPool(self, limit)

    def ChannelPool(self, limit: int | None = None, **unused: Any) -> ChannelPool:
        """A pool of channels of this connection."""
        return ChannelPool(self, limit)


def _rebuilt(url: str, transport_options: dict[str, Any], ssl: Any) -> Connection:
    return Connection(url, transport_options=transport_options, ssl=ssl)
