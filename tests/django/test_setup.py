"""One line in INSTALLED_APPS is enough, and so is an existing project's configuration of Celery."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Iterator

import pytest
from tests.django.project import PATIENCE, Project, eventually
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def project(tmp_path: pathlib.Path, redis: RedisServer) -> Project:
    redis.command("FLUSHALL")
    project = Project(tmp_path)
    project.write(
        "orders/tasks.py",
        """
        from umbel import shared_task

        @shared_task
        def add(x, y):
            return x + y
        """,
    )
    return project


CLASSIC_APP = """
import os
from umbel import Umbel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Umbel("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""


def test_one_line_in_installed_apps_is_enough(project: Project, redis: RedisServer) -> None:
    project.add_settings(f"UMBEL = {{'broker_url': {redis.url()!r}, 'result_backend': {redis.url()!r}}}\n")
    with project.worker() as worker:
        assert "app:         shop" in worker.output()
        assert "orders.tasks.add" in worker.output()
        called = project.manage("umbel", "call", "orders.tasks.add", "--args", "[2, 3]", "--wait")
        assert called.stdout.strip() == "5"


@pytest.mark.parametrize("installed", [True, False], ids=["installed", "not installed"])
@pytest.mark.parametrize(
    "discover", ["app.autodiscover_tasks()", "app.autodiscover_tasks(lambda: settings.INSTALLED_APPS)"]
)
def test_the_classic_layout_works_with_the_import_line_changed(
    project: Project, redis: RedisServer, installed: bool, discover: str
) -> None:
    project.write(
        "shop/celery.py",
        "from django.conf import settings\n" + CLASSIC_APP.replace("app.autodiscover_tasks()", discover),
    )
    project.write("shop/__init__.py", "from .celery import app as celery_app\n__all__ = ('celery_app',)\n")
    project.add_settings(
        f"CELERY_BROKER_URL = CELERY_RESULT_BACKEND = {redis.url()!r}\nCELERY_TASK_TRACK_STARTED = True\n"
    )
    if not installed:
        project.add_settings("INSTALLED_APPS.remove('umbel.contrib.django')\n")
    with project.program("-m", "umbel", "-A", "shop", "worker", "-l", "info") as worker:
        worker.wait_for("ready.")
        assert "orders.tasks.add" in worker.output()
        said = project.python(
            "from orders.tasks import add\n"
            "print(add.app.main, add.app.conf.task_track_started, add.delay(2, 3).get(timeout=60))"
        )
        assert said.stdout.split() == ["shop", "True", "5"]


@pytest.mark.parametrize(
    "settings",
    [
        "UMBEL_BROKER_URL = UMBEL_RESULT_BACKEND = URL",
        "UMBEL = {'BROKER_URL': URL, 'CELERY_RESULT_BACKEND': URL}",
        "CELERY_BROKER_URL = CELERY_RESULT_BACKEND = URL",
        "BROKER_URL = CELERY_RESULT_BACKEND = URL",
        "BROKER_TRANSPORT, BROKER_HOST, BROKER_PORT, BROKER_VHOST = 'redis', 'localhost', PORT, '0'\nCELERY_RESULT_BACKEND = URL",
    ],
    ids=["UMBEL_", "UMBEL", "CELERY_", "BROKER_URL", "BROKER_TRANSPORT"],
)
def test_settings_of_every_age_are_read(project: Project, redis: RedisServer, settings: str) -> None:
    project.add_settings(f"URL, PORT = {redis.url()!r}, {redis.port}\n{settings}\n")
    said = project.python(
        "from umbel import current_app\nprint(current_app.broker_url.rstrip('/'), current_app.result_url, current_app.conf.timezone)"
    )
    assert said.stdout.split() == [redis.url().rstrip("/"), redis.url(), "Europe/Oslo"]


def test_commands_take_djangos_options_and_are_called_from_code(project: Project, redis: RedisServer) -> None:
    project.add_settings(f"UMBEL = {{'broker_url': {redis.url()!r}}}\n")
    project.write(
        "shop/other.py", "from .settings import *\nUMBEL = {**UMBEL, 'task_default_queue': 'other'}\n"
    )
    project.manage("umbel", "call", "orders.tasks.add", "--args", "[1, 2]", "--settings", "shop.other")
    listed = project.manage("umbel", "--settings=shop.other", "list", "queues").stdout
    assert "other" in listed
    said = project.python(
        "from django.core.management import call_command\ncall_command('umbel', 'list', 'queues')"
    )
    assert "other" in said.stdout
    project.manage("umbel", "purge", "-f", "-Q", "other")
    assert "umbel worker" not in project.manage("umbel", "--help").stdout.splitlines()[0]
    assert project.manage("umbel", "wroker", check=False).returncode == 2


def test_dev_runs_the_site_and_a_worker_and_ends_both(project: Project, redis: RedisServer) -> None:
    project.add_settings(f"UMBEL = {{'broker_url': {redis.url()!r}, 'result_backend': {redis.url()!r}}}\n")
    project.env["PYTHONUNBUFFERED"] = "1"
    with project.program("manage.py", "umbel", "dev", "127.0.0.1:0") as dev:
        dev.wait_for("development server at")
        dev.wait_for("ready.")
        called = project.manage("umbel", "call", "orders.tasks.add", "--args", "[2, 3]", "--wait")
        assert called.stdout.strip() == "5"
        project.write(
            "orders/tasks.py", (project.folder / "orders/tasks.py").read_text().replace("x + y", "x * y")
        )
        dev.wait_for("ready.", count=2)
        called = project.manage("umbel", "call", "orders.tasks.add", "--args", "[2, 3]", "--wait")
        assert called.stdout.strip() == "6"
        assert dev.stop() == 0


def children(pid: int) -> list[int]:
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    return [pid, *(each for child in children(pid) for each in family(child))]


def is_there(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGKILL])
def test_dev_leaves_nothing_behind_when_its_terminal_is_closed_or_it_is_killed(
    project: Project, redis: RedisServer, signum: signal.Signals
) -> None:
    project.add_settings(f"UMBEL = {{'broker_url': {redis.url()!r}}}\n")
    project.env["PYTHONUNBUFFERED"] = "1"
    with project.program("manage.py", "umbel", "dev", "127.0.0.1:0") as dev:
        dev.wait_for("development server at")
        dev.wait_for("ready.")
        started = family(dev.process.pid)
        assert len(started) >= 5  # dev, the site and its reloader, the worker and what it runs tasks in
        try:
            dev.process.send_signal(signum)
            dev.process.wait(PATIENCE)
            eventually(lambda: not any(map(is_there, started)), "the end of the site and the worker")
        finally:
            for pid in filter(is_there, started):
                os.kill(pid, signal.SIGKILL)


def test_dev_ends_with_an_error_when_one_of_the_two_cannot_start(
    project: Project, redis: RedisServer
) -> None:
    project.add_settings(f"UMBEL = {{'broker_url': {redis.url()!r}}}\n")
    with project.program("manage.py", "umbel", "dev", "--", "-P", "nonsense") as dev:
        assert dev.process.wait(60) != 0
        assert "no pool 'nonsense'" in dev.output()


def test_a_task_called_while_django_loads_says_what_to_do(project: Project) -> None:
    project.write(
        "orders/__init__.py",
        "from umbel import Umbel\napp = Umbel('early')\napp.send_task('orders.tasks.add', (1, 2))\n",
    )
    failed = project.manage("check", check=False)
    assert failed.returncode != 0
    assert "Do not call a task while a module is imported" in failed.stderr


def test_a_wrong_setting_is_a_sentence_with_the_nearest_name(project: Project) -> None:
    project.add_settings("UMBEL = {'task_time_limt': 60}\n")
    for arguments in (["check"], ["umbel", "worker"], ["umbel", "dev"]):
        failed = project.manage(*arguments, check=False)
        assert failed.returncode == 1
        assert "Did you mean 'task_time_limit'?" in failed.stderr
    assert "Traceback" not in project.manage("umbel", "worker", check=False).stderr


def test_results_where_django_celery_results_had_them(project: Project, redis: RedisServer) -> None:
    project.write("shop/celery.py", CLASSIC_APP)
    project.write("shop/__init__.py", "from .celery import app as celery_app\n")
    project.add_settings(f"CELERY_BROKER_URL = {redis.url()!r}\nCELERY_RESULT_BACKEND = 'django-db'\n")
    project.manage("migrate", "-v", "0")
    assert "no issues" in project.manage("check").stdout
    with project.worker():
        said = project.python(
            "from orders.tasks import add\nfrom umbel.contrib.django.models import Result\n"
            "print(add.delay(2, 3).get(timeout=60), Result.objects.count())"
        )
    assert said.stdout.split() == ["5", "1"]


def test_a_record_of_a_task_imports_nothing_from_outside_of_the_project(
    project: Project, redis: RedisServer
) -> None:
    project.add_settings(
        f"UMBEL = {{'broker_url': {redis.url()!r}, 'result_backend': {redis.url()!r}}}\n"
        "TASKS = {'default': {'BACKEND': 'umbel.contrib.django.TaskBackend'}}\n"
    )
    for module in ("elsewhere", "orders/more"):
        project.write(f"{module}.py", "print(__name__, 'is imported')\n")
    said = project.python(
        """
        from umbel.codecs.results import encode_result
        from umbel.contrib.django.project import get_app
        from umbel.contrib.django.tasks_api.library import TaskResultMismatch, task_backends
        from umbel.core.account import Account
        from umbel.core.outcome import ResultMeta
        from umbel.ports import Record

        store = get_app().store
        for module in ("elsewhere", "orders.more"):
            account = Account(sent="2026-11-01T00:00:00+00:00", note={}).written()
            meta = ResultMeta(task_id=module, status="SUCCESS", name=f"{module}.task", account=account)
            payload = encode_result(meta, "json", None)
            store.put_now([Record(task_id=module, state="SUCCESS", payload=payload, ttl=60.0)])
            try:
                task_backends["default"].get_result(module)
            except TaskResultMismatch:
                print(module, "is no task")
        """
    )
    assert said.stdout.splitlines() == [
        "elsewhere is no task",
        "orders.more is imported",
        "orders.more is no task",
    ]
