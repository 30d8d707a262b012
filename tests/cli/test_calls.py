"""``call`` and ``result``: what they print and what they exit with."""

from __future__ import annotations

import re
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Project, Worker

Start = Callable[..., Worker]


def test_call_prints_the_id_and_the_message_waits(project: Project) -> None:
    task_id = project.ok("-A", "tasks", "call", "tasks.add", "--args", "[1, 2]").out.strip()
    assert uuid.UUID(task_id)
    (message,) = project.ok("-A", "tasks", "list", "waiting", "--json").json
    assert message["id"] == task_id
    assert message["task"] == "tasks.add"
    assert message["args"] == "(1, 2)"


def test_call_needs_no_app_when_it_has_a_broker(project: Project) -> None:
    given = project.ok("-b", project.url, "call", "some.where", "--task-id", "mine", "--json")
    assert given.json == {"id": "mine"}
    assert given.err == ""
    assert project.ok("-A", "tasks", "list", "waiting", "--json").json[0]["id"] == "mine"


def test_the_options_of_a_call_reach_the_message(project: Project) -> None:
    project.ok(
        *(
            "-A",
            "tasks",
            "call",
            "tasks.greet",
            "--kwargs",
            '{"name": "ada"}',
            "--queue",
            "other",
            "--priority",
            "7",
        ),
        *("--countdown", "3600", "--expires", "7200", "--headers", '{"trace": "t1"}', "--task-id", "planned"),
    )
    (message,) = project.ok("-A", "tasks", "list", "scheduled", "-Q", "other", "--json").json
    assert message["priority"] == 7
    assert message["kwargs"] == "{'name': 'ada'}"
    assert 3000 < message["due_in"] <= 3600
    assert message["expires"] is not None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--args", "[1"], "is not JSON"),
        (["--args", '{"x": 1}'], "is not a JSON array"),
        (["--kwargs", "[1]"], "is not a JSON object"),
        (["--countdown", "soon"], "'soon' is not a number of seconds"),
        (["--countdown", "-1"], "is not a number of seconds from 0"),
        (["--eta", "tomorrow"], "is not a time such as"),
        (["--priority", "101"], "-100<=x<=100"),
        (["--args", "[1]"], "missing a required argument: 'y'"),
        (["--args", "[1, 2]", "--serializer", "xml"], "no serializer 'xml'"),
    ],
)
def test_a_wrong_call_ends_with_2_and_sends_nothing(project: Project, args: list[str], said: str) -> None:
    ended = project.run("-A", "tasks", "call", "tasks.add", *args)
    assert ended.code == 2, ended
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert project.ok("-A", "tasks", "list", "waiting", "--json").json == []


def test_a_name_that_the_app_does_not_know_is_sent_with_a_note(project: Project) -> None:
    ended = project.ok("-A", "tasks", "call", "tasks.ad")
    assert "no task 'tasks.ad'. Did you mean 'tasks.add'?" in ended.err
    assert uuid.UUID(ended.out.strip())
    assert project.ok("-q", "-A", "tasks", "call", "tasks.ad").err == ""


def test_results_of_a_running_worker(project: Project, start_worker: Start) -> None:
    """One worker for all of it, since starting one is what takes the time."""
    start_worker().wait_for("ready")

    def call(*args: str) -> str:
        return project.ok("-A", "tasks", "call", *args, "--wait", "30").out

    assert call("tasks.add", "--args", "[1, 2]") == "3\n"
    assert call("tasks.greet", "--kwargs", '{"name": "ada"}') == "hello ada\n"
    assert call("tasks.later", "--args", "[0.01]") == "done\n"

    failed = project.run(
        "-A", "tasks", "call", "tasks.divide", "--args", "[1, 0]", "--task-id", "f", "--wait", "30"
    )
    assert failed.code == 1
    assert failed.err == "Error: The task f failed: ZeroDivisionError: division by zero\n"
    assert failed.out == ""

    again = project.run("-A", "tasks", "result", "f", "--traceback")
    assert again.code == 1
    assert "Traceback (most recent call last)" in again.err
    assert "return x / y" in again.err

    as_json = project.run("-A", "tasks", "result", "f", "--json")
    assert as_json.code == 1
    form = as_json.json
    assert form["state"] == "FAILURE"
    assert form["ready"] is True
    assert form["result"] is None
    assert form["error"] == {"type": "ZeroDivisionError", "message": "division by zero"}
    assert "return x / y" in form["traceback"]

    slow = project.run(
        "-A", "tasks", "call", "tasks.later", "--args", "[20]", "--task-id", "slow", "--wait", "0.5"
    )
    assert slow.code == 3
    assert "No result yet after 0.5 s: the call is held by a worker, from the queue 'celery'." in slow.err


def test_the_result_of_a_call_that_waits(project: Project) -> None:
    project.ok("-A", "tasks", "call", "tasks.add", "--args", "[1, 2]", "--task-id", "w")
    ended = project.run("-A", "tasks", "result", "w")
    assert ended.code == 3
    assert "No result yet: the call waits in the queue 'celery'" in ended.err
    form = project.run("-A", "tasks", "result", "w", "--json").json
    assert form == {
        "id": "w",
        "state": "PENDING",
        "ready": False,
        "result": None,
        "error": None,
        "traceback": None,
        "date_done": None,
        "where": {"shelf": "waiting", "queue": "celery", "reason": None},
    }


def test_the_result_of_a_call_that_is_scheduled(project: Project) -> None:
    project.ok("-A", "tasks", "call", "tasks.greet", "--countdown", "3600", "--task-id", "s")
    ended = project.run("-A", "tasks", "result", "s")
    assert ended.code == 3
    assert "scheduled for later in the queue 'celery'" in ended.err


def test_the_result_of_an_id_that_nobody_sent(project: Project) -> None:
    ended = project.run("-A", "tasks", "result", "nobody")
    assert ended.code == 3
    assert "Nothing is known of a call with the id 'nobody'" in ended.err


def test_without_a_result_store_the_setting_is_named(project: Project) -> None:
    ended = project.run("-b", project.url, "result", "x")
    assert ended.code == 2
    assert re.search(r"result_backend", ended.err)


def test_an_id_after_wait_is_not_taken_for_seconds(project: Project) -> None:
    ended = project.run("-A", "tasks", "result", "--wait", "some-id")
    assert ended.code == 2
    assert "What is no number goes before --wait" in ended.err


def test_the_result_store_can_be_named(project: Project) -> None:
    ended = project.run("-b", project.url, "--result-backend", project.url, "result", "x")
    assert ended.code == 3


def test_an_interrupted_wait_ends_with_130(project: Project) -> None:
    project.ok("-A", "tasks", "call", "tasks.greet", "--task-id", "w")
    project.write("waits.py", "from tasks import app\nprint('imported', flush=True)\n")
    waiting = Worker(["umbel", "-A", "waits", "result", "w", "--wait"], project.folder, project.env)
    try:
        waiting.wait_for("imported")
        # The thread that watches the database has started: nothing is being imported any more, where Python may lose an interrupt.
        threads = Path(f"/proc/{waiting.process.pid}/task")
        while len(list(threads.iterdir())) < 2:
            time.sleep(0.01)
        assert waiting.stop(signal.SIGINT) == 130
        assert "Interrupted." in waiting.said
        assert "Traceback" not in waiting.said
    finally:
        waiting.end()
