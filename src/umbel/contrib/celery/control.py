"""``app.control``: what Celery's programs ask of workers, as far as it can be answered from the broker.

Umbel's workers announce themselves in the broker, and revocations are kept there. Nothing is broadcast: Celery's own workers on
the same Redis do not hear it, and do not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from umbel import portal
from umbel.errors import CapabilityError
from umbel.ports import Broker, NodeInfo

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Control", "Inspect"]

_NOT_HERE = (
    "shutdown", "rate_limit", "time_limit", "pool_grow", "pool_shrink", "pool_restart", "autoscale", "add_consumer",
    "cancel_consumer", "enable_events", "disable_events", "heartbeat", "broadcast", "election",
)  # fmt: skip


class Inspect:
    """``app.control.inspect()``: each answer is a dict by the names of workers, or None when there is no worker."""

    def __init__(
        self,
        destination: Collection[str] | str | None = None,
        timeout: float = 1.0,
        *,
        app: Umbel,
        **unused: Any,
    ) -> None:
        self._app = app
        self._only = [destination] if isinstance(destination, str) else destination

    def _each(self, answer: Callable[[NodeInfo], Any]) -> dict[str, Any] | None:
        app = self._app

        async def ask() -> Iterable[NodeInfo]:
            await app.broker.open()
            return await app.broker.nodes()

        nodes = [node for node in portal.run(ask()) if not self._only or node.name in self._only]
        return {node.name: answer(node) for node in nodes} or None

    def ping(self, destination: Any = None) -> dict[str, Any] | None:
        """``{"celery@host": {"ok": "pong"}}``, of the workers that are alive."""
        return self._each(lambda node: {"ok": "pong"})

    def registered(self, *taskinfoitems: str) -> dict[str, Any] | None:
        """The names of the tasks that each knows."""
        return self._each(lambda node: sorted(node.tasks))

    registered_tasks = registered

    def active_queues(self) -> dict[str, Any] | None:
        """The queues that each consumes."""
        return self._each(lambda node: [{"name": name, "routing_key": name} for name in node.queues])

    def stats(self) -> dict[str, Any] | None:
        """Process, pool and size of each."""
        return self._each(
            lambda node: {
                "pid": node.pid,
                "pool": {"implementation": node.pool, "max-concurrency": node.concurrency},
            }
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise CapabilityError(
            f"inspect().{name} is not in this version. Look with: umbel list held, umbel list scheduled."
        )


class Control:
    """``app.control``."""

    def __init__(self, app: Umbel) -> None:
        self._app = app

    def inspect(self, destination: Any = None, timeout: float = 1.0, **unused: Any) -> Inspect:
        """Ask the workers; all of them, or those of `destination`."""
        return Inspect(destination, timeout, app=self._app)

    def ping(self, destination: Any = None, timeout: float = 1.0, **unused: Any) -> list[dict[str, Any]]:
        """``[{"celery@host": {"ok": "pong"}}]``."""
        return [{name: answer} for name, answer in (self.inspect(destination).ping() or {}).items()]

    def revoke(
        self, task_id: str | Collection[str], terminate: bool = False, signal: Any = None, **unused: Any
    ) -> None:
        """These calls must not run; with `terminate` those that run are killed. It is kept in the broker, not in workers."""
        for one in [task_id] if isinstance(task_id, str) else task_id:
            self._app.AsyncResult(one).revoke(terminate=terminate)

    def terminate(self, task_id: str | Collection[str], **unused: Any) -> None:
        """``revoke`` of what runs."""
        self.revoke(task_id, terminate=True)

    def purge(self, connection: Any = None) -> int:
        """Delete what waits in the queues of the settings. Returns how many."""
        broker: Broker = self._app.broker

        async def delete() -> int:
            await broker.open()
            return await broker.purge(list(self._app.queues))

        return portal.run(delete())

    discard_all = purge

    def __getattr__(self, name: str) -> Any:
        if name in _NOT_HERE:
            raise CapabilityError(
                f"app.control.{name} is not in this version: remote control is not built yet."
            )
        raise AttributeError(name)
