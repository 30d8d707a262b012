"""The tasks of an app by name."""

from __future__ import annotations

import difflib
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from umbel import context
from umbel.errors import NotRegistered, UmbelWarning

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.task import Task

__all__ = ["FINDERS", "TaskFinder", "Tasks"]


class TaskFinder(Protocol):
    """Finds tasks that are declared in another way than with ``@app.task``. Those of ``context.state.finders`` are asked, in
    order, for names that an app does not know; what they find is registered with it."""

    def stand_in(self, app: Umbel) -> Task[..., Any]:
        """Has the options that the tasks have in common. A worker's node goes by them: it does not run ``find``."""
        ...

    def may_find(self, name: str) -> bool:
        """Whether a task may have this name. Quick, and imports nothing."""
        ...

    def find(self, app: Umbel, name: str) -> Task[..., Any] | None:
        """Make the task of that name and register it; None: there is none. It may import modules."""
        ...


FINDERS: list[TaskFinder] = []
"""Those that every app has; ``context.state.finders`` come after them."""


def _finders() -> Iterator[TaskFinder]:
    yield from FINDERS
    yield from context.state.finders


class Tasks(Mapping[str, "Task[..., Any]"]):
    """The tasks of an app by name. Shared tasks come in when they are first asked for."""

    def __init__(self, app: Umbel) -> None:
        self._app = app
        self._by_name: dict[str, Task[..., Any]] = {}
        self._adopted = 0
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> Task[..., Any]:
        task: Task[..., Any] | None = self.get(name)
        if task is None:
            close = difflib.get_close_matches(name, self._by_name, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise NotRegistered(
                f"The app {self._app.main or '__main__'!r} has no task {name!r}.{hint} "
                "Is the module that defines it imported?"
            )
        return task

    def get(self, name: str, default: Any = None) -> Any:
        """The task of that name, or `default`."""
        task = self._by_name.get(name) or self._adopt().get(name)
        if task is None:
            task = self._find(name)
        return default if task is None else task

    def stand_in(self, name: str) -> Task[..., Any] | None:
        """For a name that is not known: what stands for its task until it is found; None: nobody could find it."""
        finder = next((finder for finder in _finders() if finder.may_find(name)), None)
        return None if finder is None else finder.stand_in(self._app)

    def _find(self, name: str) -> Task[..., Any] | None:
        for finder in _finders():
            if finder.may_find(name) and (task := finder.find(self._app, name)) is not None:
                return task
        return None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name or name in self._adopt()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._adopt()))

    def __len__(self) -> int:
        return len(self._adopt())

    def add(self, task: Task[..., Any]) -> None:
        """Register `task` under its name. Another one of that name is replaced, with a warning unless it is its older self."""
        known = self._by_name.get(task.name)
        if known is not None and _home(known) != _home(task):
            warnings.warn(
                f"Two tasks are called {task.name!r}: {'.'.join(_home(known))} and {'.'.join(_home(task))}. The later "
                "one replaces the earlier; give one of them a name of its own.",
                UmbelWarning,
                stacklevel=4,
            )
        self._by_name[task.name] = task

    def _adopt(self) -> dict[str, Task[..., Any]]:
        """Make the shared tasks that were declared since the last time."""
        shared = context.state.shared
        if self._adopted < len(shared):
            with self._lock:
                while self._adopted < len(shared):
                    self._adopted += 1
                    shared[self._adopted - 1](self._app)
        return self._by_name


def _home(task: Task[..., Any]) -> tuple[str, str]:
    return type(task).__module__, type(task).__qualname__
