"""``list``, ``purge`` and ``status`` without a worker."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Project


def send(project: Project, **options: Any) -> None:
    with project.app() as app:
        app.send_task("tasks.greet", **options)


def test_queues_with_their_counts(project: Project) -> None:
    send(project)
    send(project, countdown=3600)
    send(project, queue="b")
    form = project.ok("-A", "tasks", "list", "queues", "--json").json
    assert form == [
        {"queue": "b", "waiting": 1, "scheduled": 0, "held": 0, "parked": 0, "dead": 0},
        {"queue": "celery", "waiting": 1, "scheduled": 1, "held": 0, "parked": 0, "dead": 0},
    ]
    lines = project.ok("-A", "tasks", "list", "queues").out.splitlines()
    assert [line.split() for line in lines] == [
        ["queue", "waiting", "scheduled", "held", "parked", "dead"],
        ["b", "1", "0", "0", "0", "0"],
        ["celery", "1", "1", "0", "0", "0"],
    ]
    only = project.ok("-A", "tasks", "list", "queues", "-Q", "b,c", "--json").json
    assert [row["queue"] for row in only] == ["b", "c"]


def test_waiting_messages_in_the_order_of_service(project: Project) -> None:
    send(project, task_id="second")
    send(project, task_id="first", priority=9)
    send(project, task_id="elsewhere", queue="b")
    rows = project.ok("-A", "tasks", "list", "waiting", "-Q", "celery", "--json").json
    assert [row["id"] for row in rows] == ["first", "second"]
    assert set(rows[0]) == {
        *("shelf", "queue", "task", "id", "key", "reason", "since", "due_in", "deliveries", "priority"),
        *("args", "kwargs", "retries", "eta", "expires", "history"),
    }
    assert "3 messages waiting." in project.ok("-A", "tasks", "list", "waiting").out


def test_a_limit_says_that_there_is_more(project: Project) -> None:
    for number in range(3):
        send(project, task_id=f"id-{number}")
    ended = project.ok("-A", "tasks", "list", "waiting", "--limit", "2")
    assert "id-1" in ended.out
    assert "id-2" not in ended.out
    assert "There are more than 2 messages: use --limit" in ended.err
    assert len(project.ok("-A", "tasks", "list", "waiting", "--limit", "2", "--json").json) == 2


@pytest.mark.parametrize("shelf", ["waiting", "scheduled", "held", "parked", "dead"])
def test_an_empty_shelf(project: Project, shelf: str) -> None:
    assert project.ok("-A", "tasks", "list", shelf, "--json").json == []
    assert project.ok("-A", "tasks", "list", shelf).out.startswith("0 messages ")


def test_no_nodes(project: Project) -> None:
    assert project.ok("-A", "tasks", "list", "nodes", "--json").json == []
    ended = project.run("-A", "tasks", "status")
    assert ended.code == 3
    assert "No worker is alive on sqlite:///" in ended.err
    as_json = project.run("-A", "tasks", "status", "--json")
    assert as_json.code == 3
    assert as_json.json == []


def test_purge_asks(project: Project) -> None:
    send(project)
    send(project, countdown=3600)
    refused = project.run("-A", "tasks", "purge", stdin="n\n")
    assert refused.code == 1
    assert "celery: 2 messages" in refused.err
    assert "Delete 2 messages" in refused.err
    done = project.ok("-A", "tasks", "purge", stdin="y\n")
    assert done.out.endswith("Deleted 2 messages from celery.\n")
    assert "Nothing to delete in celery" in project.ok("-A", "tasks", "purge").out


def test_purge_by_force_and_by_queue(project: Project) -> None:
    for queue in ("a", "b", "c"):
        send(project, queue=queue)
    assert (
        project.ok("-A", "tasks", "purge", "-f", "-Q", "a,b", "-X", "b").out == "Deleted 1 message from a.\n"
    )
    left = project.ok("-A", "tasks", "list", "waiting", "--json").json
    assert sorted(row["queue"] for row in left) == ["b", "c"]
