"""Pools: things that are made once and used by one after the other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from umbel.contrib.celery.kombu_errors import ConnectionLimitExceeded

__all__ = ["ChannelPool", "ConnectionPool", "Resource", "fallback"]


class Resource:
    """A pool: ``with pool.acquire(block=True) as thing``. At most `limit` are in use at a time; None or 0: any number."""

    LimitExceeded = ConnectionLimitExceeded

    def __init__(self, limit: int | None = None, **unused: Any) -> None:
        self.limit = limit
        self._changed = threading.Condition()
        self._free: list[Any] = []
        self._used = 0
        self._pid = os.getpid()

    def new(self) -> Any:
        """Make one more."""
        raise NotImplementedError

    def close_resource(self, resource: Any) -> None:
        """Close one."""
        resource.close()

    def acquire(self, block: bool = False, timeout: float | None = None) -> Any:
        """One that nobody uses. `block`: wait for it, else LimitExceeded is raised."""
        if self._pid != os.getpid():
            self._changed, self._free, self._used, self._pid = threading.Condition(), [], 0, os.getpid()
        with self._changed:
            if not self._changed.wait_for(self._has_room, timeout if block else 0):
                raise self.LimitExceeded(f"All {self.limit} of the pool are in use.")
            self._used += 1
            resource = self._free.pop() if self._free else None
        try:
            resource = self.new() if resource is None else resource
        except BaseException:
            self._less()
            raise
        resource._pool = self
        return resource

    def _has_room(self) -> bool:
        return not self.limit or self._used < self.limit

    def _less(self) -> None:
        with self._changed:
            self._used = max(self._used - 1, 0)
            self._changed.notify()

    def release(self, resource: Any) -> None:
        """Give one back."""
        resource._pool = None
        with self._changed:
            self._free.append(resource)
        self._less()

    def replace(self, resource: Any) -> None:
        """Close one that is in use: it is broken."""
        resource._pool = None
        self.close_resource(resource)
        self._less()

    def force_close_all(self, close_pool: bool = True) -> None:
        """Close all that nobody uses."""
        with self._changed:
            free, self._free = self._free, []
        for resource in free:
            self.close_resource(resource)

    close = force_close_all

    def resize(self, limit: int | None, **unused: Any) -> None:
        """Change the limit."""
        with self._changed:
            self.limit = limit
            self._changed.notify_all()


class ConnectionPool(Resource):
    """A pool of connections."""

    def __init__(self, connection: Any, limit: int | None = None, **unused: Any) -> None:
        super().__init__(limit)
        self.connection = connection

    def new(self) -> Any:
        """One more."""
        return self.connection.clone()

    def close_resource(self, resource: Any) -> None:
        """Close one."""
        resource.collapse()

    @contextmanager
    def acquire_channel(self, block: bool = False) -> Iterator[tuple[Any, Any]]:
        """A connection and its default channel."""
        with self.acquire(block=block) as connection:
            yield connection, connection.default_channel


class ChannelPool(Resource):
    """A pool of channels."""

    def __init__(self, connection: Any, limit: int | None = None, **unused: Any) -> None:
        super().__init__(limit)
        self.connection = connection

    def new(self) -> Any:
        """One more."""
        return self.connection.channel()


@contextmanager
def fallback(provided: Any, otherwise: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    """`provided`, left open; when that is None, what `otherwise` makes, closed in the end."""
    if provided is not None:
        yield provided
    else:
        with otherwise() as made:
            yield made
