"""``app.amqp``, as far as programs look at it: the queues."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from umbel.contrib.celery.queues import Exchange, Queue
from umbel.routing import declared_queues

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Amqp", "Queues"]


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


class Amqp:
    """See the module."""

    def __init__(self, app: Umbel) -> None:
        self._app = app

    @property
    def queues(self) -> Queues:
        """As the settings say now."""
        return Queues(self._app)

    @property
    def default_queue(self) -> Queue:
        """Where a call goes when nothing else is said."""
        name = self._app.conf.task_default_queue
        return self.queues.get(name) or Queue(name)

    @property
    def default_exchange(self) -> Exchange:
        """The exchange of that queue."""
        return self.default_queue.exchange
