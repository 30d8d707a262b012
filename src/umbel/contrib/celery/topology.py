"""Exchanges and the queues that they feed: of which type they are, and who gets a message.

Which queues an exchange feeds stands on the broker where it keeps such tables (Redis, in kombu's form), else in this process.
The type of an exchange is known to who declares it; of one that nobody here has declared the bindings tell.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from umbel import portal
from umbel.contrib.celery.kombu_errors import ChannelError, NotEquivalentError
from umbel.errors import CapabilityError
from umbel.ports import Bindings, Broker

__all__ = ["Topology", "topology_of"]

TYPES = ("direct", "topic", "fanout")
Binding = tuple[str, str, str]

_WILDCARDS = {"*": r"[^\.]+", "#": ".*?"}


def topic_pattern(routing_key: str) -> str:
    """The regular expression by which kombu knows the topics of `routing_key`.

    >>> topic_pattern("mail.*.#")
    '^mail\\\\.[^\\\\.]+\\\\..*?$'
    """
    words = (_WILDCARDS.get(word) or _escaped(word) for word in routing_key.split("."))
    return "^" + r"\.".join(words) + "$"


def _escaped(word: str) -> str:
    return re.sub(r"[^a-zA-Z0-9*#]", lambda found: f"\\{found[0]}", word)


class Topology:
    """What is known of the exchanges of one broker, by all connections of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._types: dict[str, str] = {}
        self._tables: dict[str, set[Binding]] = {}
        self.queues: set[str] = set()
        """Those that were declared here."""

    def declare(self, exchange: str, type: str, passive: bool = False) -> None:
        """Make the type of an exchange known. `passive`: raise ChannelError when it is not known yet."""
        if type not in TYPES:
            raise CapabilityError(
                f"The exchange {exchange!r} has the type {type!r}; there are {', '.join(TYPES)}. "
                "Instead of headers, route by words of the routing key of a topic exchange."
            )
        with self._lock:
            known = self._types.get(exchange)
            if passive:
                if known is None:
                    raise ChannelError(f"NOT_FOUND - no exchange {exchange!r} has been declared here.")
            elif known is not None and known != type:
                raise NotEquivalentError(
                    f"The exchange {exchange!r} has been declared as {known}; it cannot become {type} now."
                )
            else:
                self._types[exchange] = type

    def forget(self, broker: Broker, exchange: str) -> None:
        """Forget an exchange and its bindings."""
        for binding in self._table(broker, exchange):
            self._remove(broker, exchange, binding)
        with self._lock:
            self._types.pop(exchange, None)

    def bind(self, broker: Broker, exchange: str, routing_key: str, queue: str) -> None:
        """Let `exchange` feed `queue`."""
        binding = (routing_key, self._pattern(exchange, routing_key), queue)
        if isinstance(broker, Bindings):
            portal.run(broker.bind(exchange, binding))
        with self._lock:
            self._tables.setdefault(exchange, set()).add(binding)

    def unbind(self, broker: Broker, exchange: str, routing_key: str, queue: str) -> None:
        """Undo ``bind``."""
        self._remove(broker, exchange, (routing_key, self._pattern(exchange, routing_key), queue))

    def unbind_all(self, broker: Broker, queue: str) -> None:
        """Undo every ``bind`` of `queue` that was made here."""
        with self._lock:
            self.queues.discard(queue)
            found = [
                (exchange, b) for exchange, table in self._tables.items() for b in table if b[2] == queue
            ]
        for exchange, binding in found:
            self._remove(broker, exchange, binding)

    def _remove(self, broker: Broker, exchange: str, binding: Binding) -> None:
        if isinstance(broker, Bindings):
            portal.run(broker.unbind(exchange, binding))
        with self._lock:
            self._tables.get(exchange, set()).discard(binding)

    def _pattern(self, exchange: str, routing_key: str) -> str:
        return topic_pattern(routing_key) if self._types.get(exchange) == "topic" else ""

    def _table(self, broker: Broker, exchange: str) -> Sequence[Binding]:
        if isinstance(broker, Bindings):
            return portal.run(broker.bindings(exchange))
        with self._lock:
            return sorted(self._tables.get(exchange, ()))

    def targets(self, broker: Broker, exchange: str, routing_key: str) -> list[str]:
        """The queues that a message goes to. None: nobody wants it."""
        if not exchange:
            return [routing_key] if routing_key else []
        table = self._table(broker, exchange)
        kind = self._types.get(exchange)
        if kind is None:
            kind = "topic" if any(pattern for _, pattern, _ in table) else "direct"
        if kind == "fanout":
            found = [queue for _, _, queue in table]
        elif kind == "topic":
            found = [queue for key, pattern, queue in table if _takes(key, pattern, routing_key)]
        else:
            found = [queue for key, _, queue in table if key == routing_key]
        return list(dict.fromkeys(filter(None, found)))


def _takes(key: str, pattern: str, routing_key: str) -> bool:
    return re.match(pattern or topic_pattern(key), routing_key) is not None


_lock = threading.Lock()
_topologies: dict[str, Topology] = {}


def topology_of(url: str) -> Topology:
    """What is known of the broker at `url`."""
    with _lock:
        return _topologies.setdefault(url, Topology())
