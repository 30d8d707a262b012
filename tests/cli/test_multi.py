"""Several workers in the background: real processes that outlive the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

APP = """
from umbel import Umbel

app = Umbel("several")


@app.task
def where() -> str:
    return where.request.hostname if hasattr(where, "request") else ""
"""
PATIENCE = 30.0


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "several.py").write_text(APP)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "umbel", "multi", *arguments],
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def pid(self, name: str) -> int:
        def read() -> int:
            file = self.path / f"{name}.pid"
            return int(file.read_text() or 0) if file.exists() else 0

        return until(read)

    def kill_all(self) -> None:
        for file in self.path.glob("*.pid"):
            if (text := file.read_text().strip()).isdigit() and lives(int(text)):
                os.kill(int(text), signal.SIGKILL)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(asked: Callable[[], int]) -> int:
    deadline = time.monotonic() + PATIENCE
    while not (value := asked()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


@pytest.fixture
def multi(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    try:
        yield folder
    finally:
        folder.kill_all()


def test_workers_are_started_shown_and_ended(multi: Folder) -> None:
    options = ("-A", "several", "-l", "info", "-c", "1", "-Q:w1", "mail")
    assert "w1@" in multi("start", "w1", "w2", *options)
    one, two = multi.pid("w1"), multi.pid("w2")
    assert lives(one)
    assert lives(two)
    assert "runs already" in multi("start", "w1", *options[:4], code=1)
    until(lambda: "ready" in (multi.path / "w1.log").read_text())
    assert "> mail" in (multi.path / "w1.log").read_text() or "mail" in multi("show", "w1", "w2", *options)
    multi("stopwait", "w1", "w2", "-A", "several")
    assert not lives(one)
    assert not lives(two)
    assert not list(multi.path.glob("*.pid"))


def test_workers_are_restarted_and_killed(multi: Folder) -> None:
    options = ("1", "-A", "several", "-c", "1", "--pidfile=%n.pid", "--logfile=%n.log")
    multi("start", *options)
    before = multi.pid("celery1")
    multi("restart", *options)
    after = multi.pid("celery1")
    assert before != after
    multi("kill", *options)
    until(lambda: not lives(after))
    assert "not running" in multi("stop", *options)


def test_words_become_workers(multi: Folder) -> None:
    names = multi("names", "3").split()
    assert [name.partition("@")[0] for name in names] == ["celery1", "celery2", "celery3"]
    shown = multi("show", "2", "-A", "several", "-c:1", "4", "-Q", "a,b", "-c:2", "1").splitlines()
    assert "-A several worker --detach -n celery1@" in shown[0]
    assert shown[0].endswith("-Q a,b -c 4")
    assert shown[1].endswith("-Q a,b -c 1")
    assert multi("expand", "/run/%n.pid", "w1", "w2").split() == ["/run/w1.pid", "/run/w2.pid"]
    assert multi("get", "w2", "w1", "w2", "-A", "several").count("worker") == 1


def test_wrong_words_are_errors(multi: Folder) -> None:
    assert "There is no 'dance'" in multi("dance", "3", code=2)
    assert "Name the workers" in multi("start", "-A", "several", code=2)
    assert "none of the workers" in multi("start", "w1", "-c:w9", "2", code=2)
    assert "failed with code" in multi("start", "w1", "-A", "no_such_module", code=1)


def test_a_worker_in_the_background_outlives_the_command(multi: Folder) -> None:
    command = [sys.executable, "-m", "umbel", "-A", "several", "worker", "-D", "--pidfile", "d.pid"]
    options = ["-f", "d.log", "-l", "info", "-c", "1", "--umask", "027"]
    subprocess.run([*command, *options], cwd=multi.path, check=True, timeout=60)
    pid = multi.pid("d")
    until(lambda: "ready" in (multi.path / "d.log").read_text() if (multi.path / "d.log").exists() else 0)
    assert os.getsid(pid) != os.getsid(0)
    assert (multi.path / "d.log").stat().st_mode & 0o777 == 0o640
    os.kill(pid, signal.SIGTERM)
    until(lambda: not lives(pid))
    assert not (multi.path / "d.pid").exists()
