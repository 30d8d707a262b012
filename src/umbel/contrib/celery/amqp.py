"""``app.amqp``, as far as programs look at it: the queues, the router, and messages of tasks made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from umbel.codecs.protocol import sender_name
from umbel.codecs.reprs import safe_repr
from umbel.contrib.celery import messaging
from umbel.contrib.celery.common import Broadcast
from umbel.contrib.celery.pools import producers
from umbel.contrib.celery.queues import Exchange, Queue
from umbel.errors import CallError
from umbel.routing import declared_queues
from umbel.signals import after_task_publish, before_task_publish

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Amqp", "Queues", "Router", "task_message"]


class Queues(dict[str, Queue]):
    """The queues of the settings by name; ``consume_from`` are those that a worker here would consume."""

    def __init__(self, app: Umbel) -> None:
        super().__init__()
        self._app = app
        for name, queue in declared_queues(app.conf).items():
            self[name] = Queue(name, Exchange(queue.exchange, queue.exchange_type), queue.routing_key)

    @property
    def consume_from(self) -> dict[str, Queue]:
        """Those that are consumed."""
        return dict(self)

    def add(self, queue: Queue | str, **options: Any) -> Queue:
        """Add a queue, also to the settings."""
        queue = queue if isinstance(queue, Queue) else Queue(queue, **options)
        self[queue.name] = queue
        self._app.conf.task_queues = list(self.values())
        return queue

    def select(self, include: Iterable[str] | str | None) -> None:
        """Keep only these."""
        if include:
            names = [include] if isinstance(include, str) else list(include)
            self._app.conf.task_queues = [self.get(name) or Queue(name) for name in names]

    def deselect(self, exclude: Iterable[str] | str | None) -> None:
        """Keep all but these."""
        names = {exclude} if isinstance(exclude, str) else set(exclude or ())
        self._app.conf.task_queues = [queue for name, queue in self.items() if name not in names]

    def named(self, name: str) -> Queue:
        """The queue of this name, a plain one if it is not among the settings."""
        return self.get(name) or Queue(name, Exchange(name), name)


class task_message(NamedTuple):
    """The message of a task, before it is written."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: Any
    sent_event: dict[str, Any] | None


class Router:
    """``app.amqp.router``."""

    def __init__(self, app: Umbel, queues: Queues) -> None:
        self._app = app
        self.queues = queues

    def route(
        self,
        options: Mapping[str, Any] | None,
        name: str,
        args: Any = (),
        kwargs: Any = None,
        task_type: Any = None,
    ) -> dict[str, Any]:
        """The options of a call of the task `name`, with the queue that it goes to."""
        options = dict(options or {})
        router = self._app.client.planner.router()
        queue, routed = router.route(name, args or (), kwargs or {}, options, task_type)
        return {**routed, **options, "queue": self.queues.named(queue)}


class Amqp:
    """See the module."""

    argsrepr_maxsize = 1024
    kwargsrepr_maxsize = 1024

    def __init__(self, app: Umbel) -> None:
        self._app = app

    @property
    def queues(self) -> Queues:
        """As the settings say now."""
        return Queues(self._app)

    @property
    def default_queue(self) -> Queue:
        """Where a call goes when nothing else is said."""
        return self.queues.named(self._app.conf.task_default_queue)

    @property
    def default_exchange(self) -> Exchange:
        """The exchange of that queue."""
        return self.default_queue.exchange

    @property
    def router(self) -> Router:
        """As the settings say now."""
        return Router(self._app, self.queues)

    @property
    def utc(self) -> bool:
        """The setting enable_utc."""
        return bool(self._app.conf.enable_utc)

    # -- producers and consumers

    def Connection(self, *args: Any, **options: Any) -> Any:
        """``app.connection``."""
        return self._connection(*args, **options)

    def _connection(self, *args: Any, **options: Any) -> Any:
        connect: Any = self._app
        return connect.connection_for_write(*args, **options)

    def Producer(self, channel: Any, *args: Any, **options: Any) -> messaging.Producer:
        """A producer on a connection or channel."""
        return messaging.Producer(channel, *args, **options)

    def Consumer(self, channel: Any, *args: Any, **options: Any) -> messaging.Consumer:
        """A consumer on a connection or channel."""
        return messaging.Consumer(channel, *args, **options)

    def TaskConsumer(
        self, channel: Any, queues: Any = None, accept: Any = None, **options: Any
    ) -> messaging.Consumer:
        """A consumer of the queues of the settings, which reads what a worker would."""
        accept = self._app.conf.accept_content if accept is None else accept
        queues = list(self.queues.consume_from.values()) if queues is None else queues
        return messaging.Consumer(channel, queues, accept=accept, **options)

    @property
    def producer_pool(self) -> Any:
        """Producers for this app's broker."""
        return producers[self._connection()]

    publisher_pool = producer_pool

    # -- messages

    def create_task_message(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> task_message:
        """The message of a call, as the setting task_protocol says. Sending it is left to ``send_task_message``.

        `options`: countdown, eta, expires, retries, group_id, group_index, chord, callbacks, errbacks, chain, reply_to,
        time_limit, soft_time_limit, create_sent_event, root_id, parent_id, shadow, origin, ignore_result, argsrepr,
        kwargsrepr, stamped_headers, replaced_task_nesting.
        """
        make = self.as_task_v1 if self._app.conf.task_protocol == 1 else self.as_task_v2
        return make(task_id, name, args, kwargs, **options)

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> task_message:
        """A message of protocol 2."""
        args, kwargs, eta, expires = self._checked(args, kwargs, options)
        stamped = options.get("stamped_headers")
        shown = [
            safe_repr(value, most) if options.get(given) is None else options[given]
            for value, most, given in (
                (args, self.argsrepr_maxsize, "argsrepr"),
                (kwargs, self.kwargsrepr_maxsize, "kwargsrepr"),
            )
        ]
        headers = {
            "lang": "py",
            "task": name,
            "id": task_id,
            "shadow": options.get("shadow"),
            "eta": eta,
            "expires": expires,
            "group": options.get("group_id"),
            "group_index": options.get("group_index"),
            "retries": options.get("retries", 0),
            "timelimit": [options.get("time_limit"), options.get("soft_time_limit")],
            "root_id": options.get("root_id") or task_id,
            "parent_id": options.get("parent_id"),
            "argsrepr": shown[0],
            "kwargsrepr": shown[1],
            "origin": options.get("origin") or sender_name(),
            "ignore_result": options.get("ignore_result", False),
            "replaced_task_nesting": options.get("replaced_task_nesting", 0),
            "stamped_headers": stamped,
            "stamps": {header: options[header] for header in stamped or ()},
        }
        follow = {key: options.get(key) for key in ("callbacks", "errbacks", "chain", "chord")}
        told = ("root_id", "parent_id", "retries", "eta", "expires")
        event: dict[str, Any] = {"uuid": task_id, "name": name, "args": shown[0], "kwargs": shown[1]}
        event |= {key: headers[key] for key in told}
        return task_message(
            headers,
            {"correlation_id": task_id, "reply_to": options.get("reply_to") or ""},
            (args, kwargs, follow),
            event if options.get("create_sent_event") else None,
        )

    def as_task_v1(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> task_message:
        """A message of protocol 1."""
        args, kwargs, eta, expires = self._checked(args, kwargs, options)
        body = {
            "task": name,
            "id": task_id,
            "args": args,
            "kwargs": kwargs,
            "group": options.get("group_id"),
            "group_index": options.get("group_index"),
            "retries": options.get("retries", 0),
            "eta": eta,
            "expires": expires,
            "utc": self.utc,
            "callbacks": options.get("callbacks"),
            "errbacks": options.get("errbacks"),
            "timelimit": (options.get("time_limit"), options.get("soft_time_limit")),
            "taskset": options.get("group_id"),
            "chord": options.get("chord"),
        }
        event: dict[str, Any] = {
            "uuid": task_id,
            "name": name,
            "args": safe_repr(args),
            "kwargs": safe_repr(kwargs),
        }
        event |= {"retries": body["retries"], "eta": eta, "expires": expires}
        return task_message(
            {},
            {"correlation_id": task_id, "reply_to": options.get("reply_to") or ""},
            body,
            event if options.get("create_sent_event") else None,
        )

    def _checked(
        self, args: Any, kwargs: Any, options: Mapping[str, Any]
    ) -> tuple[Any, Any, str | None, str | None]:
        args, kwargs = args or (), kwargs or {}
        if not isinstance(args, list | tuple):
            raise TypeError("task args must be a list or tuple")
        if not isinstance(kwargs, Mapping):
            raise TypeError("task keyword arguments must be a mapping")
        eta = options.get("countdown") or options.get("eta")
        return args, kwargs, self._time(eta), self._time(options.get("expires"))

    def _time(self, value: Any) -> str | None:
        """Seconds from now, or a time, as ISO text."""
        if isinstance(value, int | float):
            value = self._app.now() + timedelta(seconds=value)
        return value.isoformat() if isinstance(value, datetime) else value or None

    def send_task_message(
        self, producer: Any, name: str, message: Any, queue: Any = None, **options: Any
    ) -> None:
        """Publish what ``create_task_message`` made, through `producer`.

        `options`: exchange, routing_key, exchange_type, serializer, compression, headers, declare, retry, retry_policy,
        delivery_mode; all others are properties of the message. Events of sending are not published.
        """
        headers, properties, body, _event = message
        headers = {**headers, **(options.pop("headers", None) or {})}
        conf = self._app.conf
        to = self._address(queue, options)
        declare = options.pop("declare", None)
        if declare is None:
            declare = [] if to[2] is None or isinstance(to[2], Broadcast) else [to[2]]
        retry = options.pop("retry", None)
        how = {
            "serializer": options.pop("serializer", None) or conf.task_serializer,
            "compression": options.pop("compression", None) or conf.task_compression,
            "retry": conf.task_publish_retry if retry is None else retry,
            "retry_policy": {
                **(conf.task_publish_retry_policy or {}),
                **(options.pop("retry_policy", None) or {}),
            },
        }
        for unused in ("event_dispatcher", "timeout", "confirm_timeout"):
            options.pop(unused, None)
        properties = {**properties, **options}
        told = {"body": body, "exchange": str(to[0]), "routing_key": to[1], "headers": headers}
        more = {"properties": properties, "declare": declare, "retry_policy": how["retry_policy"]}
        before_task_publish.send(name, **told, **more)
        address = {"exchange": to[0], "routing_key": to[1], "declare": declare}
        producer.publish(body, headers=headers, **address, **how, **properties)
        after_task_publish.send(name, **told)

    def _address(self, queue: Any, options: dict[str, Any]) -> tuple[Any, str, Queue | None]:
        """Exchange, routing key and queue of a message."""
        exchange, key = options.pop("exchange", None), options.pop("routing_key", None)
        kind = options.pop("exchange_type", None)
        if queue is None and exchange is None:
            queue = self.default_queue
        if isinstance(queue, str):
            queue = self.queues.named(queue)
        if queue is None:
            if exchange and key:
                return exchange, key, None
            raise CallError(f"A message for the exchange {exchange!s} needs a routing_key; nothing was sent.")
        kind = kind or queue.exchange.type
        if (not exchange or not key) and kind == "direct":
            return "", queue.name, queue
        if not exchange:
            return queue.exchange, key or queue.routing_key, queue
        return exchange, key or queue.routing_key, queue
