"""Boot steps, and options of the program's own, under both engines."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

import pytest

from interop.harness import Place
from interop.jobs import PATIENCE
from interop.test_as_celery import run

HERE = pathlib.Path(__file__).parent
SEND = """
from kombu import Exchange
from steps_jobs import add, app, own
with app.connection_for_write() as connection:
    connection.Producer().publish(
        {"a": 1}, exchange=own.exchange, routing_key="steps-own", declare=[own], serializer="json"
    )
print(add.delay(1, 2).get(timeout=30))
"""


@pytest.mark.parametrize("engine", ["celery", "umbel"])
def test_steps_live_with_their_worker(engine: str, place: Place, tmp_path: pathlib.Path) -> None:
    place.messages.flushall()
    file = tmp_path / "heard.txt"
    file.touch()
    prefix = ("-m", "umbel.celery") if engine == "umbel" else ()
    environment = {
        **os.environ,
        "STEPS_REDIS": place.broker,
        "STEPS_FILE": str(file),
        "C_FORCE_ROOT": "1",
        "PYTHONPATH": str(HERE),
    }
    log = (tmp_path / "worker.log").open("w")
    worker = subprocess.Popen(
        [
            *(sys.executable, *prefix, "-m", "celery", "-A", "steps_jobs", "worker"),
            *("-l", "info", "-c", "1", "-n", "steps@here", "--word", "hello"),
        ],
        env=environment,
        cwd=tmp_path,
        stdout=log,
        stderr=log,
    )
    try:
        script = tmp_path / "send.py"
        script.write_text(SEND)
        assert run(*prefix, str(script), env=environment, cwd=tmp_path).strip() == "3"
        deadline = time.monotonic() + PATIENCE
        while not {"heard {'a': 1}", "beats", "thing starts"} <= set(file.read_text().split("\n")):
            assert time.monotonic() < deadline, file.read_text()
            time.sleep(0.05)
    finally:
        worker.terminate()
        worker.wait(timeout=60)
    lines = [line for line in file.read_text().split("\n") if line and line != "beats"]
    assert lines[:2] == ["first starts hello steps@here steps_jobs", "thing starts"]
    assert set(lines[2:]) == {"heard {'a': 1}", "thing stops", "first stops"}
    assert lines.index("thing stops") < lines.index("first stops")
