"""A call inside a transaction is sent when it has been committed, and not at all when it is rolled back."""

from __future__ import annotations

import asyncio
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections, transaction
from django.test import TestCase
from tests.django import tasks_fixtures as jobs
from tests.django.project import Project
from tests.servers import RedisServer, free_port

from umbel import Umbel, current_app, portal, shared_task
from umbel.contrib.django.models import Message
from umbel.contrib.django.transactions import alias_of
from umbel.errors import BrokerUnavailable, CallError, CapabilityError

pytestmark = pytest.mark.django_db(transaction=True)


@shared_task
def greet(name: str) -> str:
    return f"Hello, {name}"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def waiting(redis: RedisServer, settings: Any) -> Iterator[Any]:
    """The broker is Redis, and the answer is a function: the names that wait, as greet() was given them."""
    settings.UMBEL = {"broker_url": redis.url(), "task_default_queue": f"q-{uuid.uuid4()}"}

    async def browse() -> list[str]:
        await current_app.broker.open()
        found = await current_app.broker.browse("waiting", [current_app.conf.task_default_queue])
        return [message.frame.headers["argsrepr"] for message in found if message.frame is not None]

    yield lambda: portal.run(browse())
    current_app.close()


class Changed(Exception):
    pass


def test_it_is_sent_on_commit(waiting: Any) -> None:
    with transaction.atomic():
        result = greet.delay("Ada")
        assert result.id
        assert waiting() == []
    assert waiting() == ["('Ada',)"]


def test_it_is_dropped_on_rollback(waiting: Any) -> None:
    with pytest.raises(Changed), transaction.atomic():
        greet.delay("Ada")
        raise Changed
    assert waiting() == []


def test_a_savepoint_that_is_rolled_back_takes_its_calls_with_it(waiting: Any) -> None:
    with transaction.atomic():
        greet.delay("before")
        with pytest.raises(Changed), transaction.atomic():
            greet.delay("inside")
            raise Changed
        greet.delay("after")
    assert sorted(waiting()) == ["('after',)", "('before',)"]


def test_without_a_transaction_it_is_sent_at_once(waiting: Any) -> None:
    greet.delay("Ada")
    greet.delay_on_commit("Bob")
    greet.apply_async_on_commit(("Cy",))
    assert len(waiting()) == 3


def test_a_call_may_insist_on_now(waiting: Any) -> None:
    with pytest.raises(Changed), transaction.atomic():
        greet.apply_async(("Ada",), on_commit=False)
        raise Changed
    assert waiting() == ["('Ada',)"]


def test_the_project_may_prefer_now_and_a_call_the_commit(waiting: Any, settings: Any) -> None:
    settings.UMBEL = {**settings.UMBEL, "send_on_commit": False}
    with pytest.raises(Changed), transaction.atomic():
        greet.delay("Ada")
        greet.delay_on_commit("Bob")
        greet.apply_async_on_commit(("Cy",), queue=current_app.conf.task_default_queue)
        raise Changed
    assert waiting() == ["('Ada',)"]


def test_many_calls_and_signatures_wait_too(waiting: Any) -> None:
    with pytest.raises(Changed), transaction.atomic():
        greet.map_async(["Ada", "Bob"])
        greet.s("Cy").apply_async()
        current_app.send_many([greet.s("Di")])
        current_app.send_task(greet.name, ("Ed",))
        raise Changed
    assert waiting() == []
    with transaction.atomic():
        greet.map_async(["Ada", "Bob"])
    assert len(waiting()) == 2


def test_a_coroutine_inside_a_transaction_waits_as_well(waiting: Any) -> None:
    async def call() -> str:
        return (await greet.adelay("Ada")).id

    with pytest.raises(Changed), transaction.atomic():
        async_to_sync(call)()
        raise Changed
    assert waiting() == []
    with transaction.atomic():
        assert async_to_sync(call)()
        assert waiting() == []
    assert waiting() == ["('Ada',)"]


def test_a_broker_that_is_away_at_the_commit_is_an_error_that_says_what_happened(
    waiting: Any, settings: Any
) -> None:
    settings.UMBEL = {"broker_url": f"redis://127.0.0.1:{free_port()}/0", "broker_send_timeout": 0.2}
    with pytest.raises(BrokerUnavailable) as caught, transaction.atomic():
        greet.delay("Ada")
    assert "has been committed" in caught.value.__notes__[0]
    assert "greet" in caught.value.__notes__[0]


def test_what_else_waits_for_the_commit_is_done_and_all_that_was_lost_is_told(
    waiting: Any, settings: Any
) -> None:
    settings.UMBEL = {"broker_url": f"redis://127.0.0.1:{free_port()}/0", "broker_send_timeout": 0.2}
    done: list[str] = []
    with pytest.raises(BrokerUnavailable) as caught, transaction.atomic():
        greet.delay("Ada")
        transaction.on_commit(lambda: done.append("between"))
        with pytest.raises(Changed), transaction.atomic():
            greet.delay("rolled back")
            raise Changed
        greet.map_async(["Bob", "Cy"])
        transaction.on_commit(lambda: done.append("after"))
    assert done == ["between", "after"]
    assert "3 calls were lost" in caught.value.__notes__[-1]
    with transaction.atomic():
        transaction.on_commit(lambda: done.append("next"))
    assert done == ["between", "after", "next"], "one commit's errors reach the next"


def test_a_queue_without_an_alias_is_in_the_default_database(settings: Any) -> None:
    settings.UMBEL = {"broker_url": "django://"}
    with pytest.raises(Changed), transaction.atomic():
        greet.delay("Ada")
        assert Message.objects.count() == 1
        raise Changed
    assert Message.objects.count() == 0
    current_app.close()


def _in_postgres(settings: Any) -> None:
    settings.UMBEL = {"database": "postgres"}


def _sessions() -> list[int]:
    """The other sessions of this process at the server."""
    with connections["postgres"].cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        return [pid for (pid,) in cursor.fetchall()]


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_coroutines_that_send_use_the_connection_of_the_orm(settings: Any) -> None:
    _in_postgres(settings)

    async def send() -> None:
        await asyncio.gather(*(greet.adelay(f"user-{number}") for number in range(20)))

    before = _sessions()
    async_to_sync(send)()
    assert Message.objects.using("postgres").count() == 20
    assert _sessions() == before
    current_app.close()


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_who_sends_now_beside_a_transaction_shares_one_connection(settings: Any) -> None:
    _in_postgres(settings)
    before = len(_sessions())
    for number in range(6):
        with pytest.raises(Changed), transaction.atomic(using="postgres"):
            greet.apply_async((str(number),), on_commit=False)
            raise Changed
    assert Message.objects.using("postgres").count() == 6
    assert len(_sessions()) <= before + 1
    current_app.close()


def test_autocommit_that_is_off_is_told_of_where_a_call_must_wait(waiting: Any) -> None:
    connection.ensure_connection()
    transaction.set_autocommit(False)
    try:
        with pytest.raises(CapabilityError, match="autocommit is off"):
            greet.delay_on_commit("Ada")
        greet.delay("Bob")
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert waiting() == ["('Bob',)"]


def test_the_alias_of_a_url() -> None:
    assert alias_of("django://default") == "default"
    assert alias_of("django://queue/?x=1") == "queue"
    assert alias_of("django://") == alias_of("django://?lock_timeout=1") == "default"
    assert alias_of("redis://default") is None


def test_a_call_that_is_refused_leaves_no_record_at_the_commit(redis: RedisServer, settings: Any) -> None:
    redis.command("FLUSHALL")
    settings.UMBEL = {
        "broker_url": redis.url(),
        "result_backend": redis.url(),
        "task_queues": ["celery"],
        "task_create_missing_queues": False,
    }
    with transaction.atomic(), pytest.raises(CallError):
        jobs.add.using(queue_name="mails").enqueue(1)
    assert redis.command("KEYS", "*meta*") == []
    with transaction.atomic():
        jobs.add.enqueue(1)
    assert redis.command("KEYS", "*meta*") != []
    current_app.close()


@pytest.mark.usefixtures("redis_app")
class InATestCase(TestCase):
    """``TestCase`` wraps each test into a transaction: calls wait in it, and can be let go."""

    app: Umbel

    def test_calls_can_be_captured(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            greet.delay("Ada")
        assert len(callbacks) == 1

    def test_and_sent(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            result = greet.delay("Ada")
        assert result.known()


@pytest.fixture
def redis_app(redis: RedisServer, settings: Any) -> Iterator[None]:
    settings.UMBEL = {"broker_url": redis.url(), "result_backend": redis.url()}
    yield
    current_app.close()


MANY_THREADS = """
from threading import Thread
from umbel.contrib.django.models import Message, Result
from umbel.contrib.django.tasks_api.library import task_backends
from orders.tasks import add

def send():
    for number in range(40):
        add.enqueue(number)

threads = [Thread(target=send) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(Message.objects.count(), Result.objects.count())
"""


def test_threads_that_enqueue_at_the_same_time_wait_for_one_another(tmp_path: pathlib.Path) -> None:
    project = Project(tmp_path)
    library = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    project.write(
        "orders/tasks.py", f"from {library} import task\n\n@task\ndef add(number):\n    return number\n"
    )
    project.add_settings(
        "TASKS = {'default': {'BACKEND': 'umbel.contrib.django.TaskBackend'}}\n"
        "UMBEL = {'broker_send_timeout': 60, 'broker_transport_options': {'lock_timeout': 60}}\n"
    )
    project.manage("migrate", "-v", "0")
    said = project.python(MANY_THREADS)
    assert said.stdout.split() == ["160", "160"], said.stderr
