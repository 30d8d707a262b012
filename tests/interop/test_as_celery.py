"""Programs that were written for Celery, run by Umbel in its place."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

from interop.harness import Place
from interop.jobs import PATIENCE
from interop.surface import PROGRAMS

HERE = pathlib.Path(__file__).parent
PROJECT = pathlib.Path(__file__).parents[2] / "examples" / "celery_project"
UMBEL = ("-m", "umbel.celery")


def run(*arguments: str, **options: Any) -> str:
    """What a Python process prints."""
    environment = {**os.environ, **options.pop("env", {})}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def surface(engine: tuple[str, ...]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run(*engine, str(HERE / "surface.py")))
    return report


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_small_program_sees_the_same(name: str) -> None:
    with_celery = surface(())[name]
    assert not (isinstance(with_celery, list) and "ModuleNotFoundError" in map(str, with_celery)), with_celery
    assert surface(UMBEL)[name] == with_celery


def test_an_unmodified_project_runs_under_both(place: Place) -> None:
    reports = []
    for engine in ("celery", "umbel"):
        place.messages.flushall()
        done = subprocess.run(
            [str(PROJECT / "run.sh"), engine],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            env={
                **os.environ,
                "PYTHON": sys.executable,
                "PROJ_REDIS": place.broker,
                "PROJ_LOG": os.devnull,
                "C_FORCE_ROOT": "1",
            },
        )
        assert done.returncode == 0, done.stderr
        reports.append(json.loads(done.stdout))
    with_celery, with_umbel = reports
    assert with_umbel == with_celery
    assert with_celery["chord"] == [10, True]


# ---------------------------------------------------------------------------------------------- installing


def test_it_may_be_installed_any_number_of_times_and_is_inherited() -> None:
    program = """
        import subprocess, sys, umbel
        umbel.install_as_celery()
        umbel.install_as_celery()
        import celery, kombu
        assert issubclass(celery.Celery, umbel.Umbel)
        assert sum(entry.endswith("contrib/celery/packages") for entry in sys.path) == 1
        child = "import celery, umbel; print(issubclass(celery.Celery, umbel.Umbel))"
        subprocess.run([sys.executable, "-c", child], check=True)
    """
    assert run("-c", textwrap.dedent(program)).split() == ["True"]


def test_too_late_is_an_error_that_says_so() -> None:
    program = """
        import celery, umbel
        try:
            umbel.install_as_celery()
        except umbel.errors.ConfigurationError as exc:
            print(exc)
    """
    said = run("-c", textwrap.dedent(program))
    assert "too late" in said
    assert "python -m umbel.celery" in said


def test_installing_imports_nothing() -> None:
    program = """
        import sys, umbel
        umbel.install_as_celery()
        print(sorted({"celery", "kombu", "umbel.app", "click"} & sys.modules.keys()))
    """
    assert run("-c", textwrap.dedent(program)).strip() == "[]"


def test_the_command_line_is_umbels() -> None:
    celerys = importlib.metadata.version("celery")
    assert run("-m", "umbel.celery", "--version").startswith("umbel ")
    assert run("-m", "umbel.celery", "-m", "celery", "--version").startswith("umbel ")
    assert celerys in run("-m", "celery", "--version")


# ------------------------------------------------------------------------------------------------- a worker

SIGNALS = """
import os
from celery import Celery, signals

app = Celery("heard", broker=os.environ["HEARD_REDIS"], backend=os.environ["HEARD_REDIS"])
app.conf.task_acks_late = True


def note(line):
    with open(os.environ["HEARD_FILE"], "a") as file:
        file.write(line + "\\n")


for name in (
    "celeryd_init", "celeryd_after_setup", "worker_init", "worker_ready", "worker_process_init", "worker_shutting_down",
    "worker_shutdown", "after_setup_logger", "after_setup_task_logger", "task_prerun", "task_postrun", "task_success",
):
    def hear(name=name, **told):
        note(name)

    getattr(signals, name).connect(hear, weak=False)


@app.task(name="heard.work")
def work():
    return 1
"""


@pytest.mark.parametrize("engine", ["celery", "umbel"])
def test_a_worker_sends_its_signals(engine: str, place: Place, tmp_path: pathlib.Path) -> None:
    (tmp_path / "heard.py").write_text(SIGNALS)
    heard = tmp_path / "heard.txt"
    heard.touch()
    environment = {"HEARD_REDIS": place.broker, "HEARD_FILE": str(heard), "C_FORCE_ROOT": "1"}
    prefix = ("-m", "umbel.celery") if engine == "umbel" else ()
    worker = subprocess.Popen(
        [sys.executable, *prefix, "-m", "celery", "-A", "heard", "worker", "-l", "error", "-c", "1"],
        cwd=tmp_path,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        send = "import heard; print(heard.work.delay().get(timeout=60))"
        assert run("-c", send, cwd=tmp_path, env=environment).strip() == "1"
        deadline = time.monotonic() + PATIENCE
        while "worker_ready" not in heard.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        worker.terminate()
        worker.wait(timeout=60)
    lines = heard.read_text().split()
    assert set(lines) == {
        "celeryd_init",
        "celeryd_after_setup",
        "worker_init",
        "worker_ready",
        "worker_process_init",
        "worker_shutting_down",
        "worker_shutdown",
        "after_setup_logger",
        "after_setup_task_logger",
        "task_prerun",
        "task_postrun",
        "task_success",
    }
    assert lines[0] == "celeryd_init"
    assert lines.index("task_prerun") < lines.index("task_success") < lines.index("task_postrun")
    assert lines.index("worker_shutting_down") < lines.index("worker_shutdown")


# ------------------------------------------------------------------------------------------------- fixtures

FIXTURES = """
import os
import pytest


@pytest.fixture(scope="session")
def celery_config():
    return {"broker_url": os.environ["FIX_REDIS"], "result_backend": os.environ["FIX_REDIS"]}


def test_a_worker_of_one_test(celery_app, celery_worker):
    @celery_app.task(name="mul")
    def mul(x, y):
        return x * y

    celery_worker.reload()
    assert mul.delay(4, 4).get(timeout=20) == 16


def test_a_worker_of_the_session(celery_session_app, celery_session_worker):
    @celery_session_app.task(name="add")
    def add(x, y):
        return x + y

    celery_session_worker.reload()
    assert (add.s(1, 2) | add.s(3)).delay().get(timeout=20) == 6


def test_a_task_is_aborted(celery_session_app, celery_session_worker):
    from celery.contrib.abortable import AbortableAsyncResult, AbortableTask

    @celery_session_app.task(name="patient", base=AbortableTask, bind=True)
    def patient(self):
        while not self.is_aborted():
            pass
        return "told"

    result = patient.delay()
    told = AbortableAsyncResult(result.id, app=celery_session_app)
    assert not told.is_aborted()
    told.abort()
    assert result.get(timeout=20) == "told"


def test_a_manager(celery_session_app, celery_session_worker):
    from celery.contrib.testing.manager import Manager

    @celery_session_app.task(name="slow")
    def slow():
        import time

        time.sleep(1.5)
        return "done"

    manager = Manager(celery_session_app)
    result = slow.delay()
    manager.assert_accepted([result.id])
    assert manager.join(result) == "done"
    manager.wait_until_idle()
    assert celery_session_app.backend.get_state(result.id) == "SUCCESS"
    celery_session_app.backend.store_result("own", 3, "SUCCESS")
    assert celery_session_app.AsyncResult("own").get() == 3


@pytest.mark.celery(task_always_eager=True)
def test_settings_of_one_test(celery_app):
    @celery_app.task(name="eager")
    def eager():
        return "here"

    assert eager.delay().get() == "here"
"""


def test_celerys_fixtures(place: Place, tmp_path: pathlib.Path) -> None:
    (tmp_path / "test_it.py").write_text(FIXTURES)
    said = run(
        *UMBEL,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "test_it.py",
        cwd=tmp_path,
        env={"FIX_REDIS": place.broker},
    )
    assert "5 passed" in said
