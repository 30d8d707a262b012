"""Which queue a call goes to: ``task_routes``, ``task_queues`` and the destinations that a call names itself.

What is said nearer to the call wins: the call's own ``queue`` (or ``exchange`` and ``routing_key``), the task's, the
route's, the default queue.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec

from umbel import context
from umbel.errors import CallError, ConfigurationError

__all__ = ["ADDRESS", "Queue", "Router", "consumed_queues", "declared_queues"]

ADDRESS = ("queue", "exchange", "routing_key")
"""The options that say where a call goes."""

Route = Mapping[str, Any]
RouteFunction = Callable[..., "Route | str | None"]


class Queue(msgspec.Struct, frozen=True):
    """A queue of ``task_queues`` and the addresses under which messages reach it."""

    name: str
    exchange: str = ""
    exchange_type: str = "direct"
    routing_key: str = ""

    def takes(self, exchange: str, routing_key: str) -> bool:
        """Whether a message with this address belongs here."""
        if exchange != self.exchange:
            return False
        if self.exchange_type == "fanout":
            return True
        if self.exchange_type == "topic":
            return routing_key == self.routing_key or bool(_topic(self.routing_key).match(routing_key))
        return routing_key == self.routing_key


def _topic(pattern: str) -> re.Pattern[str]:
    """AMQP's patterns: words between dots, ``*`` for one word, ``#`` for any number of them."""
    parts = (re.escape(part) for part in pattern.split("."))
    text = r"\.".join({r"\*": r"[^.]+", r"\#": ".*", "#": ".*"}.get(part, part) for part in parts)
    return re.compile(text.replace(r"\..*", r"(?:\..*)?").replace(r".*\.", r"(?:.*\.)?") + r"\Z")


def declared_queues(conf: Any) -> dict[str, Queue]:
    """The queues of ``task_queues`` by name; without any, the default queue. Never empty."""
    declared = conf.task_queues
    if not declared:
        name = conf.task_default_queue
        return {name: Queue(name, *_address(name, _default_address(conf)))}
    if isinstance(declared, str) or not isinstance(declared, Mapping | Iterable):
        raise ConfigurationError(f"task_queues must be a list or a dict of queues, not {declared!r}.")
    pairs = declared.items() if isinstance(declared, Mapping) else ((q, None) for q in declared)
    queues = [_declared(key, options, conf) for key, options in pairs]
    return {queue.name: queue for queue in queues}


def consumed_queues(conf: Any) -> tuple[str, ...]:
    """What a worker without ``-Q`` consumes: the declared queues, and those of the web framework. Never empty."""
    framework = context.state.integration
    more = () if framework is None else framework.queues(conf)
    return tuple(dict.fromkeys([*declared_queues(conf), *more]))


def _default_address(conf: Any) -> dict[str, Any]:
    return {
        "exchange": conf.task_default_exchange,
        "exchange_type": conf.task_default_exchange_type,
        "routing_key": conf.task_default_routing_key,
    }


def _address(name: str, options: Mapping[str, Any]) -> tuple[str, str, str]:
    return (
        options.get("exchange") or name,
        options.get("exchange_type") or "direct",
        options.get("routing_key") or options.get("binding_key") or name,
    )


def _declared(key: Any, options: Any, conf: Any) -> Queue:
    if isinstance(key, Queue):
        return key
    defaults = _default_address(conf)
    if isinstance(key, str) and (options is None or isinstance(options, Mapping)):
        given = {k: v for k, v in (options or {}).items() if v}
        return Queue(key, *_address(key, {**(defaults if options is None else {}), **given}))
    described = options if isinstance(key, str) else key
    name = getattr(described, "name", None)
    if not isinstance(name, str):
        raise ConfigurationError(
            f"task_queues holds {key!r}, which is neither a name nor a queue with a name and an exchange."
        )
    # kombu.Queue and what looks like it
    exchange = getattr(described, "exchange", None)
    address = {
        "exchange": exchange if isinstance(exchange, str) else getattr(exchange, "name", None),
        "exchange_type": getattr(exchange, "type", None),
        "routing_key": getattr(described, "routing_key", None),
    }
    return Queue(name, *_address(name, address))


class Router:
    """Answers for one state of the settings; made anew when they change."""

    def __init__(self, conf: Any) -> None:
        self._default: str = conf.task_default_queue
        self._may_create: bool = conf.task_create_missing_queues
        self._has_queues = bool(conf.task_queues)
        self.queues = declared_queues(conf)
        routes = conf.task_routes
        if routes is None:
            routes = ()
        elif not isinstance(routes, list | tuple) or _is_table(routes):
            routes = (routes,)
        self._routes = [_prepared(route) for route in routes]
        self.dynamic = any(dynamic for _, dynamic in self._routes)
        """Routes may depend on arguments: ask again for every call."""

    def route(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None
    ) -> tuple[str, dict[str, Any]]:
        """The queue for a call of task `name`, and the other options that its route sets.

        `options` are those that task and call name: an address among them (``queue``, or ``exchange`` and
        ``routing_key``) goes before that of the route, as a whole. Raises CallError when no queue answers to it.
        """
        found = self._lookup(name, args, kwargs, options, task)
        address = {k: options[k] for k in ADDRESS if options.get(k) is not None} or found
        return self._destination(address), {k: v for k, v in found.items() if k not in ADDRESS}

    def _lookup(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any
    ) -> dict[str, Any]:
        for function, _ in self._routes:
            found = function(name, args, kwargs, dict(options), task=task)
            if found is not None:
                return dict(found) if isinstance(found, Mapping) else {"queue": found}
        return {}

    def _destination(self, address: Mapping[str, Any]) -> str:
        queue, exchange, key = (address.get(part) for part in ADDRESS)
        if queue is not None:
            return self._existing(_name_of(queue))
        if exchange is None and key is None:
            return self._default
        if key is not None and not isinstance(key, str):
            raise CallError(f"A routing key must be a string, not {key!r}.")
        return self._addressed(_name_of(exchange) if exchange else "", key)

    def _existing(self, queue: str) -> str:
        if queue in self.queues or self._may_create:
            return queue
        close = difflib.get_close_matches(queue, self.queues, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise CallError(
            f"The queue {queue!r} is not in task_queues, and task_create_missing_queues is off.{hint} Nothing was sent."
        )

    def _addressed(self, exchange: str, key: str | None) -> str:
        default = self.queues.get(self._default)
        if not exchange and key and (key in self.queues or not self._has_queues):
            return self._existing(key)  # AMQP's default exchange: the routing key is the queue
        if default is not None:
            exchange = exchange or default.exchange
            key = default.routing_key if key is None else key
        for queue in self.queues.values():
            if queue.takes(exchange, key or ""):
                return queue.name
        raise CallError(
            f"No queue of task_queues is bound to exchange {exchange!r} with routing key {key!r}; nothing was sent. "
            "Name the queue instead: queue=..."
        )


def _name_of(thing: Any) -> str:
    name = thing if isinstance(thing, str) else getattr(thing, "name", None)
    if not isinstance(name, str):
        raise CallError(f"A queue or exchange must be a name or have one, not {thing!r}.")
    return name


def _prepared(route: Any) -> tuple[RouteFunction, bool]:
    """A function for one entry of ``task_routes``, and whether its answer may differ from call to call."""
    if isinstance(route, Mapping):
        return _table(list(route.items())), False
    if isinstance(route, list | tuple):
        return _table([tuple(pair) for pair in route]), False
    if isinstance(route, str):
        route = _imported(route)
    if hasattr(route, "route_for_task"):
        router: Any = route() if isinstance(route, type) else route
        return lambda name, args, kwargs, options, task=None: router.route_for_task(name, args, kwargs), True
    if not callable(route):
        raise ConfigurationError(f"task_routes holds {route!r}, which is neither a dict nor a function.")
    return cast(RouteFunction, route), True


def _is_table(routes: Any) -> bool:
    """Whether it is a list of (pattern, route), a dict whose order is certain, rather than a list of routers."""
    return bool(routes) and all(
        isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str | re.Pattern)
        for entry in routes
    )


def _table(pairs: list[tuple[Any, Any]]) -> RouteFunction:
    exact: dict[str, Any] = {}
    patterns: list[tuple[re.Pattern[str], Any]] = []
    for key, value in pairs:
        if isinstance(key, re.Pattern):
            patterns.append((key, value))
        elif "*" in key:
            patterns.append((re.compile(fnmatch.translate(key)), value))
        else:
            exact[key] = value

    def lookup(name: str, *_args: Any, **_kwargs: Any) -> Any:
        if name in exact:
            return exact[name]
        return next((value for pattern, value in patterns if pattern.match(name)), None)

    return lookup


def _imported(path: str) -> Any:
    module, _, attribute = path.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigurationError(f"task_routes names {path!r}, which cannot be imported: {exc}.") from exc
