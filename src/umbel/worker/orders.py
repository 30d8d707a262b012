"""What remote control may change in a node: queues, limits, processes, and what must not run."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from umbel.core.rates import per_second
from umbel.core.stamps import marks_of

if TYPE_CHECKING:
    from umbel.worker.node import Node

__all__ = ["Orders"]

logger = logging.getLogger("umbel.worker")

Answer = dict[str, str]


class Orders:
    """Handlers of ``Commands``: ``do_<command>``. What they raise becomes the answer."""

    _node: Node

    # -- what must not run

    async def do_revoke(
        self, task_id: Collection[str] | str, terminate: bool = False, signal: Any = None, **unused: Any
    ) -> Answer:
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        await self._node.broker.revoke(ids)
        self._node.revoking.revoke(ids, terminate=terminate)
        return {"ok": f"{'terminate' if terminate else 'revoke'}: {', '.join(ids)}"}

    def do_terminate(
        self, task_id: Collection[str] | str, signal: Any = None, **unused: Any
    ) -> Awaitable[Answer]:
        return self.do_revoke(task_id, terminate=True)

    async def do_revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], terminate: bool = False, signal: Any = None, **unused: Any
    ) -> Answer:
        marks = marks_of(headers)
        await self._node.broker.revoke(marks)
        self._node.revoking.revoke_stamped(marks, terminate=terminate)
        return {"ok": f"headers {dict(headers)} flagged as revoked"}

    # -- queues

    def do_add_consumer(self, queue: str, exchange: Any = None, **unused: Any) -> Answer:
        node = self._node
        if queue not in node.queues:
            self._consume((*node.queues, queue))
            logger.warning("Told to consume the queue %s too.", queue)
        return {"ok": f"add consumer {queue}"}

    def do_cancel_consumer(self, queue: str, **unused: Any) -> Answer:
        node = self._node
        if queue in node.queues:
            # What has come from it already is run.
            self._consume(tuple(name for name in node.queues if name != queue))
            logger.warning("Told to consume the queue %s no more.", queue)
        return {"ok": f"no longer consuming from {queue}"}

    def _consume(self, queues: tuple[str, ...]) -> None:
        node = self._node
        node.queues = node.presence.queues = node.fetcher.queues = queues
        node.fetcher.credit()

    # -- limits

    def do_rate_limit(self, task_name: str, rate_limit: Any, **unused: Any) -> Answer:
        if task_name not in self._node.judge.known_tasks():
            return {"error": "unknown task"}
        if not self._node.per_worker_rates:
            return {
                "error": "rate limits of one worker are not in this version; a program for Celery has them"
            }
        try:
            rate = per_second(rate_limit)
        except ValueError as exc:
            return {"error": f"Invalid rate limit string: {exc!r}"}
        self._node.pace.set(task_name, rate)
        return {"ok": "new rate limit set successfully" if rate else "rate limit disabled successfully"}

    def do_time_limit(
        self, task_name: str = "", hard: float | None = None, soft: float | None = None, **unused: Any
    ) -> Answer:
        if task_name not in self._node.judge.known_tasks():
            return {"error": "unknown task"}
        for limit in (hard, soft):
            if limit is not None and not (isinstance(limit, int | float) and limit > 0):
                return {"error": f"A time limit is a number of seconds above 0, not {limit!r}."}
        self._node.time_limits.set(task_name, hard, soft)
        return {"ok": "time limits set successfully"}

    # -- processes

    def do_pool_grow(self, n: int = 1, **unused: Any) -> Answer:
        self._resize(self._node.size + int(n))
        return {"ok": "pool will grow"}

    def do_pool_shrink(self, n: int = 1, **unused: Any) -> Answer:
        self._resize(self._node.size - int(n))
        return {"ok": "pool will shrink"}

    def do_pool_restart(self, modules: Any = None, reload: bool = False, **unused: Any) -> Answer:
        if not self._node.judge.conf.worker_pool_restarts:
            raise ValueError("Pool restarts not enabled")
        if modules or reload:
            raise ValueError("New code is loaded when the whole worker starts anew: send it SIGHUP.")
        for child in list(self._node.crew.children.values()):
            self._node.retire(child)
        return {"ok": "reload started"}

    def _resize(self, size: int) -> None:
        node = self._node
        if node.tell_size is None or node.settings.pool != "prefork":
            raise ValueError(
                f"The pool {node.settings.pool} has a fixed size; start the worker with another -c."
            )
        if size < 1:
            raise ValueError("A worker needs one process at least; to end it, tell it to shut down.")
        node.size = size
        node.tell_size(size)
        for child in [child for child in node.crew.children.values() if child.index >= size]:
            node.retire(child)

    # -- the worker

    def do_shutdown(self, msg: str = "", **unused: Any) -> None:
        logger.warning("Told to shut down by remote control.")
        self._node.shut_down()

    def do_enable_events(self) -> Answer:
        changed = self._node.events.enable()
        return {"ok": "task events enabled" if changed else "task events already enabled"}

    def do_disable_events(self) -> Answer:
        changed = self._node.events.disable()
        return {"ok": "task events disabled" if changed else "task events already disabled"}

    def do_heartbeat(self) -> None:
        """It beats anyway, while events are on."""

    def do_election(self, **unused: Any) -> None:
        """There is nothing to elect."""
