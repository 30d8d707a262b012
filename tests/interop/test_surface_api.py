"""Names, defaults, values and commands, under Celery and under Umbel in its place."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from typing import Any

import pytest

from interop.harness import Place
from interop.jobs import PATIENCE
from interop.surface_api import PROGRAMS
from interop.test_as_celery import UMBEL, run

HERE = pathlib.Path(__file__).parent


@functools.cache
def seen_by(engine: tuple[str, ...]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run(*engine, str(HERE / "surface_api.py")))
    return report


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_sees_the_same(name: str) -> None:
    assert seen_by(UMBEL)[name] == seen_by(())[name]


# --------------------------------------------------------------------------------------------------- commands

JOBS = """
import os
from celery import Celery

app = Celery("shell_jobs", broker=os.environ["SHELL_REDIS"], backend=os.environ["SHELL_REDIS"])
app.conf.task_default_queue = os.environ["SHELL_QUEUE"]


@app.task
def add(x, y):
    return x + y


@app.task(bind=True)
def where(self):
    return [os.getpid(), self.request.hostname]
"""


class Shell:
    def __init__(self, engine: str, place: Place, folder: pathlib.Path) -> None:
        self.prefix = UMBEL if engine == "umbel" else ()
        self.folder = folder
        (folder / "shell_jobs.py").write_text(JOBS)
        self.environment = {
            **os.environ,
            "SHELL_REDIS": place.broker,
            "SHELL_QUEUE": f"shell-{engine}",
            "C_FORCE_ROOT": "1",
            "NO_COLOR": "1",
        }

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *self.prefix, "-m", "celery", "-A", "shell_jobs", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def client(self, expression: str) -> Any:
        program = f"import json; from shell_jobs import *; print(json.dumps({expression}))"
        script = self.folder / "client.py"
        script.write_text(program)
        return json.loads(run(*self.prefix, str(script), env=self.environment, cwd=self.folder))

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "worker.log").open("w")
        return subprocess.Popen(
            [
                sys.executable,
                *self.prefix,
                "-m",
                "celery",
                "-A",
                "shell_jobs",
                "worker",
                "-l",
                "info",
                *options,
            ],
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=log,
        )

    def ready(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while name not in (self.client("list(app.control.inspect(timeout=2).ping() or ())")):
            assert time.monotonic() < deadline, (self.folder / "worker.log").read_text()


@pytest.fixture(params=["celery", "umbel"])
def shell(request: pytest.FixtureRequest, place: Place, tmp_path: pathlib.Path) -> Shell:
    place.messages.flushall()
    return Shell(request.param, place, tmp_path)


def ended(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(timeout=30)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def test_commands_of_the_shell(shell: Shell) -> None:
    worker = shell.worker("-c", "1", "-n", "first@%%h".replace("%%", "%"))
    host = os.uname().nodename
    try:
        shell.ready(f"first@{host}")
        assert f"first@{host}" in shell("status")
        assert "pong" in shell("inspect", "ping", "-t", "5", "-d", f"first@{host}")
        answer = json.loads(shell("inspect", "-j", "-t", "5", "registered").strip().splitlines()[-1])
        assert "shell_jobs.add" in answer[f"first@{host}"]
        called = shell("call", "shell_jobs.add", "-a", "[1, 2]")
        (task_id,) = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", called)
        shell.client(f"app.AsyncResult({task_id!r}).get(timeout=20)")
        assert "3" in shell("result", task_id)
        assert "OK" in shell("control", "-t", "5", "enable_events")
        shell.client("app.control.shutdown()")
        worker.wait(timeout=60)
    finally:
        ended(worker)


def test_what_waits_is_purged(shell: Shell) -> None:
    shell.client("[add.delay(1, n).id for n in range(3)] and None")
    assert "3" in shell("purge", "-f")
    assert shell.client("app.control.purge()") == 0


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_every_pool_runs_tasks(shell: Shell, pool: str) -> None:
    options = ["--max-tasks-per-child", "2", "--time-limit", "50", "--soft-time-limit", "40"]
    worker = shell.worker("-P", pool, "-c", "2", "-n", "pool@here", *(options if pool == "prefork" else ()))
    try:
        shell.ready("pool@here")
        answers = shell.client("[where.delay().get(timeout=20) for _ in range(6)]")
        assert {name for _, name in answers} == {"pool@here"}
        assert (len({pid for pid, _ in answers}) > 2) == (pool == "prefork")
    finally:
        ended(worker)
