"""``celery.contrib.testing``: a worker in a thread of the test, and apps for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from umbel import context
from umbel.contrib.celery.app import Celery
from umbel.shared import shared_task
from umbel.testing.worker import InProcessWorker
from umbel.testing.worker import start_worker as start_in_process

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["TestApp", "ping", "setup_default_app", "start_worker"]


@shared_task(name="celery.ping")
def ping() -> str:
    """Answers "pong"."""
    return "pong"


@contextmanager
def start_worker(
    app: Umbel,
    concurrency: int = 1,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    **unused: Any,
) -> Iterator[InProcessWorker]:
    """Run a worker of `app` in threads of this process for as long as the block lasts.

    With `perform_ping_check` it first waits, up to `ping_task_timeout` seconds, until the task ``celery.ping`` has been run.
    """
    with start_in_process(app, concurrency=concurrency, name="celery@%h") as worker:
        if perform_ping_check and app.has_store:
            with context.allow_join_result():
                app.tasks["celery.ping"].delay().get(timeout=ping_task_timeout)
        yield worker


def TestApp(
    name: str | None = None,
    config: Any = None,
    enable_logging: bool = False,
    set_as_current: bool = False,
    **options: Any,
) -> Celery:
    """An app for tests, in memory unless `config` names a broker."""
    given = {"broker_url": "memory://", "result_backend": "cache+memory://", **(config or {})}
    backend = options.pop("backend", None) or given.pop("result_backend")
    given["result_backend"] = "memory://" if str(backend).startswith("cache+memory") else backend
    if broker := options.pop("broker", None):
        given["broker_url"] = broker
    return Celery(name or "celery.tests", changes=given, set_as_current=set_as_current, **options)


@contextmanager
def setup_default_app(app: Umbel, use_trap: bool = False) -> Iterator[None]:
    """Make `app` the current one for the length of a block."""
    before, local = context.state.default, context.state.local.set(app)
    context.state.default = app
    try:
        yield
    finally:
        context.state.default = before
        context.state.local.reset(local)
