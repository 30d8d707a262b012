"""The backend of django.tasks with what only real processes have: crashes, kills, limits, modules that nobody has imported."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import django
import pytest
from tests.django.project import Project, eventually
from tests.servers import RedisServer

LIBRARY = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
SETTINGS = """
    TASKS = {{
        "default": {{"BACKEND": "umbel.contrib.django.TaskBackend", "QUEUES": ["default", "mails"]}},
        "limited": {{"BACKEND": "umbel.contrib.django.TaskBackend", "OPTIONS": {{"time_limit": 1, "soft_time_limit": None}}}},
    }}
    UMBEL = {{"broker_url": "{url}", "result_backend": "{url}", "worker_lease": 8}}
    LOGGING = {{
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {{"console": {{"class": "logging.StreamHandler"}}}},
        "loggers": {{"{library}": {{"handlers": ["console"], "level": "DEBUG"}}}},
    }}
    if "{library}" == "django_tasks":
        INSTALLED_APPS.append("django_tasks")
"""
TASKS = """
    import os, pathlib, time
    from {library} import task

    HERE = pathlib.Path(__file__).parent

    @task
    def add(a, b):
        return a + b

    @task(takes_context=True)
    def die_at_first(context):
        if context.attempt == 1:
            os._exit(3)
        return context.attempt

    @task
    def die():
        os._exit(3)

    @task(takes_context=True)
    def wait(context):
        (HERE / f"began-{{context.attempt}}").touch()
        while not (HERE / "gate").exists():
            time.sleep(0.01)
        return context.attempt

    @task(backend="limited")
    def run_for_ever():
        while True:
            time.sleep(60)
"""
JOBS = """
    from {library} import task

    @task(queue_name="mails")
    async def mail(address):
        return f"mailed {{address}}"
"""


@pytest.fixture(params=["sqlite", "redis", "django"])
def shop(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Project]:
    """A project that uses django.tasks."""
    project = Project(tmp_path / "shop")
    project.write("orders/tasks.py", TASKS.format(library=LIBRARY))
    project.write("orders/jobs.py", JOBS.format(library=LIBRARY))
    if request.param == "sqlite":
        project.add_settings(SETTINGS.format(library=LIBRARY, url=f"sqlite:///{tmp_path}/queue.sqlite3"))
        yield project
        return
    if request.param == "django":
        project.add_settings(SETTINGS.format(library=LIBRARY, url="django://default"))
        project.manage("migrate")
        yield project
        return
    with RedisServer(tmp_path / "redis") as server:
        project.add_settings(SETTINGS.format(library=LIBRARY, url=server.url()))
        yield project


def enqueue(shop: Project, *calls: str) -> list[str]:
    """Enqueue each of `calls`, such as ``tasks.add.enqueue(1, 2)``; the ids."""
    code = "from orders import tasks, jobs\n" + "\n".join(f"print({call}.id)" for call in calls)
    return shop.python(code).stdout.split()


def look(shop: Project, alias: str, *ids: str, until: str = "is_finished") -> list[dict[str, Any]]:
    """What another process finds of these results when all of them have finished, or are as `until` says."""
    code = f"""
        import json, time
        from {LIBRARY} import task_backends
        from umbel.contrib.django.tasks_api.library import TaskResultStatus
        found = []
        for id in {ids!r}:
            deadline = time.monotonic() + 50
            while True:
                result = task_backends[{alias!r}].get_result(id)
                if result.is_finished if {until!r} == "is_finished" else eval({until!r}):
                    break
                assert time.monotonic() < deadline, result
                time.sleep(0.02)
            found.append({{
                "status": str(result.status.value),
                "value": result._return_value,
                "attempts": result.attempts,
                "workers": result.worker_ids,
                "errors": [[error.exception_class.__name__, error.traceback] for error in result.errors],
                "times": [str(t) for t in (result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at)],
            }})
        print(json.dumps(found))
    """
    answer: list[dict[str, Any]] = json.loads(shop.python(code).stdout)
    return answer


def test_tasks_run_those_of_modules_included_that_nobody_imports(shop: Project) -> None:
    ids = enqueue(shop, "tasks.add.enqueue(1, 2)", "jobs.mail.enqueue('ada@example.org')")
    with shop.worker("-c", "2", "-n", "one@%h") as worker:
        add, mail = look(shop, "default", *ids)
        worker.wait_for("state=SUCCESSFUL", count=2)
    assert (add["status"], add["value"], add["attempts"], add["errors"]) == ("SUCCESSFUL", 3, 1, [])
    assert (mail["status"], mail["value"]) == ("SUCCESSFUL", "mailed ada@example.org")
    assert add["workers"][0].startswith("one@")
    assert add["times"] == sorted(add["times"])
    assert f"Task orders.tasks.add[{ids[0]}]" in worker.output()


def test_a_task_that_is_nowhere_is_parked(shop: Project) -> None:
    shop.write("orders/broken.py", "import there.are.none")
    shop.python(
        "from umbel import current_app\n"
        "current_app.send_task('orders.jobs.gone')\n"
        "current_app.client.send_prepared([current_app.client.prepare('orders.broken.job', (), {})])"
    )
    with shop.worker("-c", "1") as worker:
        worker.wait_for("No worker here knows the task 'orders.jobs.gone'")
        worker.wait_for(
            "The module of the task 'orders.broken.job' cannot be imported: No module named 'there'"
        )
        eventually(
            lambda: shop.manage("umbel", "list", "parked").stdout.count("orders.") >= 2, "both are parked"
        )


def test_each_crash_is_an_attempt_with_an_error(shop: Project) -> None:
    ids = enqueue(shop, "tasks.die_at_first.enqueue()", "tasks.die.enqueue()")
    with shop.worker("-c", "1"):
        once, always = look(shop, "default", *ids)
    assert (once["status"], once["value"], once["attempts"]) == ("SUCCESSFUL", 2, 2)
    assert [name for name, _ in once["errors"]] == ["WorkerLostError"]
    assert len(set(once["workers"])) == 1
    assert once["times"][1] < once["times"][2]
    assert (always["status"], always["attempts"]) == ("FAILED", 3)
    assert [name for name, _ in always["errors"]] == ["WorkerLostError"] * 3
    assert "exit" in always["errors"][0][1]


def test_a_worker_that_is_killed_is_an_attempt_with_an_error(shop: Project) -> None:
    (id,) = enqueue(shop, "tasks.wait.enqueue()")
    with shop.worker("-c", "1", "-n", "first@%h"):
        eventually((shop.folder / "orders/began-1").exists, "the first attempt")
        (running,) = look(shop, "default", id, until="result.status == TaskResultStatus.RUNNING")
        assert running["workers"][0].startswith("first@")
    with shop.worker("-c", "1", "-n", "second@%h"):
        eventually((shop.folder / "orders/began-2").exists, "the second attempt")
        (shop.folder / "orders/gate").touch()
        (result,) = look(shop, "default", id)
    assert (result["status"], result["value"], result["attempts"]) == ("SUCCESSFUL", 2, 2)
    assert [name for name, _ in result["errors"]] == ["WorkerLostError"]
    assert result["workers"][1].startswith("second@")


def test_a_hard_time_limit_is_an_error_of_its_attempt(shop: Project) -> None:
    (id,) = enqueue(shop, "tasks.run_for_ever.enqueue()")
    with shop.worker("-c", "1", "-n", "one@%h"):
        (result,) = look(shop, "limited", id)
    assert (result["status"], result["attempts"]) == ("FAILED", 1)
    assert [name for name, _ in result["errors"]] == ["TimeLimitExceeded"]
    assert result["workers"][0].startswith("one@")
    assert result["times"][1] <= result["times"][3]


def test_options_of_another_backend_go_with_the_call(shop: Project) -> None:
    (id,) = enqueue(shop, "tasks.wait.using(backend='limited').enqueue()")
    with shop.worker("-c", "1"):
        (result,) = look(shop, "limited", id)
    assert [name for name, _ in result["errors"]] == ["TimeLimitExceeded"]
