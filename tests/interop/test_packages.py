"""Packages made for Celery, under Umbel's name of it: each with its effect, a row, a lock, a transaction, a span."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from interop.harness import Place
from interop.jobs import PATIENCE
from interop.test_as_celery import run

PROJECT = pathlib.Path(__file__).parent / "packages_project"


def lines(path: pathlib.Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until(asked: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := asked()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@pytest.mark.parametrize("engine", ["celery", "umbel"])
def test_a_project_with_packages_for_celery(engine: str, place: Place, tmp_path: pathlib.Path) -> None:
    place.messages.flushall()
    prefix = ("-m", "umbel.celery") if engine == "umbel" else ()
    environment = {
        **os.environ,
        "PACKAGES_REDIS": place.broker,
        "PACKAGES_FOLDER": str(tmp_path),
        "PYTHONPATH": str(PROJECT),
        "DJANGO_SETTINGS_MODULE": "packages_project.settings",
        "C_FORCE_ROOT": "1",
    }
    run(*prefix, "-m", "django", "migrate", "-v", "0", env=environment, cwd=tmp_path)
    log = (tmp_path / "worker.log").open("w")
    worker = subprocess.Popen(
        [
            *(sys.executable, *prefix, "-m", "celery", "-A", "packages_project", "worker"),
            *("-B", "-l", "info", "-c", "2"),
        ],
        env=environment,
        cwd=tmp_path,
        stdout=log,
        stderr=log,
    )
    try:
        script = str(PROJECT / "program.py")
        seen = json.loads(run(*prefix, script, env=environment, cwd=tmp_path).splitlines()[-1])
    finally:
        worker.terminate()
        worker.wait(timeout=60)
    assert seen["results"] == [
        5,
        ["SUCCESS", 5, "packages_project.tasks.add", True],
        ["ValueError", "FAILURE", "ValueError", True],
        2,
        [2, 4],
    ]
    assert seen["locks"] == [None, True, ["once", "once"]]
    assert seen["beats"] == ["tock", True]
    task_id, trace = seen["watched"]
    told = lines(tmp_path / "sentry.txt")
    (error,) = [event for event in told if event["task_id"] == task_id and event["exceptions"]]
    assert error["exceptions"] == ["ValueError"]
    assert error["trace"] == trace
    transactions = [event for event in told if event["trace"] == trace and event["type"] == "transaction"]
    assert {event["op"] for event in transactions} == {"http", "queue.task.celery"}
    assert any("queue.process" in event["spans"] for event in transactions)
    spans = lines(tmp_path / "spans.txt")
    sent = [span for span in spans if span["name"] == "apply_async/packages_project.tasks.fail"]
    ran = [span for span in spans if span["name"] == "run/packages_project.tasks.fail"]
    assert any(
        span["trace"] == other["trace"] and span["parent"] == other["span"] for span in ran for other in sent
    )
