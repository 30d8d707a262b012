"""What an app may put around the work of its workers. Umbel's own puts nothing there; an integration overrides it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umbel.task import Task

__all__ = ["Hooks"]


class Hooks:
    """Part of ``Umbel``."""

    def around_run(self, task: Task[..., Any]) -> Callable[..., Any] | None:
        """A function ``(request, run) -> run()`` around the runs of `task` in a worker; None: nothing is around them."""
        return None

    def run_child(self, serve: Callable[[], None]) -> None:
        """Do what a process that runs tasks does: ``serve()``."""
        serve()

    def worker_services(
        self, hostname: str, options: dict[str, Any]
    ) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Coroutine functions that a worker's node runs beside its work; `options` are those of the program's own."""
        return []
