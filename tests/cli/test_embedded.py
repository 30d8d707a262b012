"""The embedded default: one queue for the whole project, with and without ``-A``, wherever one stands in it."""

from __future__ import annotations

from .conftest import Project

PLAIN = """
from umbel import Umbel

app = Umbel("plain")


@app.task
def hi():
    return "hi"
"""


def test_the_queue_of_the_project_is_found_without_an_app(project: Project) -> None:
    project.write("pyproject.toml", "")
    project.write("plain.py", PLAIN)
    nothing = project.run("list", "waiting")
    assert nothing.code == 2
    assert f"there is no queue at {project.folder}/.umbel/queue.db" in nothing.err

    task_id = project.ok("-A", "plain", "call", "plain.hi").out.strip()
    (message,) = project.ok("list", "waiting", "--json").json
    assert message["id"] == task_id
    project.write("deep/down/here.txt", "")
    assert project.ok("--workdir", "deep/down", "list", "waiting", "--json").json == [message]
    assert project.run("result", task_id).code == 3
    assert f"sqlite:///{project.folder}/.umbel/queue.db" in project.ok("report").out
    assert project.ok("purge", "-f").out == "Deleted 1 message from celery.\n"


def test_umbel_home_moves_it(project: Project) -> None:
    project.write("plain.py", PLAIN)
    env = {"UMBEL_HOME": str(project.folder / "home")}
    assert project.run("-A", "plain", "call", "plain.hi", env=env).code == 0
    assert (project.folder / "home" / "umbel.db").exists()
    assert len(project.run("list", "waiting", "--json", env=env).json) == 1
