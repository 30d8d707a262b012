"""``report`` hides secrets and opens nothing; ``shell`` has the app and its tasks."""

from __future__ import annotations

import platform

from .conftest import Project

SECRETIVE = """
from umbel import Umbel

app = Umbel(
    "secretive",
    broker="redis://shop:broker-pw@10.255.255.1:6379/0",
    backend="redis://:store-pw@10.255.255.1:6379/1",
    broker_transport_options={"sentinel_kwargs": {"password": "sentinel-pw"}},
    task_default_queue="mail",
    redis_password="redis-pw",
    worker_prefetch_multiplier=1,
)
"""


def test_the_report_names_versions_and_settings_and_hides_secrets(project: Project) -> None:
    project.write("secretive.py", SECRETIVE)
    # The address answers nobody: a report that connected would hang.
    said = project.ok("-A", "secretive", "report").out
    assert "-pw" not in said
    assert "redis://shop:***@10.255.255.1:6379/0" in said
    assert platform.python_version() in said
    assert "task_default_queue:" in said
    assert "'mail'  (from keyword)" in said
    assert "worker_prefetch_multiplier:" in said
    assert "has no effect in Umbel" in said
    assert "sqlite (apsw):" in said


def test_the_report_as_json(project: Project) -> None:
    project.write("secretive.py", SECRETIVE)
    ended = project.ok("-A", "secretive", "report", "--json")
    assert "-pw" not in ended.out
    form = ended.json
    assert set(form) == {"versions", "app", "settings"}
    assert form["app"]["broker"] == "redis://shop:***@10.255.255.1:6379/0"
    assert form["settings"]["task_default_queue"] == {"value": "mail", "source": "keyword", "effective": True}
    assert form["settings"]["worker_prefetch_multiplier"]["effective"] is False
    assert form["settings"]["broker_transport_options"]["value"] == {"sentinel_kwargs": {"password": "***"}}


def test_a_report_without_an_app(project: Project) -> None:
    said = project.run(
        "report", env={"UMBEL_TASK_DEFAULT_QUEUE": "from-env", "UMBEL_HOME": str(project.folder)}
    )
    assert said.code == 0, said
    assert "none named" in said.out
    assert "'from-env'  (from environment)" in said.out


def test_the_shell_has_the_app_and_its_tasks(project: Project) -> None:
    ended = project.ok("-A", "tasks", "shell", stdin="print(add(1, 2), app.main, sorted(tasks)[:1])\n")
    assert "3 tasks ['tasks.add']" in ended.out
    assert "tasks: add, divide, greet, later, refuse" in ended.err
    quiet = project.ok("-q", "-A", "tasks", "shell", "--plain", stdin="print(AsyncResult('x').id)\n")
    assert "x\n" in quiet.out
    assert "tasks:" not in quiet.err
