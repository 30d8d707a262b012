"""``celery.contrib.pytest``: Celery's fixtures. Override the ``celery_config`` and its neighbours in your ``conftest.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from umbel.contrib.celery.embedded import TestApp, setup_default_app, start_worker
from umbel.task import Task

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.contrib.celery.app import Celery
    from umbel.testing.worker import InProcessWorker

__all__ = [
    "celery_app",
    "celery_class_tasks",
    "celery_config",
    "celery_enable_logging",
    "celery_includes",
    "celery_parameters",
    "celery_session_app",
    "celery_session_worker",
    "celery_worker",
    "celery_worker_parameters",
    "celery_worker_pool",
    "depends_on_current_app",
    "pytest_configure",
    "use_celery_app_trap",
]


def pytest_configure(config: pytest.Config) -> None:
    """The mark ``@pytest.mark.celery(broker_url=...)`` changes settings for one test."""
    config.addinivalue_line("markers", "celery(**overrides): settings of celery_app for one test.")


@contextmanager
def _app(
    request: pytest.FixtureRequest, config: Mapping[str, Any], parameters: Mapping[str, Any], logs: bool
) -> Iterator[Celery]:
    mark = request.node.get_closest_marker("celery") if request.scope == "function" else None
    given = {**config, **(mark.kwargs if mark else {})}
    app = TestApp(config=given, set_as_current=False, enable_logging=logs, **parameters)
    with setup_default_app(app):
        yield app
    app.close()


@pytest.fixture(scope="session")
def celery_config() -> Mapping[str, Any]:
    """Settings of the apps for tests."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> Mapping[str, Any]:
    """Arguments of the apps for tests."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    """Arguments of the workers for tests."""
    return {}


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Modules that the worker of the session imports."""
    return ()


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Accepted for Celery's sake: logging is left to pytest."""
    return False


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """Accepted for Celery's sake: workers for tests run in threads."""
    return "solo"


@pytest.fixture(scope="session")
def celery_class_tasks() -> list[Any]:
    """Class-based tasks that the worker of the session knows."""
    return []


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """Accepted for Celery's sake."""
    return False


@pytest.fixture(scope="session")
def celery_session_app(
    request: pytest.FixtureRequest,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
) -> Iterator[Celery]:
    """An app for all tests."""
    with _app(request, celery_config, celery_parameters, celery_enable_logging) as app:
        yield app


@pytest.fixture(scope="session")
def celery_session_worker(
    request: pytest.FixtureRequest,
    celery_session_app: Umbel,
    celery_includes: Sequence[str],
    celery_class_tasks: Sequence[Task[..., Any]],
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[InProcessWorker]:
    """A worker for all tests."""
    celery_session_app.conf.include = [*celery_session_app.conf.include, *celery_includes]
    for task in celery_class_tasks:
        celery_session_app.register_task(task)
    with start_worker(celery_session_app, **celery_worker_parameters) as worker:
        yield worker


@pytest.fixture
def celery_app(
    request: pytest.FixtureRequest,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
) -> Iterator[Celery]:
    """An app for one test."""
    with _app(request, celery_config, celery_parameters, celery_enable_logging) as app:
        yield app


@pytest.fixture
def celery_worker(
    celery_app: Umbel, celery_worker_parameters: Mapping[str, Any]
) -> Iterator[InProcessWorker]:
    """A worker for one test."""
    with ExitStack() as stack:
        yield stack.enter_context(start_worker(celery_app, **celery_worker_parameters))


@pytest.fixture
def depends_on_current_app(celery_app: Umbel) -> Callable[[], None]:
    """Makes the app of the test the current one."""
    celery_app.set_current()
    return celery_app.set_current
