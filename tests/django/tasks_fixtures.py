"""Tasks of django.tasks for tests, and what their tests have in common."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import django

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task

T = TypeVar("T")
PATIENCE = 30.0
DECORATOR_TAKES_OPTIONS = not ((6, 0) <= django.VERSION < (6, 1))
"""``@task(max_retries=3)``: the backport can do it too."""
gate = threading.Event()
"""Tasks of a worker in this process wait here."""
ran: list[Any] = []
"""What tasks in this process have written down."""


def eventually(look: Callable[[], T], what: str = "") -> T:
    """The first true answer of `look`."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := look()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for {what or look}"
        time.sleep(0.01)
    return answer


def finished(result: Any) -> Any:
    """`result` when its task has finished."""

    def look() -> bool:
        result.refresh()
        return bool(result.is_finished)

    eventually(look, f"the end of {result.task.module_path}")
    return result


@task
def add(a: Any, b: Any = 1) -> Any:
    return a + b


@task()
def echo(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@task
async def add_async(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@task
def note(value: Any) -> None:
    ran.append(value)


@task(queue_name="mails")
def mail(address: str) -> str:
    return f"mailed {address}"


@task(takes_context=True)
def describe(context: Any, wanted: int) -> dict[str, Any]:
    result = context.task_result
    return {
        "id": result.id,
        "attempt": context.attempt,
        "status": result.status,
        "args": result.args,
        "queue": result.task.queue_name,
        "priority": result.task.priority,
        "wanted": wanted,
    }


@task(takes_context=True)
async def describe_async(context: Any) -> list[Any]:
    return [context.task_result.id, context.attempt]


@task
def fail_with_value_error() -> None:
    raise ValueError("This task failed due to ValueError")


@task
async def fail_async() -> None:
    raise ValueError("This task failed due to ValueError")


@task
def fail_with_system_exit() -> None:
    raise SystemExit("This task failed due to SystemExit")


@task
def fail_with_keyboard_interrupt() -> None:
    raise KeyboardInterrupt("This task failed due to KeyboardInterrupt")


@task
def fail_with_complex_exception() -> None:
    raise ValueError(ValueError("This task failed"))


@task
def return_what_json_cannot_hold() -> Any:
    return object()


@task
def wait_at_gate() -> str:
    assert gate.wait(PATIENCE)
    return "went through"


@task
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@task(takes_context=True)
def die_at_first(context: Any) -> int:
    if context.attempt == 1:
        os._exit(3)
    return int(context.attempt)


if DECORATOR_TAKES_OPTIONS:

    @task(takes_context=True, max_retries=3, default_retry_delay=0)
    def succeed_at_third(context: Any) -> int:
        if context.attempt < 3:
            raise ValueError(f"attempt {context.attempt}")
        return int(context.attempt)

    @task(max_retries=1, default_retry_delay=0, autoretry_for=[OSError])
    def never_succeed() -> None:
        raise OSError("no luck")
