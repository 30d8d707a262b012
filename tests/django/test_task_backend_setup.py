"""What the backend of django.tasks is told by settings, options and transactions, and what it says when they are wrong."""

from __future__ import annotations

import asyncio
import pathlib
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import TestCase
from tests.django import tasks_fixtures as jobs
from tests.django.tasks_fixtures import finished
from tests.servers import RedisServer, free_port

from umbel import portal, records
from umbel.contrib.django.models import Message, Result
from umbel.contrib.django.project import get_app
from umbel.contrib.django.tasks_api import declared, queues
from umbel.contrib.django.tasks_api.library import (
    TaskResultDoesNotExist,
    task_backends,
    task_enqueued,
)
from umbel.errors import BrokerUnavailable, ConfigurationError
from umbel.ports import Located
from umbel.testing import start_worker

BACKEND = "umbel.contrib.django.TaskBackend"
with_options = pytest.mark.skipif(
    not jobs.DECORATOR_TAKES_OPTIONS, reason="@task of Django 6.0 takes no options"
)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def on_redis(redis: RedisServer, settings: Any) -> Iterator[None]:
    redis.command("FLUSHALL")
    settings.UMBEL = {"broker_url": redis.url(), "result_backend": redis.url()}
    yield
    get_app().close()


@pytest.fixture
def in_memory(tmp_path: pathlib.Path, settings: Any) -> Iterator[None]:
    settings.UMBEL = {
        "broker_url": f"memory://{tmp_path.name}",
        "result_backend": f"memory://{tmp_path.name}",
    }
    yield
    get_app().close()


def message(result: Any) -> Located:
    """The message of `result`, which waits."""
    found = portal.run(records.find(get_app(), result.id))
    assert found is not None
    assert found.frame is not None
    return found


def complaints(alias: str = "default") -> list[tuple[str, str]]:
    return [(found.id, found.msg) for found in task_backends[alias].check()]


# ---------------------------------------------------------------------------------------------- options


def test_options_of_the_backend(in_memory: None, settings: Any) -> None:
    settings.TASKS = {
        "default": {"BACKEND": BACKEND, "OPTIONS": {"time_limit": 9, "soft_time_limit": 8, "expires": 60}}
    }
    frame = message(jobs.add.enqueue(1)).frame
    assert frame is not None
    assert frame.headers["timelimit"] == [9, 8]
    assert frame.headers["expires"] is not None
    assert complaints() == []


@with_options
def test_options_of_the_decorator_win(in_memory: None, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": BACKEND, "OPTIONS": {"max_retries": 9, "retry_backoff": True}}}
    task = get_app().tasks[jobs.never_succeed.module_path]
    assert (task.max_retries, task.retry_backoff, task.autoretry_for) == (1, True, (OSError,))
    assert jobs.never_succeed.options == {
        "max_retries": 1,
        "default_retry_delay": 0,
        "autoretry_for": [OSError],
    }


def test_exceptions_by_their_paths(in_memory: None, settings: Any) -> None:
    options = {
        "autoretry_for": ["smtplib.SMTPException", "builtins.OSError"],
        "max_retries": 2,
        "default_retry_delay": 0,
    }
    settings.TASKS = {"default": {"BACKEND": BACKEND, "OPTIONS": options}}
    assert [cls.__name__ for cls in get_app().tasks[jobs.add.module_path].autoretry_for] == [
        "SMTPException",
        "OSError",
    ]
    result = jobs.fail_with_value_error.enqueue()
    with start_worker(get_app()):
        assert finished(result).attempts == 1


def test_without_results(in_memory: None, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": BACKEND, "OPTIONS": {"ignore_result": True}}}
    result = jobs.note.enqueue("ignored")
    assert jobs.note.get_result(result.id).status == "READY"
    jobs.ran.clear()
    with start_worker(get_app()):
        jobs.eventually(lambda: jobs.ran)
    with pytest.raises(TaskResultDoesNotExist):
        jobs.note.get_result(result.id)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"max_retrys": 3},
            "OPTIONS of TASKS['default'] has no option 'max_retrys'. Did you mean 'max_retries'?",
        ),
        ({"queue": "mails"}, "has no option 'queue'"),
        ({"max_retries": -1}, "max_retries must be a whole number from 0, or None, not -1"),
        ({"time_limit": "soon"}, "time_limit must be a number of seconds above 0, not 'soon'"),
        (
            {"soft_time_limit": 3, "time_limit": 2},
            "soft_time_limit (3) must not be longer than time_limit (2)",
        ),
        (
            {"autoretry_for": ["no.such.Error"]},
            "autoretry_for names 'no.such.Error', which cannot be imported",
        ),
        (
            {"autoretry_for": ["os.path.join"]},
            "must hold exception classes or their dotted paths, not 'os.path.join'",
        ),
    ],
)
def test_wrong_options(in_memory: None, settings: Any, options: dict[str, Any], said: str) -> None:
    settings.TASKS = {"default": {"BACKEND": BACKEND, "OPTIONS": options}}
    ((id, text),) = complaints()
    assert id == "umbel.E010"
    assert said in text
    with pytest.raises(ImproperlyConfigured) as caught:
        jobs.add.enqueue(1)
    assert said in str(caught.value)


@with_options
def test_a_wrong_option_of_the_decorator() -> None:
    with pytest.raises(TypeError, match=r"no option .max_retrys.\. Did you mean"):
        jobs.task(max_retrys=3)(jobs.add.func)
    with pytest.raises(ConfigurationError, match="time_limit must be a number"):
        jobs.task(time_limit=-1)(jobs.add.func)


@with_options
def test_tasks_with_options_compare_and_hash() -> None:
    same = jobs.never_succeed.using()
    assert same == jobs.never_succeed
    assert same is not jobs.never_succeed
    assert hash(same) == hash(jobs.never_succeed)
    assert jobs.never_succeed.using(priority=5).options == jobs.never_succeed.options
    assert jobs.task(jobs.never_succeed.func) != jobs.never_succeed


@pytest.mark.skipif(django.VERSION < (6, 1), reason="older tasks cannot be pickled")
def test_tasks_and_results_can_be_pickled(in_memory: None) -> None:
    assert pickle.loads(pickle.dumps(jobs.add.using(priority=3))) == jobs.add.using(priority=3)
    result = jobs.succeed_at_third.enqueue()
    assert pickle.loads(pickle.dumps(result)) == result


# ---------------------------------------------------------------------------------------------- checks


def test_queues_that_no_worker_consumes(in_memory: None, settings: Any) -> None:
    assert complaints() == []
    settings.UMBEL = {**settings.UMBEL, "task_queues": ["celery"]}
    assert complaints() == []  # a worker consumes those of TASKS too
    assert list(queues.queues_of_backends(get_app().conf)) == ["celery", "mails"]


def test_without_the_application_the_backport_is_not_checked(in_memory: None, settings: Any) -> None:
    if django.VERSION >= (6, 0):
        return
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_tasks"]
    assert [id for id, _ in complaints()] == ["umbel.W010"]


def test_a_broker_that_is_none_is_reported_once(in_memory: None, settings: Any) -> None:
    settings.UMBEL = {"broker_url": 5}
    assert [id for id, _ in complaints()] == ["umbel.E001"]


# ---------------------------------------------------------------------------------------------- transactions


class Changed(Exception):
    pass


@pytest.fixture
def told() -> Iterator[list[str]]:
    """The ids of which task_enqueued has told."""
    ids: list[str] = []

    def receive(task_result: Any, **_: Any) -> None:
        ids.append(task_result.id)

    task_enqueued.connect(receive)
    yield ids
    task_enqueued.disconnect(receive)


@pytest.mark.django_db(transaction=True)
def test_a_call_is_sent_with_the_commit(on_redis: None, told: list[str]) -> None:
    with transaction.atomic():
        result = jobs.add.enqueue(1)
        assert (result.status, told) == ("READY", [])
        with pytest.raises(TaskResultDoesNotExist):
            jobs.add.get_result(result.id)
    assert told == [result.id]
    assert jobs.add.get_result(result.id) == result
    with start_worker(get_app()):
        assert finished(result).return_value == 2


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_nothing_behind(on_redis: None, redis: RedisServer, told: list[str]) -> None:
    get_app().broker  # noqa: B018 - connected before keys are counted
    with pytest.raises(Changed), transaction.atomic():
        result = jobs.add.enqueue(1)
        raise Changed
    assert told == []
    with pytest.raises(TaskResultDoesNotExist):
        jobs.add.get_result(result.id)
    assert redis.command("EXISTS", f"celery-task-meta-{result.id}") == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("switch", ["ENQUEUE_ON_COMMIT", "send_on_commit"])
def test_a_call_can_be_sent_at_once(on_redis: None, settings: Any, told: list[str], switch: str) -> None:
    if switch == "send_on_commit":
        settings.UMBEL = {**settings.UMBEL, "send_on_commit": False}
    else:
        settings.TASKS = {"default": {"BACKEND": BACKEND, "ENQUEUE_ON_COMMIT": False}}
    with pytest.raises(Changed), transaction.atomic():
        result = jobs.add.enqueue(1)
        assert told == [result.id]
        raise Changed
    assert jobs.add.get_result(result.id).status == "READY"


@pytest.mark.django_db(transaction=True)
def test_a_coroutine_waits_for_the_commit_too(on_redis: None, told: list[str]) -> None:
    async def call() -> Any:
        return await jobs.add.aenqueue(1)

    from asgiref.sync import async_to_sync

    with transaction.atomic():
        result = async_to_sync(call)()
        assert told == []
    assert told == [result.id]


@pytest.mark.django_db(transaction=True, available_apps=["umbel.contrib.django"])
def test_in_the_database_a_call_is_part_of_the_transaction(settings: Any, told: list[str]) -> None:
    settings.UMBEL = {"broker_url": "django://default", "result_backend": "django://default"}
    with transaction.atomic():
        result = jobs.add.enqueue(1)
        assert jobs.add.get_result(result.id) == result
        assert Result.objects.filter(task_id=result.id).exists()
        assert Message.objects.filter(task_id=result.id).exists()
        assert told == []
    assert told == [result.id]
    with pytest.raises(Changed), transaction.atomic():
        lost = jobs.add.enqueue(1)
        raise Changed
    with pytest.raises(TaskResultDoesNotExist):
        jobs.add.get_result(lost.id)
    assert Message.objects.count() == 1
    with start_worker(get_app()):
        assert finished(result).return_value == 2
    get_app().close()


@pytest.mark.django_db(transaction=True, available_apps=["umbel.contrib.django"])
def test_results_in_the_database_for_a_queue_elsewhere(
    on_redis: None, settings: Any, told: list[str]
) -> None:
    settings.UMBEL = {**settings.UMBEL, "result_backend": "django-db"}
    with pytest.raises(Changed), transaction.atomic():
        jobs.add.enqueue(1)
        raise Changed
    assert not Result.objects.exists()
    with transaction.atomic():
        result = jobs.add.enqueue(1)
    assert jobs.add.get_result(result.id) == result
    with start_worker(get_app()):
        assert finished(result).return_value == 2


@pytest.mark.django_db(transaction=True, available_apps=["umbel.contrib.django"])
def test_a_queue_in_the_database_with_results_elsewhere(redis: RedisServer, settings: Any) -> None:
    settings.UMBEL = {"broker_url": "django://default", "result_backend": redis.url()}
    result = jobs.add.enqueue(1)
    assert (
        redis.command("EXISTS", f"celery-task-meta-{result.id}") == 0
    )  # it could come later than a worker's
    assert jobs.add.get_result(result.id) == result  # found by its message
    with start_worker(get_app()):
        assert finished(result).return_value == 2
    get_app().close()


class InATestCase(TestCase):
    def test_on_commit_callbacks_are_captured(self) -> None:
        with self.settings(UMBEL={"broker_url": "memory://captured", "result_backend": "memory://captured"}):
            with self.captureOnCommitCallbacks() as callbacks:
                result = jobs.add.enqueue(1)
            assert callbacks
            with pytest.raises(TaskResultDoesNotExist):
                jobs.add.get_result(result.id)
            with self.captureOnCommitCallbacks(execute=True):
                result = jobs.add.enqueue(1)
            assert jobs.add.get_result(result.id) == result


# ---------------------------------------------------------------------------------------------- connections


def test_nothing_is_opened_before_it_is_used(settings: Any) -> None:
    settings.UMBEL = {"broker_url": f"redis://localhost:{free_port()}"}
    assert task_backends["default"].alias == "default"
    assert jobs.add.using(priority=1).priority == 1
    task_backends["default"].close()


def test_each_thread_has_an_instance_of_its_own(on_redis: None) -> None:
    kept: list[Any] = []
    everybody = threading.Barrier(20)

    def work() -> None:
        everybody.wait()
        for number in range(5):
            jobs.add.enqueue(number)
        kept.append(task_backends["default"])

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(instance) for instance in kept}) == 20


def test_closing_the_instance_of_a_thread_leaves_others_their_connections(
    on_redis: None, redis: RedisServer
) -> None:
    result = jobs.add.enqueue(1)
    accepted = redis.info("total_connections_received")
    task_backends["default"].close()
    assert jobs.add.get_result(result.id) == result
    assert int(redis.info("total_connections_received")) == int(accepted) + 1, "that of this question"


def test_it_works_again_after_its_app_was_closed(on_redis: None) -> None:
    result = jobs.add.enqueue(1)
    get_app().close()
    assert jobs.add.get_result(result.id) == result
    assert jobs.add.enqueue(1).status == "READY"


def test_a_broker_that_is_away(settings: Any) -> None:
    url = f"redis://localhost:{free_port()}"
    settings.UMBEL = {"broker_url": url, "result_backend": url, "broker_send_timeout": 0.2}
    with pytest.raises(BrokerUnavailable, match="Nothing was sent"):
        jobs.add.enqueue(1)
    with pytest.raises(BrokerUnavailable, match="Nothing was sent"):
        asyncio.run(jobs.add.aenqueue(1))


def test_what_was_not_sent_leaves_no_record(
    on_redis: None, redis: RedisServer, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.UMBEL = {
        "broker_url": f"redis://localhost:{free_port()}",
        "result_backend": redis.url(),
        "broker_send_timeout": 0.2,
    }
    with pytest.raises(BrokerUnavailable):
        jobs.add.enqueue(1)
    assert redis.command("KEYS", "celery-task-meta-*") == []


# ---------------------------------------------------------------------------------------------- names


def test_a_task_is_known_under_the_path_of_its_function() -> None:
    task = get_app().tasks["tests.django.tasks_fixtures.add"]
    assert task.name == jobs.add.module_path
    assert get_app().gen_task_name("add", "tests.django.tasks_fixtures") == task.name


def test_it_can_be_called_as_a_task_of_umbel(in_memory: None) -> None:
    with start_worker(get_app()):
        assert get_app().send_task("tests.django.tasks_fixtures.add", (1, 2)).get(timeout=30) == 3
        said = get_app().send_task("tests.django.tasks_fixtures.describe", (1,)).get(timeout=30)
    assert said["wanted"] == 1


def test_what_may_be_a_task() -> None:
    finder = declared.Finder()
    assert finder.may_find("tests.django.site.jobs.add")  # of an installed application
    assert finder.may_find("tests.django.tasks_fixtures.add")  # imported
    assert not finder.may_find("antigravity.geohash")
    assert not finder.may_find("add")
    assert not finder.may_find("tests.django.site.jobs.no name")
    assert not finder.may_find("")
    assert finder.find(get_app(), "tests.django.site.nothing.add") is None
    assert finder.find(get_app(), "os.path.join") is None
