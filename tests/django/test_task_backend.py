"""The backend of django.tasks against the contract of its documentation, on an app whose worker is in this process."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from tests.django import tasks_fixtures as jobs
from tests.django.tasks_fixtures import eventually, finished
from tests.servers import RedisServer

from umbel.contrib.django import TaskBackend
from umbel.contrib.django.project import get_app
from umbel.contrib.django.tasks_api.library import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from umbel.testing import start_worker

LOGGERS = ("django.tasks", "django_tasks")
READY, RUNNING = TaskResultStatus.READY, TaskResultStatus.RUNNING
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def _database(alias: str) -> Any:
    """The queue lies in a database of Django's."""
    mark = pytest.mark.django_db(transaction=True, databases=[alias], available_apps=["umbel.contrib.django"])
    return pytest.param(f"django://{alias}", marks=mark, id=f"django-{alias}")


@pytest.fixture(
    params=["sqlite", "redis", "memory", _database("default"), _database("postgres"), _database("mariadb")]
)
def broker(request: pytest.FixtureRequest, tmp_path: pathlib.Path, settings: Any) -> Iterator[str]:
    """Messages and results are on this broker, which is empty."""
    name: str = request.param
    if name == "redis":
        server = request.getfixturevalue("redis")
        server.command("FLUSHALL")
        url = server.url()
    elif name == "sqlite":
        url = f"sqlite:///{tmp_path}/queue.sqlite3"
    elif name == "memory":
        url = f"memory://{tmp_path.name}"
    else:
        request.getfixturevalue("transactional_db")
        url = name
    settings.UMBEL = {"broker_url": url, "result_backend": url}
    jobs.gate.clear()
    jobs.ran.clear()
    yield name
    jobs.gate.set()
    get_app().close()


@pytest.fixture
def worker(broker: str) -> Iterator[None]:
    with start_worker(get_app(), concurrency=1):
        yield


# ---------------------------------------------------------------------------------------------- what it is


def test_all_flags_are_true() -> None:
    backend = task_backends["default"]
    assert type(backend) is TaskBackend
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


# ---------------------------------------------------------------------------------------------- one call


def test_a_task_runs(worker: None) -> None:
    result = jobs.add.enqueue(1, b=2)
    assert (result.status, result.args, result.kwargs, result.backend) == (READY, [1], {"b": 2}, "default")
    assert result.task == jobs.add
    assert (result.attempts, result.worker_ids, result.errors, result.started_at) == (0, [], [], None)
    finished(result)
    assert (result.status, result.return_value) == (SUCCESSFUL, 3)
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at
    assert (result.attempts, result.errors) == (1, [])
    assert result.worker_ids[0].startswith("test@")


async def _enqueue_and_look(task: Any, *args: Any) -> Any:
    result = await task.aenqueue(*args)
    while not result.is_finished:
        await result.arefresh()
    return result


@pytest.mark.parametrize("name", ["add", "add_async"])
def test_a_task_runs_async(worker: None, name: str) -> None:
    import asyncio

    result = asyncio.run(_enqueue_and_look(getattr(jobs, name), 1, 2))
    assert result.return_value == 3


def test_a_coroutine_function_runs_in_the_pool_asyncio(broker: str) -> None:
    with start_worker(get_app(), pool="asyncio", concurrency=5):
        assert finished(jobs.add_async.enqueue(1, 2)).return_value == 3
        assert finished(jobs.describe_async.enqueue()).return_value[1] == 1
        assert finished(jobs.fail_async.enqueue()).errors[0].exception_class is ValueError
        assert finished(jobs.add.enqueue(1, 2)).return_value == 3


def test_it_waits_then_runs_then_has_finished(worker: None) -> None:
    first, second = jobs.wait_at_gate.enqueue(), jobs.add.enqueue(1)
    eventually(lambda: first.refresh() or first.status == RUNNING)
    assert first.started_at == first.last_attempted_at is not None
    assert (first.attempts, first.finished_at) == (1, None)
    with pytest.raises(ValueError, match="has not finished"):
        _ = first.return_value
    assert jobs.add.get_result(second.id).status == READY
    jobs.gate.set()
    assert finished(first).return_value == "went through"
    assert finished(second).return_value == 2


def test_the_context(worker: None) -> None:
    result = finished(jobs.describe.using(priority=7).enqueue(5))
    assert result.return_value == {
        "id": result.id,
        "attempt": 1,
        "status": "RUNNING",
        "args": [5],
        "queue": "default",
        "priority": 7,
        "wanted": 5,
    }


# ---------------------------------------------------------------------------------------------- results


def test_a_result_is_there_before_a_worker_is(broker: str) -> None:
    later = timezone.now() + timedelta(days=3)
    for task in (jobs.add, jobs.add.using(priority=-100), jobs.add.using(run_after=later)):
        result = task.enqueue(1, b={"x": [1.5, None]})
        found = jobs.add.get_result(result.id)
        assert dataclasses.asdict(found) == dataclasses.asdict(result)
        assert found.task == task
        before = dataclasses.asdict(result)
        result.refresh()
        assert dataclasses.asdict(result) == before


def test_a_result_is_found_by_its_message_alone(broker: str) -> None:
    result = jobs.add.using(priority=3).enqueue(1)
    get_app().AsyncResult(result.id).forget()
    assert jobs.add.get_result(result.id) == result


def test_no_result(broker: str) -> None:
    for unknown in ("123", 123, ""):
        with pytest.raises(TaskResultDoesNotExist):
            jobs.add.get_result(unknown)
    with pytest.raises(TaskResultDoesNotExist):
        jobs.add.get_result(get_app().send_task("not.of.django").id)


def test_the_result_of_another_task(broker: str) -> None:
    with pytest.raises(TaskResultMismatch, match="Task does not match"):
        jobs.add.get_result(jobs.echo.enqueue().id)


def test_the_result_of_another_backend(broker: str, settings: Any) -> None:
    settings.TASKS = {
        alias: {"BACKEND": "umbel.contrib.django.TaskBackend"} for alias in ("default", "other")
    }
    result = jobs.add.using(backend="other").enqueue(1)
    assert task_backends["other"].get_result(result.id).backend == "other"
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["default"].get_result(result.id)


def test_the_result_of_a_task_that_is_gone(worker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from umbel.contrib.django.tasks_api import declared

    result = finished(jobs.add.enqueue(1))
    monkeypatch.delattr(jobs, "add")
    monkeypatch.delitem(declared._declared, "tests.django.tasks_fixtures.add")
    with pytest.raises(TaskResultMismatch, match="no task any more"):
        task_backends["default"].get_result(result.id)


def test_without_a_result_store_the_error_says_what_to_do(tmp_path: pathlib.Path, settings: Any) -> None:
    settings.UMBEL = {"broker_url": f"memory://{tmp_path.name}", "result_backend": "disabled://"}
    result = jobs.add.enqueue(1)
    with pytest.raises(Exception, match="result_backend is not set"):
        result.refresh()
    assert [message.id for message in task_backends["default"].check()] == ["umbel.W011"]


# ---------------------------------------------------------------------------------------------- order and time


def test_priorities_are_served_in_exact_order(broker: str) -> None:
    order = [3, -100, 100, 0, 99, -1, 1, -99, 2]
    results = [jobs.note.using(priority=priority).enqueue(priority) for priority in order]
    with start_worker(get_app(), concurrency=1):
        for result in results:
            finished(result)
    assert jobs.ran == sorted(order, reverse=True)


def test_run_after(worker: None) -> None:
    later = timezone.now() + timedelta(hours=1)
    waiting = jobs.note.using(run_after=later).enqueue("later")
    soon = jobs.note.using(run_after=timezone.now() + timedelta(seconds=0.2)).enqueue("soon")
    finished(soon)
    assert soon.started_at >= soon.task.run_after
    waiting.refresh()
    assert (waiting.status, jobs.ran) == (READY, ["soon"])
    assert jobs.note.get_result(waiting.id).task.run_after == later


def test_without_time_zones(worker: None, settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Shanghai"
    result = jobs.add.using(run_after=datetime.now() - timedelta(hours=1)).enqueue(1)
    found = jobs.add.get_result(result.id)
    assert found.task.run_after == result.task.run_after
    assert finished(result).return_value == 2
    assert result.enqueued_at.tzinfo is None
    assert result.enqueued_at <= result.started_at <= result.finished_at


def test_another_queue(worker: None) -> None:
    result = jobs.mail.enqueue("ada@example.org")
    assert jobs.mail.get_result(result.id).task.queue_name == "mails"
    assert finished(result).return_value == "mailed ada@example.org"  # a worker consumes the queues of TASKS


def test_the_queue_default_is_the_default_queue(broker: str, settings: Any) -> None:
    from umbel import portal, records

    settings.UMBEL = {**settings.UMBEL, "task_default_queue": "main"}
    result = jobs.add.enqueue(1)
    located = portal.run(records.find(get_app(), result.id))
    assert located is not None
    assert located.queue == "main"
    assert jobs.add.get_result(result.id).task.queue_name == "default"


# ---------------------------------------------------------------------------------------------- arguments


def test_arguments_are_normalised(worker: None) -> None:
    result = jobs.echo.enqueue((1, 2), b"bytes", {3: "three"}, key={"nested": (1,)})
    assert (result.args, result.kwargs) == ([[1, 2], "bytes", {"3": "three"}], {"key": {"nested": [1]}})
    assert finished(result).return_value == [result.args, result.kwargs]


@pytest.mark.parametrize("value", [datetime(2030, 1, 1), object(), {1, 2}, 1j])
def test_an_argument_that_json_cannot_hold_is_refused(broker: str, value: Any) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        jobs.echo.enqueue(value)
    with pytest.raises(TypeError, match="Unsupported type"):
        jobs.echo.enqueue(key=[value])


def test_arguments_that_the_function_does_not_take_are_refused(broker: str) -> None:
    with pytest.raises(TypeError, match="Nothing was sent"):
        jobs.add.enqueue(1, 2, 3)
    with pytest.raises(TypeError, match="Nothing was sent"):
        jobs.describe.enqueue()


# ---------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("name", "cls"),
    [("value_error", ValueError), ("system_exit", SystemExit), ("keyboard_interrupt", KeyboardInterrupt)],
)
def test_a_task_fails(worker: None, name: str, cls: type[BaseException]) -> None:
    result = finished(getattr(jobs, f"fail_with_{name}").enqueue())
    assert (result.status, result.attempts) == (FAILED, 1)
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    (error,) = result.errors
    assert error.exception_class is cls
    assert error.traceback.endswith(f"{cls.__name__}: This task failed due to {cls.__name__}\n")
    assert "tasks_fixtures.py" in error.traceback
    assert (
        "umbel"
        not in error.traceback.replace("/tests/", "").partition("tasks_fixtures.py")[0].rpartition("File")[0]
    )
    assert result.started_at <= result.finished_at
    assert finished(jobs.add.enqueue(1)).return_value == 2  # and the worker goes on


def test_a_complex_exception(worker: None) -> None:
    result = finished(jobs.fail_with_complex_exception.enqueue())
    assert result.errors[0].exception_class is ValueError
    assert 'ValueError(ValueError("This task failed"))' in result.errors[0].traceback


def test_a_value_that_json_cannot_hold_fails_the_task(worker: None) -> None:
    result = finished(jobs.return_what_json_cannot_hold.enqueue())
    assert result.status == FAILED
    assert result.errors[0].exception_class is TypeError
    assert "Unsupported type" in result.errors[0].traceback


def test_revoked_before_it_began(broker: str) -> None:
    result = jobs.add.enqueue(1)
    get_app().AsyncResult(result.id).revoke()
    with start_worker(get_app()):
        finished(result)
    assert (result.status, result.attempts) == (FAILED, 0)
    assert [error.exception_class.__name__ for error in result.errors] == ["TaskRevokedError"]


# ---------------------------------------------------------------------------------------------- retries


@pytest.mark.skipif(not jobs.DECORATOR_TAKES_OPTIONS, reason="@task of Django 6.0 takes no options")
def test_retries_leave_one_error_for_each_attempt(worker: None) -> None:
    result = finished(jobs.succeed_at_third.enqueue())
    assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 3, 3)
    assert [error.traceback.splitlines()[-1] for error in result.errors] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]
    assert len(result.worker_ids) == 3
    assert result.started_at < result.last_attempted_at < result.finished_at


@pytest.mark.skipif(not jobs.DECORATOR_TAKES_OPTIONS, reason="@task of Django 6.0 takes no options")
def test_retries_are_used_up(worker: None) -> None:
    result = finished(jobs.never_succeed.enqueue())
    assert (result.status, result.attempts) == (FAILED, 2)
    assert [error.exception_class for error in result.errors] == [OSError, OSError]


def test_a_task_that_waits_to_be_retried_is_ready(broker: str, settings: Any) -> None:
    settings.TASKS = {
        "default": {
            "BACKEND": "umbel.contrib.django.TaskBackend",
            "OPTIONS": {"max_retries": 5, "default_retry_delay": 3600},
        }
    }
    result = jobs.fail_with_value_error.enqueue()
    with start_worker(get_app()):
        eventually(lambda: result.refresh() or result.errors)
    assert (result.status, result.attempts, result.finished_at) == (READY, 1, None)
    assert result.errors[0].exception_class is ValueError


# ---------------------------------------------------------------------------------------------- signals


@pytest.fixture
def heard() -> Iterator[list[tuple[str, Any, Any]]]:
    """The signals so far: name, sender, result as it was."""
    said: list[tuple[str, Any, Any]] = []
    signals = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}
    receivers = {}
    for name, signal in signals.items():

        def receive(sender: Any, task_result: Any, name: str = name, **_: Any) -> None:
            said.append((name, sender, dataclasses.replace(task_result)))

        receivers[name] = receive
        signal.connect(receive)
    yield said
    for name, signal in signals.items():
        signal.disconnect(receivers[name])


@pytest.mark.parametrize("name", ["add", "add_async"])
def test_signals(worker: None, heard: list[tuple[str, Any, Any]], name: str) -> None:
    result = finished(getattr(jobs, name).enqueue(1, 2))
    eventually(lambda: len(heard) == 3)
    assert [(said, sender) for said, sender, _ in heard] == [
        ("enqueued", TaskBackend),
        ("started", TaskBackend),
        ("finished", TaskBackend),
    ]
    assert [told.status for _, _, told in heard] == [READY, RUNNING, SUCCESSFUL]
    assert {told.id for _, _, told in heard} == {result.id}


def test_signals_of_a_failure(worker: None, heard: list[tuple[str, Any, Any]]) -> None:
    finished(jobs.fail_with_system_exit.enqueue())
    eventually(lambda: len(heard) == 3)
    _, _, told = heard[-1]
    assert told.status == FAILED
    assert told.errors[0].exception_class is SystemExit


def test_a_receiver_that_raises_does_no_harm(worker: None, caplog: pytest.LogCaptureFixture) -> None:
    def fault(**_: Any) -> None:
        raise RuntimeError("a bad receiver")

    for signal in (task_enqueued, task_started, task_finished):
        signal.connect(fault)
    try:
        assert finished(jobs.add.enqueue(1)).return_value == 2
        eventually(lambda: sum("a bad receiver" in str(r.exc_info) for r in caplog.records) == 3)
    finally:
        for signal in (task_enqueued, task_started, task_finished):
            signal.disconnect(fault)


def test_a_failure_is_logged_with_its_traceback(worker: None, caplog: pytest.LogCaptureFixture) -> None:
    result = finished(jobs.fail_with_value_error.enqueue())
    found = eventually(
        lambda: [r for r in caplog.records if r.name in LOGGERS and r.levelno == logging.ERROR], "the log"
    )
    assert result.id in found[0].getMessage()
    assert found[0].exc_info is not None
    assert found[0].exc_info[0] is ValueError


# ---------------------------------------------------------------------------------------------- validation


def test_a_queue_that_there_is_not(broker: str, settings: Any) -> None:
    with pytest.raises(InvalidTask, match="Queue 'unknown' is not valid for backend"):
        jobs.add.using(queue_name="unknown")
    task = jobs.mail
    settings.TASKS = {"default": {"BACKEND": "umbel.contrib.django.TaskBackend", "QUEUES": ["default"]}}
    with pytest.raises(InvalidTask, match="Queue 'mails' is not valid for backend"):
        task.enqueue("ada@example.org")


@pytest.mark.parametrize("priority", [-101, 101, 3.1])
def test_a_priority_that_there_is_not(priority: float) -> None:
    with pytest.raises(InvalidTask, match="priority must be a whole number between -100 and 100"):
        jobs.add.using(priority=priority)


def test_a_naive_time() -> None:
    with pytest.raises(InvalidTask, match="run_after must be an aware datetime"):
        jobs.add.using(run_after=datetime.now())


# ---------------------------------------------------------------------------------------------- eagerly


@pytest.fixture
def eager(settings: Any, tmp_path: pathlib.Path) -> None:
    settings.UMBEL = {"broker_url": f"memory://{tmp_path.name}", "task_always_eager": True}


def test_eagerly(eager: None, heard: list[tuple[str, Any, Any]]) -> None:
    result = jobs.describe.enqueue(4)
    assert (result.status, result.attempts) == (SUCCESSFUL, 1)
    assert result.return_value["id"] == result.id
    assert [told.status for _, _, told in heard] == [READY, RUNNING, SUCCESSFUL]
    assert jobs.add_async.enqueue(1, 2).return_value == 3


def test_failing_eagerly(eager: None) -> None:
    result = jobs.fail_with_value_error.enqueue()
    assert (result.status, result.errors[0].exception_class) == (FAILED, ValueError)
    result = jobs.fail_with_system_exit.enqueue()
    assert (result.status, result.errors[0].exception_class) == (FAILED, SystemExit)
    result = jobs.return_what_json_cannot_hold.enqueue()
    assert (result.status, result.errors[0].exception_class) == (FAILED, TypeError)
    with pytest.raises(KeyboardInterrupt):
        jobs.fail_with_keyboard_interrupt.enqueue()


@pytest.mark.skipif(not jobs.DECORATOR_TAKES_OPTIONS, reason="@task of Django 6.0 takes no options")
def test_retrying_eagerly(eager: None) -> None:
    result = jobs.succeed_at_third.enqueue()
    assert (result.return_value, result.attempts, len(result.errors)) == (3, 3, 2)
