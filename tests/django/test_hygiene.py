"""What a task leaves behind in its thread, and what the next one finds."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from tests.django.project import Project
from tests.servers import RedisServer

TASKS = """
import threading
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
