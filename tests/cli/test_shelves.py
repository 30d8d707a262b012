"""``dead`` and ``parked``, on messages that a real worker has put there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Project, Worker

Start = Callable[..., Worker]


@pytest.fixture
def letters(project: Project, start_worker: Start) -> Project:
    """Three dead letters of ``refuse`` and one parked message."""
    with project.app() as app:
        sent = [app.send_task("tasks.refuse", (-10 * n,), task_id=f"dead-{n}") for n in (1, 2, 3)]
        app.send_task("tasks.nobody", (7,), task_id="aside")
        worker = start_worker()
        app.results(sent).get(timeout=30, propagate=False)
    worker.wait_for("aside")
    assert worker.stop() == 0
    return project


def ids(project: Project, shelf: str) -> list[str]:
    return [row["id"] for row in project.ok("-A", "tasks", shelf, "list", "--json").json]


def test_looking(letters: Project) -> None:
    assert ids(letters, "dead") == ["dead-1", "dead-2", "dead-3"]
    assert ids(letters, "parked") == ["aside"]
    table = letters.ok("-A", "tasks", "dead", "list").out
    assert "-10 is negative" in table
    assert "3 messages dead." in table
    assert letters.ok("-A", "tasks", "list", "dead").out.splitlines()[-1] == "3 messages dead."

    shown = letters.ok("-A", "tasks", "dead", "show", "dead-2").out
    assert "tasks.refuse" in shown
    assert "[-20]" in shown
    assert "-20 is negative" in shown
    (form,) = letters.ok("-A", "tasks", "dead", "show", "dead-2", "--json").json
    assert form["args"] == "(-20,)"
    assert letters.ok("-A", "tasks", "dead", "show", form["key"], "--json").json == [form]
    assert "tasks.nobody" in letters.ok("-A", "tasks", "parked", "show", "aside").out
    assert "parked" in letters.run("-A", "tasks", "result", "aside").err


def test_choosing(letters: Project) -> None:
    nothing = letters.run("-A", "tasks", "dead", "requeue")
    assert nothing.code == 2
    assert "umbel dead list shows them" in nothing.err
    unknown = letters.run("-A", "tasks", "dead", "requeue", "dead-1", "nobody")
    assert unknown.code == 3
    assert "No dead letter has the id 'nobody'" in unknown.err
    several = letters.run("-A", "tasks", "dead", "show", "dead")
    assert several.code == 3
    assert "Several ids begin with 'dead'" in several.err
    assert letters.ok("-A", "tasks", "parked", "show", "asi", "--json").json[0]["id"] == "aside"
    assert ids(letters, "dead") == ["dead-1", "dead-2", "dead-3"]


def test_requeue_and_delete(letters: Project) -> None:
    assert letters.ok("-A", "tasks", "dead", "requeue", "dead-1").out == "Put 1 message back into celery.\n"
    assert (
        letters.ok("-A", "tasks", "dead", "requeue", "--all", "--task", "other.task").out
        == "Nothing to put back.\n"
    )
    assert ids(letters, "dead") == ["dead-2", "dead-3"]

    refused = letters.run("-A", "tasks", "dead", "delete", "dead-2", stdin="n\n")
    assert refused.code == 1
    assert ids(letters, "dead") == ["dead-2", "dead-3"]
    assert letters.ok("-A", "tasks", "dead", "delete", "dead-2", "-f").out == "Deleted 1 message.\n"
    assert letters.ok("-A", "tasks", "dead", "delete", "--all", "-Q", "celery", stdin="y\n").out.endswith(
        "Deleted 1 message.\n"
    )
    assert ids(letters, "dead") == []

    assert letters.ok("-A", "tasks", "parked", "requeue", "--all").out == "Put 1 message back into celery.\n"
    waiting = letters.ok("-A", "tasks", "list", "waiting", "--json").json
    assert sorted(row["id"] for row in waiting) == ["aside", "dead-1"]


def editor(folder: Path, before: str, after: str) -> dict[str, str]:
    """An $EDITOR that replaces text."""
    script = folder / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        f"path.write_text(path.read_text().replace({before!r}, {after!r}))\n"
    )
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"
    return {"EDITOR": command, "VISUAL": command}


def test_edit(letters: Project, start_worker: Start) -> None:
    wrong = letters.run("-A", "tasks", "dead", "edit", "dead-1", "--args", "[1, 2, 3]")
    assert wrong.code == 2, wrong
    assert "cannot be called like this" in wrong.err
    no_change = letters.run("-A", "tasks", "dead", "edit", "dead-1", env=editor(letters.folder, "xyz", "abc"))
    assert no_change.out == "Nothing was changed.\n"
    (before,) = letters.ok("-A", "tasks", "dead", "show", "dead-1", "--json").json
    assert before["args"] == "(-10,)"

    edited = letters.run("-A", "tasks", "dead", "edit", "dead-1", env=editor(letters.folder, "-10", "101"))
    assert edited.out == "Changed dead-1.\n", edited
    replayed = letters.ok("-A", "tasks", "dead", "edit", "dead-2", "--args", "[102]", "--requeue")
    assert replayed.out == "Changed dead-2 and put it back into celery.\n"
    letters.ok("-A", "tasks", "dead", "requeue", "dead-1")

    worker = start_worker()
    worker.wait_for("Task tasks.refuse[dead-1] succeeded")
    worker.wait_for("Task tasks.refuse[dead-2] succeeded")
    assert ids(letters, "dead") == ["dead-3"]


def test_an_edit_that_is_not_json_can_be_corrected(letters: Project) -> None:
    broken = editor(letters.folder, "[", "{")
    given_up = letters.run("-A", "tasks", "dead", "edit", "dead-1", stdin="n\n", env=broken)
    assert given_up.code == 1
    assert "The text is not JSON" in given_up.err
    assert "Edit again?" in given_up.err
