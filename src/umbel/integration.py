"""What a web framework decides for the apps of its process: where the queue is by default, when a call leaves, what surrounds a task.

There is one integration in a process at most. It is loaded when the environment names the settings of its framework, or
sets itself (``activate``) when the framework starts. Without one nothing here costs anything.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from umbel import context
from umbel.ports import Broker, Outgoing

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.config import Config

__all__ = ["Integration", "activate", "active", "find", "settings"]

_FRAMEWORKS = {"DJANGO_SETTINGS_MODULE": ("django", "umbel.contrib.django.integration")}
"""Environment variable that tells of a framework -> (its package, the module that activates the integration)."""


class Integration(Protocol):
    """The questions that Umbel asks its framework."""

    def settings(self) -> Mapping[str, Any]:
        """Settings of Umbel that the framework's own settings hold. Everything else that gives settings wins over them."""
        ...

    def embedded_url(self) -> str | None:
        """Where the queue is when no setting says it. None: in Umbel's own SQLite file."""
        ...

    def packages(self) -> Iterable[str]:
        """Where ``app.autodiscover_tasks()`` without packages looks."""
        ...

    def queues(self, conf: Config) -> Iterable[str]:
        """Queues that a worker consumes beside those of ``task_queues``."""
        ...

    def prepare(self) -> None:
        """Start the framework, if that has not happened: tasks are about to be imported."""
        ...

    def take_over(self, app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> bool:
        """Whether the framework sees to it that `batch` is sent, now or when its transaction has been committed."""
        ...

    async def atake_over(
        self, app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None
    ) -> bool:
        """The same for coroutines."""
        ...

    def around_task(self) -> AbstractContextManager[None]:
        """Surrounds each run in the thread that runs it."""
        ...

    def around_coroutine(self) -> AbstractAsyncContextManager[None]:
        """Surrounds each asynchronous task."""
        ...

    def around_test_run(self) -> AbstractContextManager[None]:
        """Surrounds a task that a test runs in its own thread and, perhaps, in a transaction that is never committed: what was
        to be sent on commit is sent at the end of the task."""
        ...

    def run_coroutine(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run an asynchronous task of a test to its end in this thread, and in this thread too what it lets the framework do in
        threads: the database connection of the test belongs to it."""
        ...

    def in_transaction(self) -> bool:
        """Whether this thread is in a transaction, so that other threads do not see what it has written."""
        ...

    def before_fork(self) -> None:
        """The process is about to be copied: what cannot be shared with a copy must be let go of."""
        ...

    def services(self, app: Umbel, broker: Broker) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What runs beside the node of every worker for as long as it lives."""
        ...


def activate(integration: Integration) -> None:
    """Let `integration` answer from now on; for the apps that exist, too."""
    context.state.integration = integration


def active() -> Integration | None:
    """The integration of this process."""
    return context.state.integration


def settings() -> Mapping[str, Any]:
    """What the framework's settings say of Umbel; nothing where there is no framework."""
    return {} if context.state.integration is None else context.state.integration.settings()


def find() -> None:
    """Load the integration of the framework that the environment tells of, unless there is one already."""
    if context.state.integration is not None:
        return
    for variable, (package, module) in _FRAMEWORKS.items():
        if os.environ.get(variable) and importlib.util.find_spec(package) is not None:
            importlib.import_module(module)
            return
