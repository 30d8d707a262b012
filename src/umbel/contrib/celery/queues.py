"""``kombu.Queue`` and ``kombu.Exchange``: descriptions for task_queues and routes; bound to a channel, what they describe.

>>> Queue("mail", Exchange("work", "topic"), routing_key="mail.#")
<Queue mail -> <Exchange work(topic)> -> mail.#>
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, Self

from umbel.contrib.celery.kombu_errors import NotBoundError
from umbel.contrib.celery.serialization import prepare_accept_content
from umbel.ids import new_id

__all__ = ["PERSISTENT_DELIVERY_MODE", "TRANSIENT_DELIVERY_MODE", "Exchange", "Queue", "binding"]

TRANSIENT_DELIVERY_MODE = 1
PERSISTENT_DELIVERY_MODE = 2
DELIVERY_MODES = {"transient": TRANSIENT_DELIVERY_MODE, "persistent": PERSISTENT_DELIVERY_MODE}


class Bindable:
    """What can be bound to a channel: ``thing(channel)`` is a copy that is."""

    name: str
    _channel: Any = None

    def __call__(self, channel: Any) -> Self:
        return self.bind(channel)

    def bind(self, channel: Any) -> Self:
        """A copy of it that is bound to `channel`, or to the default channel of a connection."""
        bound = copy.copy(self)
        bound.revive(channel)
        return bound

    def maybe_bind(self, channel: Any) -> Self:
        """Bind it in place, unless it is bound."""
        if not self.is_bound and channel is not None:
            self.revive(channel)
        return self

    def revive(self, channel: Any) -> None:
        """Bind it in place."""
        channel = channel() if callable(channel) else channel
        self._channel = getattr(channel, "default_channel", channel)

    @property
    def is_bound(self) -> bool:
        """Whether it has a channel."""
        return self._channel is not None

    @property
    def channel(self) -> Any:
        """The channel. Raises NotBoundError."""
        if self._channel is None:
            raise NotBoundError(
                f"{self!r} is not bound to a channel. Bind it first: bound = thing(connection.default_channel)."
            )
        return self._channel

    @property
    def can_cache_declaration(self) -> bool:
        """Whether ``maybe_declare`` may remember that it has been declared."""
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_channel"}


class Exchange(Bindable):
    """An exchange by name and type: direct, topic or fanout. Tasks are routed by the settings, messages by what is declared."""

    def __init__(self, name: str = "", type: str = "direct", channel: Any = None, **options: Any) -> None:
        self.name = name
        self.type = type or "direct"
        self.durable = options.pop("durable", True)
        self.auto_delete = options.pop("auto_delete", False)
        self.passive = options.pop("passive", False)
        self.no_declare = options.pop("no_declare", False)
        self.arguments = options.pop("arguments", None)
        mode = options.pop("delivery_mode", None)
        self.delivery_mode = DELIVERY_MODES.get(mode, mode)
        self.options = options
        self.maybe_bind(channel)

    def declare(self, nowait: bool = False, passive: bool | None = None, channel: Any = None) -> None:
        """Make its type known."""
        if self.name and not self.no_declare and not self.name.startswith("amq."):
            passive = self.passive if passive is None else passive
            (channel or self.channel).exchange_declare(exchange=self.name, type=self.type, passive=passive)

    def bind_to(self, exchange: Exchange | str = "", routing_key: str = "", **unused: Any) -> None:
        """Exchanges feed queues here, not one another."""
        self.channel.exchange_bind(destination=self.name, source=_name_of(exchange), routing_key=routing_key)

    unbind_from = bind_to

    def Message(self, body: Any, delivery_mode: Any = None, **options: Any) -> dict[str, Any]:
        """A message to be sent with ``publish``."""
        properties = options.pop("properties", None) or {}
        mode = DELIVERY_MODES.get(delivery_mode, delivery_mode) or self.delivery_mode
        properties["delivery_mode"] = mode or PERSISTENT_DELIVERY_MODE
        message: dict[str, Any] = self.channel.prepare_message(body, properties=properties, **options)
        return message

    def publish(self, message: Any, routing_key: str | None = None, **options: Any) -> None:
        """Send what ``Message`` made, or text."""
        if not isinstance(message, dict):
            message = self.Message(message)
        self.channel.basic_publish(message, exchange=self.name, routing_key=routing_key or "")

    def delete(self, if_unused: bool = False, nowait: bool = False) -> None:
        """Forget it and its bindings."""
        self.channel.exchange_delete(exchange=self.name)

    def binding(self, routing_key: str = "", arguments: Any = None, unbind_arguments: Any = None) -> binding:
        """A binding to it, for ``Queue(bindings=[...])``."""
        return binding(self, routing_key, arguments, unbind_arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exchange) and (self.name, self.type) == (other.name, other.type)

    def __hash__(self) -> int:
        return hash((self.name, self.type))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Exchange {self.name or chr(39) * 2}({self.type})>"


class binding:
    """One address of a queue that has several."""

    def __init__(
        self,
        exchange: Exchange | str | None = None,
        routing_key: str = "",
        arguments: Any = None,
        unbind_arguments: Any = None,
    ) -> None:
        self.exchange = exchange if isinstance(exchange, Exchange) else Exchange(exchange or "")
        self.routing_key = routing_key
        self.arguments = arguments
        self.unbind_arguments = unbind_arguments

    def declare(self, channel: Any, nowait: bool = False) -> None:
        """Declare the exchange."""
        self.exchange.declare(channel=channel)

    def bind(self, entity: Queue, nowait: bool = False, channel: Any = None) -> None:
        """Let the exchange feed a queue."""
        entity.bind_to(self.exchange, self.routing_key, channel=channel)

    def unbind(self, entity: Queue, nowait: bool = False, channel: Any = None) -> None:
        """Undo ``bind``."""
        entity.unbind_from(self.exchange, self.routing_key, channel=channel)

    def __repr__(self) -> str:
        return f"<binding: {self.exchange.name}->{self.routing_key}>"


class Queue(Bindable):
    """A queue: ``Queue("mail", Exchange("work"), routing_key="mail.#")``. An unnamed one gets a name when it is declared."""

    def __init__(
        self,
        name: str = "",
        exchange: Exchange | binding | str | None = None,
        routing_key: str | None = None,
        channel: Any = None,
        bindings: Iterable[binding] | None = None,
        on_declared: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        self.name = name
        self.bindings = list(bindings or ())
        if isinstance(exchange, binding):
            self.bindings.append(exchange)
            exchange = exchange.exchange
        self.exchange = exchange if isinstance(exchange, Exchange) else Exchange(exchange or "")
        self.routing_key = routing_key or ""
        self.on_declared = on_declared
        self.durable = options.pop("durable", True)
        self.exclusive = options.pop("exclusive", False)
        self.auto_delete = options.pop("auto_delete", False) or self.exclusive
        self.no_ack = options.pop("no_ack", False)
        self.no_declare = options.pop("no_declare", False)
        self.alias = options.pop("alias", None)
        for option in ("queue_arguments", "binding_arguments", "consumer_arguments", "max_priority"):
            setattr(self, option, options.pop(option, None))
        for option in ("expires", "message_ttl", "max_length", "max_length_bytes"):
            setattr(self, option, options.pop(option, None))
        self.options = options
        self.maybe_bind(channel)

    queue_arguments: Any
    max_priority: int | None

    @classmethod
    def from_dict(cls, queue: str, **options: Any) -> Queue:
        """A queue as ``task_queues`` describes it in a dict."""
        exchange = options.pop("exchange", None) or queue
        exchange_type = options.pop("exchange_type", None) or "direct"
        key = options.pop("binding_key", None) or options.pop("routing_key", None) or queue
        options.pop("routing_key", None)
        return cls(queue, Exchange(exchange, exchange_type), key, **options)

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """What it was made of."""
        names = ("name", "exchange", "routing_key", "durable", "exclusive", "auto_delete", "no_ack", "alias")
        shown = {name: getattr(self, name) for name in names}
        return {**shown, "exchange": self.exchange.name} if recurse else shown

    @property
    def can_cache_declaration(self) -> bool:
        """See ``Bindable``."""
        return bool(self.name) and not self.auto_delete

    def declare(self, nowait: bool = False, channel: Any = None) -> str:
        """Make it, its exchange and its bindings known. Returns its name."""
        if self.no_declare:
            return self.name
        channel = channel or self.channel
        self.exchange.declare(channel=channel)
        self.queue_declare(channel=channel)
        if self.exchange.name:
            self.queue_bind(channel=channel)
        for each in self.bindings:
            each.declare(channel)
            each.bind(self, channel=channel)
        return self.name

    def queue_declare(self, nowait: bool = False, passive: bool = False, channel: Any = None) -> Any:
        """Declare only the queue. Returns (name, messages that wait, consumers)."""
        self.name = self.name or f"amq.gen-{new_id()}"
        found = (channel or self.channel).queue_declare(queue=self.name, passive=passive)
        if self.on_declared is not None:
            self.on_declared(*found)
        return found

    def queue_bind(self, nowait: bool = False, channel: Any = None) -> None:
        """Let its exchange feed it."""
        self.bind_to(self.exchange, self.routing_key, channel=channel)

    def bind_to(
        self, exchange: Exchange | str = "", routing_key: str = "", channel: Any = None, **unused: Any
    ) -> None:
        """Let another exchange feed it too."""
        address = {"exchange": _name_of(exchange), "routing_key": routing_key}
        (channel or self.channel).queue_bind(queue=self.name, **address)

    def queue_unbind(self, arguments: Any = None, nowait: bool = False, channel: Any = None) -> None:
        """Undo ``queue_bind``."""
        self.unbind_from(self.exchange, self.routing_key, channel=channel)

    def unbind_from(
        self, exchange: Exchange | str = "", routing_key: str = "", channel: Any = None, **unused: Any
    ) -> None:
        """Undo ``bind_to``."""
        address = {"exchange": _name_of(exchange), "routing_key": routing_key}
        (channel or self.channel).queue_unbind(queue=self.name, **address)

    def get(self, no_ack: bool | None = None, accept: Any = None) -> Any:
        """The next message, or None when none waits."""
        no_ack = self.no_ack if no_ack is None else no_ack
        message = self.channel.basic_get(self.name, no_ack=no_ack)
        if message is not None:
            message.accept = prepare_accept_content(accept)
        return message

    def purge(self, nowait: bool = False) -> int:
        """Delete what waits. Returns how many messages."""
        return int(self.channel.queue_purge(self.name) or 0)

    def consume(
        self,
        consumer_tag: str = "",
        callback: Callable[..., Any] | None = None,
        no_ack: bool | None = None,
        **unused: Any,
    ) -> str:
        """Have `callback(message)` called for each message, by ``connection.drain_events()``. Returns the tag."""
        no_ack = self.no_ack if no_ack is None else no_ack
        return str(self.channel.basic_consume(self.name, callback, no_ack=no_ack, consumer_tag=consumer_tag))

    def cancel(self, consumer_tag: str) -> None:
        """Undo ``consume``."""
        self.channel.basic_cancel(consumer_tag)

    def delete(self, if_unused: bool = False, if_empty: bool = False, nowait: bool = False) -> int:
        """Delete it: what waits, and its bindings."""
        return int(self.channel.queue_delete(self.name, if_unused=if_unused, if_empty=if_empty) or 0)

    def __eq__(self, other: object) -> bool:
        mine = (self.name, self.exchange, self.routing_key)
        return isinstance(other, Queue) and mine == (other.name, other.exchange, other.routing_key)

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Queue {self.name} -> {self.exchange!r} -> {self.routing_key or self.name}>"


def _name_of(exchange: Exchange | str | None) -> str:
    return exchange.name if isinstance(exchange, Exchange) else exchange or ""
