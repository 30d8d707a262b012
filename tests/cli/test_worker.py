"""``umbel worker`` as a command: its options, its banner, its signals, its pidfile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from .conftest import Project, Worker

Start = Callable[..., Worker]


def test_it_starts_with_a_banner_and_ends_on_sigterm(project: Project, start_worker: Start) -> None:
    pidfile = project.folder / "worker.pid"
    worker = start_worker(
        "-n",
        "one@%h",
        "-Q",
        "a,b",
        "-Q",
        "c",
        "-X",
        "b",
        "-E",
        "-O",
        "fair",
        "--without-gossip",
        "--pidfile",
        "worker.pid",
    )
    worker.wait_for("ready")
    banner = worker.said
    for expected in ("one@", "tasks.add", "tasks.later", project.url, "1 (prefork)", ".> a\n", ".> c\n"):
        assert expected in banner
    assert ".> b\n" not in banner
    assert "-O, --without-gossip are accepted for Celery's sake" in banner
    assert int(pidfile.read_text()) == worker.process.pid

    (node,) = project.ok("-A", "tasks", "status", "--json").json
    assert node["name"].startswith("one@")
    assert node["queues"] == ["a", "c"]
    assert node["pool"] == "prefork"
    assert set(node) == {
        *("name", "id", "pid", "pool", "concurrency", "queues", "tasks", "started", "seen_ago", "counters"),
        "health",
    }
    assert "1 worker alive." in project.ok("-A", "tasks", "status").out

    second = project.run("-A", "tasks", "worker", "--pidfile", "worker.pid")
    assert second.code == 2
    assert f"names the process {worker.process.pid}" in second.err

    assert worker.stop(signal.SIGTERM) == 0
    assert not pidfile.exists()
    assert project.run("-A", "tasks", "status").code == 3


def test_a_pidfile_of_a_dead_process_is_replaced(project: Project, start_worker: Start) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (project.folder / "worker.pid").write_text(f"{dead.pid}\n")
    worker = start_worker("--pidfile", "worker.pid")
    worker.wait_for("ready")
    assert (project.folder / "worker.pid").read_text() == f"{worker.process.pid}\n"
    assert worker.stop() == 0


def test_quiet_has_no_banner_and_json_logs(project: Project, start_worker: Start) -> None:
    worker = start_worker("-q", "--log-format", "json", "-P", "threads", "-E")
    worker.wait_for("ready")
    assert worker.stop(signal.SIGINT) == 0
    assert all(line.startswith("{") for line in worker.lines), worker.said


def test_a_logfile_and_more_tasks(project: Project, start_worker: Start) -> None:
    project.write("extra.py", "from tasks import app\n\n@app.task\ndef more():\n    pass\n")
    log = project.folder / "worker.log"
    worker = start_worker("-f", "worker.log", "-I", "extra")
    worker.wait_for("extra.more")
    assert project.ok("-A", "tasks", "call", "extra.more", "--wait", "30").out == "null\n"
    assert worker.stop() == 0
    assert "extra.more" in log.read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-P", "gevent"], "the pool 'gevent' is not in this version"),
        (["-P", "eventlet"], "asyncio or threads"),
        (
            ["-P", "fibers"],
            "there is no pool 'fibers'. Use prefork (also called processes), threads, asyncio or solo",
        ),
        (["-c", "0"], "0 is not in the range"),
        (["-l", "loud"], "'loud' is not a level. Use debug, info, warning, error, critical"),
        (["--uid", "no-such-user"], "There is no user 'no-such-user'"),
        (["--umask", "99"], "no mask for files"),
        (["--autoscale", "10,3"], "use -c"),
        (["--time-limit", "0"], "--time-limit"),
        (["-Q", "a", "-X", "a"], "No queue is left to consume"),
        (["--pidfile", "nowhere/worker.pid"], "cannot be written"),
        (["-I", "nowhere"], "no module 'nowhere', which the app includes"),
    ],
)
def test_options_that_cannot_be(project: Project, args: list[str], said: str) -> None:
    ended = project.run("-A", "tasks", "worker", *args)
    assert ended.code == 2, ended
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_it_needs_an_app_and_says_which_one_is_near(project: Project) -> None:
    ended = project.run("worker")
    assert ended.code == 2
    assert "'umbel worker' needs an app" in ended.err
    assert "umbel -A tasks worker" in ended.err
    os.unlink(project.folder / "tasks.py")
    assert "UMBEL_APP" in project.run("worker").err
