"""``celery.app.routes``: tables of routes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import Any

from umbel.contrib.celery.queues import Queue
from umbel.contrib.celery.utils.caching import mlazy
from umbel.contrib.celery.utils.functional import maybe_evaluate
from umbel.contrib.celery.utils.imports import symbol_by_name
from umbel.errors import CallError

__all__ = ["MapRoute", "QueueNotFound", "Router", "expand_router_string", "prepare"]


class QueueNotFound(CallError, KeyError):
    """A call was routed to a queue that is not in task_queues."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MapRoute:
    """A route from a table of names, patterns with ``*`` and regular expressions."""

    def __init__(self, map: Any) -> None:
        self.map: dict[str, Any] = {}
        self.patterns: dict[re.Pattern[str], Any] = {}
        for key, where in map.items() if isinstance(map, Mapping) else map:
            if isinstance(key, re.Pattern):
                self.patterns[key] = where
            elif "*" in key:
                self.patterns[re.compile(fnmatch.translate(key))] = where
            else:
                self.map[key] = where

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Where the task `name` goes; None when the table does not say."""
        found = self.map.get(name)
        if found is None:
            found = next((where for pattern, where in self.patterns.items() if pattern.match(name)), None)
        if found is None:
            return None
        return dict(found) if isinstance(found, Mapping) else {"queue": found}


def expand_router_string(router: str) -> Any:
    """The router of that name."""
    found = symbol_by_name(router)
    if hasattr(found, "route_for_task"):
        return (found() if isinstance(found, type) else found).route_for_task
    return found


def prepare(routes: Any) -> Any:
    """A list of routers of the setting task_routes."""
    if routes is None:
        return ()
    return [_router(route) for route in (routes if isinstance(routes, list | tuple) else (routes,))]


def _router(route: Any) -> Any:
    if isinstance(route, Mapping | list | tuple):
        return MapRoute(route)
    return mlazy(expand_router_string, route) if isinstance(route, str) else route


class Router:
    """Says where calls go, by a list of routers."""

    def __init__(
        self, routes: Any = None, queues: Any = None, create_missing: bool = False, app: Any = None
    ) -> None:
        self.app = app
        self.queues: Any = {} if queues is None else queues
        self.routes = [] if routes is None else routes
        self.create_missing = create_missing

    def route(
        self, options: dict[str, Any], name: str, args: Any = (), kwargs: Any = None, task_type: Any = None
    ) -> dict[str, Any]:
        """The options of a call, with its queue among them. What the call says goes before what a route says."""
        own = self.expand_destination({k: v for k, v in options.items() if v is not None})
        found = {} if "queue" in own else self.lookup_route(name, args, kwargs, options, task_type) or {}
        together = {**self.expand_destination(found), **own}
        if "queue" not in together and self.app is not None:
            return {**together, **self.expand_destination(self.app.conf.task_default_queue)}
        return together

    def expand_destination(self, route: Any) -> dict[str, Any]:
        """A route with its queue as an object."""
        if isinstance(route, str):
            route = {"queue": route}
        wanted = {key: value for key, value in route.items() if key != "queue"}
        name = route.get("queue")
        if not name:
            return wanted
        if isinstance(name, Queue):
            return {**wanted, "queue": name}
        if name not in self.queues and not self._may_create():
            raise QueueNotFound(f"Queue {name!r} missing from task_queues")
        return {**wanted, "queue": self.queues.get(name) or Queue(name, name, name)}

    def _may_create(self) -> bool:
        return self.create_missing or bool(
            getattr(self.queues, "create_missing", self.app and not self.app.conf.task_queues)
        )

    def lookup_route(
        self, name: str, args: Any = None, kwargs: Any = None, options: Any = None, task_type: Any = None
    ) -> Any:
        """What the first router says that knows the task."""
        for router in self.routes:
            found = self.query_router(router, name, args, kwargs, options, task_type)
            if found is not None:
                return found
        return None

    def query_router(
        self, router: Any, task: str, args: Any, kwargs: Any, options: Any, task_type: Any
    ) -> dict[str, Any] | str | None:
        """What one router says."""
        router = maybe_evaluate(router)
        function: Callable[..., Any] = getattr(router, "route_for_task", router)
        return function(task, args, kwargs, options, task=task_type)  # type: ignore[no-any-return]
