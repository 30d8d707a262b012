"""``kombu.Queue`` and ``kombu.Exchange``: descriptions, for task_queues and routes."""

from __future__ import annotations

from typing import Any

__all__ = ["Exchange", "Queue"]


class Exchange:
    """An exchange by name and type. Umbel routes by the settings; nothing is declared on a server."""

    def __init__(self, name: str = "", type: str = "direct", channel: Any = None, **options: Any) -> None:
        self.name = name
        self.type = type or "direct"
        self.durable = options.pop("durable", True)
        self.options = options

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exchange) and (self.name, self.type) == (other.name, other.type)

    def __hash__(self) -> int:
        return hash((self.name, self.type))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Exchange {self.name or chr(39) * 2}({self.type})>"


class Queue:
    """A queue: ``Queue("mail", Exchange("work"), routing_key="mail.#")``."""

    def __init__(
        self,
        name: str = "",
        exchange: Exchange | str | None = None,
        routing_key: str | None = None,
        channel: Any = None,
        **options: Any,
    ) -> None:
        self.name = name
        self.exchange = exchange if isinstance(exchange, Exchange) else Exchange(exchange or "")
        self.routing_key = routing_key or ""
        self.durable = options.pop("durable", True)
        self.exclusive = options.pop("exclusive", False)
        self.auto_delete = options.pop("auto_delete", False)
        self.queue_arguments = options.pop("queue_arguments", None)
        self.max_priority = options.pop("max_priority", None)
        self.options = options

    def __eq__(self, other: object) -> bool:
        mine = (self.name, self.exchange, self.routing_key)
        return isinstance(other, Queue) and mine == (other.name, other.exchange, other.routing_key)

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Queue {self.name} -> {self.exchange!r} -> {self.routing_key or self.name}>"
