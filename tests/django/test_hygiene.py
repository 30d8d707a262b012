"""What a task leaves behind in its thread, and what the next one finds."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from tests.django.project import Project, eventually
from tests.servers import RedisServer

TASKS = """
import asyncio, threading, time
from pathlib import Path
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone, translation
from umbel import shared_task


def _state():
    return {
        "connection": None if connection.connection is None else id(connection.connection),
        "queries": len(connection.queries_log),
        "language": translation.get_language(),
        "zone": timezone.get_current_timezone_name(),
    }

@shared_task
def look():
    return _state()

@shared_task
def use():
    User.objects.count()
    translation.activate("zh-hans")
    timezone.activate("Asia/Shanghai")
    return _state()

@shared_task
def count():
    return User.objects.count()

@shared_task
async def acount():
    return await User.objects.acount()

@shared_task
async def awrite(name):
    await User.objects.acreate(username=name)
    return await User.objects.filter(username=name).aexists()

HERE = Path(__file__).parent

@shared_task
async def iterate():
    found = 0
    async for user in User.objects.order_by("pk").aiterator(chunk_size=10):
        found += 1
        if found == 15:
            (HERE / "halfway").touch()
            while not (HERE / "go").exists():
                await asyncio.sleep(0.01)
    return found

def _wait_for_go():
    (HERE / "halfway").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)

@shared_task
async def block():
    await sync_to_async(_wait_for_go)()
    return "went on"

@shared_task
async def awhich():
    await User.objects.acount()
    return await sync_to_async(lambda: id(connection.connection))()

@shared_task
async def alook():
    return await sync_to_async(_state)()
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def project(tmp_path: pathlib.Path, redis: RedisServer) -> Project:
    redis.command("FLUSHALL")
    project = Project(tmp_path)
    project.write("orders/tasks.py", TASKS)
    project.add_settings(f"UMBEL = {{'broker_url': {redis.url()!r}, 'result_backend': {redis.url()!r}}}\n")
    project.manage("migrate", "-v", "0")
    return project


ONE_AT_A_TIME = [
    pytest.param(("-P", "prefork", "-c", "1"), id="prefork"),
    pytest.param(("-P", "threads", "-c", "1"), id="threads"),
    pytest.param(("-P", "solo"), id="solo"),
]


@pytest.mark.parametrize("pool", ONE_AT_A_TIME)
@pytest.mark.parametrize("age", [0, 60, None])
def test_connections_live_as_long_as_conn_max_age_says(
    project: Project, pool: tuple[str, ...], age: int | None
) -> None:
    project.add_settings(f"DATABASES['default']['CONN_MAX_AGE'] = {age}\n")
    with project.worker(*pool):
        said = project.python(
            """
            from orders.tasks import look, use
            used, after = use.delay().get(timeout=60), look.delay().get(timeout=60)
            print(used["language"], used["zone"], used["queries"] > 0)
            print(after["language"], after["zone"], after["queries"])
            print(after["connection"] is None, after["connection"] == used["connection"])
            """
        ).stdout.splitlines()
    assert said[0] == "zh-hans Asia/Shanghai True"
    assert said[1] == "en-us Europe/Oslo 0", "language, zone and queries of one task reach the next"
    assert said[2] == ("True False" if age == 0 else "False True")


@pytest.mark.parametrize(
    "pool",
    [
        *ONE_AT_A_TIME,
        pytest.param(("-P", "asyncio"), id="asyncio"),
        pytest.param(
            (
                "-P",
                "threads",
            ),
            id="threads10",
        ),
    ],
)
def test_coroutines_use_the_database(project: Project, pool: tuple[str, ...]) -> None:
    with project.worker(*pool):
        said = project.python(
            """
            from orders.tasks import acount, awrite, count
            written = [awrite.delay(f"user-{n}") for n in range(20)]
            print(all(result.get(timeout=60) for result in written))
            print(acount.delay().get(timeout=60), count.delay().get(timeout=60))
            """
        ).stdout.split()
    assert said == ["True", "20", "20"]


def test_what_was_opened_before_the_fork_is_not_shared(project: Project) -> None:
    project.write(
        "orders/apps.py",
        """
        from django.apps import AppConfig
        from django.db import connection

        class OrdersConfig(AppConfig):
            name = "orders"
            def ready(self):
                connection.ensure_connection()
        """,
    )
    with project.worker("-c", "2"):
        said = project.python(
            "from orders.tasks import look\nprint([look.delay().get(timeout=60)['connection'] for _ in range(6)])"
        )
    assert said.stdout.strip() == str([None] * 6)


@pytest.mark.parametrize(("task", "answer"), [("iterate", "30"), ("block", "went on")])
def test_a_coroutine_does_not_notice_that_others_begin_and_end(
    project: Project, task: str, answer: str
) -> None:
    project.python(
        "from django.contrib.auth.models import User\n"
        "User.objects.bulk_create([User(username=f'user-{n}') for n in range(30)])\n"
    )
    with (
        project.worker("-P", "asyncio", "-c", "5"),
        project.program(
            "manage.py", "shell", "-c", f"from orders.tasks import *\nprint({task}.delay().get(timeout=60))"
        ) as long,
    ):
        eventually((project.folder / "orders/halfway").exists, "the long task to be in the middle")
        said = project.python(
            "from orders.tasks import acount\nprint([acount.delay().get(timeout=30) for _ in range(5)])"
        )
        (project.folder / "orders/go").touch()
        long.wait_for(answer)
    assert said.stdout.strip() == str([30] * 5)


@pytest.mark.parametrize("age", [0, 60])
def test_connections_of_coroutines_live_as_long_as_conn_max_age_says(project: Project, age: int) -> None:
    project.add_settings(f"DATABASES['default']['CONN_MAX_AGE'] = {age}\n")
    with project.worker("-P", "asyncio"):
        said = project.python(
            """
            from orders.tasks import alook, awhich
            used, after = awhich.delay().get(timeout=60), alook.delay().get(timeout=60)["connection"]
            print(after is None, after == used)
            """
        )
    assert said.stdout.strip() == ("True False" if age == 0 else "False True")
