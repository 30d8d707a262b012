"""Tasks that every app has, under Celery's names: what ``map``, ``starmap``, ``chunks`` and ``replace`` send.

They are found when they are called, and are not among the tasks that an app lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel import portal
from umbel.flow.repeated import chunks
from umbel.flow.signature import Signature, maybe_signature
from umbel.replacing import ACCUMULATE
from umbel.task import Task

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Builtins"]


def _map(self: Task[..., Any], task: Mapping[str, Any], it: Iterable[Any]) -> list[Any]:
    run = maybe_signature(task, self.app).type
    return [run(item) for item in it]


def _starmap(self: Task[..., Any], task: Mapping[str, Any], it: Iterable[Sequence[Any]]) -> list[Any]:
    run = maybe_signature(task, self.app).type
    return [run(*item) for item in it]


def _chunks(self: Task[..., Any], task: Mapping[str, Any], it: Iterable[Sequence[Any]], n: int) -> Any:
    """Send the parts, and be replaced by what joins them."""
    parts = chunks(Signature.from_dict(task, self.app), it, n, app=self.app).group()
    return self.replace(parts)


def _accumulate(self: Task[..., Any], *args: Any, index: int | None = None) -> Any:
    return args if index is None else args[index]


def _cleanup(self: Task[..., Any]) -> int:
    async def pruned() -> int:
        await self.app.store.open()
        return await self.app.store.prune()

    return portal.run(pruned())


_TASKS: dict[str, Callable[..., Any]] = {
    "celery.map": _map,
    "celery.starmap": _starmap,
    "celery.chunks": _chunks,
    ACCUMULATE: _accumulate,
    "celery.backend_cleanup": _cleanup,
}


class Builtins:
    """Finds them; see ``umbel.registry.TaskFinder``."""

    def stand_in(self, app: Umbel) -> Task[..., Any]:
        """A task with nothing but defaults."""
        task: Task[..., Any] = Task()
        task.app = app
        return task

    def may_find(self, name: str) -> bool:
        """Whether it is one of these."""
        return name in _TASKS

    def find(self, app: Umbel, name: str) -> Task[..., Any] | None:
        """Register the task of that name with `app`."""
        made: Task[..., Any] = app.task(bind=True, name=name, typing=False)(_TASKS[name])
        return made
