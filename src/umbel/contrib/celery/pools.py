"""``kombu.pools``: ``with producers[connection].acquire(block=True) as producer``."""

from __future__ import annotations

import threading
from typing import Any

from umbel.contrib.celery.messaging import Producer
from umbel.contrib.celery.resources import ConnectionPool, Resource

__all__ = [
    "PoolGroup",
    "ProducerPool",
    "connections",
    "get_limit",
    "producers",
    "register_group",
    "reset",
    "set_limit",
]

_limit: list[int | None] = [10]


class ProducerPool(Resource):
    """A pool of producers, each with a connection of a pool."""

    def __init__(
        self, connections: ConnectionPool, limit: int | None = None, Producer: Any = Producer
    ) -> None:
        super().__init__(limit)
        self.connections = connections
        self.Producer = Producer

    def new(self) -> Any:
        """One more."""
        return self.Producer(self.connections.acquire(block=True))

    def close_resource(self, resource: Any) -> None:
        """Give its connection back."""
        resource.connection.release()


class PoolGroup:
    """The pools of all connections; those to the same place share one."""

    def __init__(self, limit: int | None = None) -> None:
        self._lock = threading.RLock()
        self._pools: dict[Any, Any] = {}

    def create(self, connection: Any, limit: int | None) -> Any:
        """A pool for a connection."""
        raise NotImplementedError

    def __getitem__(self, connection: Any) -> Any:
        key = (connection.as_uri(include_password=True), repr(connection.transport_options))
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self.create(connection, get_limit())
            return self._pools[key]

    def values(self) -> list[Any]:
        """All pools."""
        return list(self._pools.values())

    def clear(self) -> None:
        """Forget all pools."""
        self._pools.clear()


class _Connections(PoolGroup):
    def create(self, connection: Any, limit: int | None) -> ConnectionPool:
        return ConnectionPool(connection, limit)


class _Producers(PoolGroup):
    def create(self, connection: Any, limit: int | None) -> ProducerPool:
        return ProducerPool(connections[connection], limit)


connections = _Connections()
producers = _Producers()
_groups: list[PoolGroup] = [producers, connections]


def register_group(group: PoolGroup) -> PoolGroup:
    """Let ``reset`` and ``set_limit`` know of a group."""
    _groups.append(group)
    return group


def get_limit() -> int | None:
    """How many of one pool may be in use."""
    return _limit[0]


def set_limit(limit: int | None, **unused: Any) -> int | None:
    """Change that, for all pools."""
    _limit[0] = limit
    for group in _groups:
        for pool in group.values():
            pool.resize(limit)
    return limit


def reset(*unused: Any, **also_unused: Any) -> None:
    """Close all connections of the pools."""
    for group in _groups:
        for pool in group.values():
            pool.force_close_all()
        group.clear()
