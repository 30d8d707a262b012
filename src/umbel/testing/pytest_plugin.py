"""Fixtures of pytest, there for every project that has Umbel installed. They cost nothing until a test asks for one.

``umbel_app``
    The app under test: the current one, with Django that of the project. Override it to name another.
``umbel_tasks``
    What the test sends, recorded: see ``umbel.testing.record_tasks``.
``umbel_worker``
    ``umbel_tasks`` with a real worker in threads of the test's process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from umbel import context, testing

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.testing import TaskRecorder

__all__ = ["umbel_app", "umbel_tasks", "umbel_worker"]


@pytest.fixture
def umbel_app() -> Umbel:
    """The app under test: the current one. Override this fixture to name another."""
    return context.get_current_app()


@pytest.fixture
def umbel_tasks(umbel_app: Umbel) -> Iterator[TaskRecorder]:
    """Calls of the app are recorded, and run when the test says so: ``umbel_tasks.run()``."""
    with testing.record_tasks(umbel_app) as tasks:
        yield tasks


@pytest.fixture
def umbel_worker(umbel_tasks: TaskRecorder) -> Iterator[TaskRecorder]:
    """``umbel_tasks``, and a worker in threads of this process that runs them."""
    with umbel_tasks.worker(concurrency=2):
        yield umbel_tasks
