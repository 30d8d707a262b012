"""The fixtures that pytest finds by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from umbel import Umbel
from umbel.testing import TaskRecorder


@pytest.fixture
def umbel_app() -> Iterator[Umbel]:
    """The app of this file's tests."""
    app = Umbel("fixtures", broker="memory://fixtures", backend="memory://fixtures", set_as_current=False)

    @app.task(name="double")
    def double(x: int) -> int:
        return 2 * x

    with app:
        yield app


def test_tasks_are_recorded(umbel_app: Umbel, umbel_tasks: TaskRecorder) -> None:
    result = umbel_app.tasks["double"].delay(4)
    umbel_tasks.assert_sent("double", 4)
    assert not result.ready()
    umbel_tasks.run()
    assert result.get() == 8


def test_or_run_by_a_worker(umbel_app: Umbel, umbel_worker: TaskRecorder) -> None:
    assert umbel_app.tasks["double"].delay(4).get(timeout=20) == 8
    umbel_worker.assert_sent("double", x=4)


def test_a_project_that_asks_for_none_of_them_loads_nothing() -> None:
    code = (
        "import sys, umbel.testing.pytest_plugin\n"
        "print([name for name in sys.modules if name.startswith(('umbel.worker', 'umbel.backends', 'umbel.app'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
