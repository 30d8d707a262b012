"""A project in a folder of its own, and the command line run on it as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from servers import heed_signals
from umbel import Umbel

heed_signals()

TASKS = """
import asyncio

from umbel import Umbel
from umbel.errors import Reject

app = Umbel("tasks", broker="sqlite:///{database}", backend="sqlite:///{database}")


@app.task
def add(x, y):
    return x + y


@app.task
def greet(name="world"):
    return f"hello {{name}}"


@app.task
def divide(x, y):
    return x / y


@app.task
async def later(seconds):
    await asyncio.sleep(seconds)
    return "done"


@app.task
def refuse(x):
    if x < 0:
        raise Reject(f"{{x}} is negative")
    return x
"""


class Ended:
    """What a finished command said."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Project:
    """A folder with ``tasks.py``, whose app lives on a SQLite file in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "queue.db"
        self.url = f"sqlite:///{self.database}"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("UMBEL_")}
        self.write("tasks.py", TASKS.format(database=self.database))

    def write(self, name: str, source: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    def run(
        self, *args: str, stdin: str = "", env: dict[str, str] | None = None, timeout: float = 60
    ) -> Ended:
        """``umbel ARGS`` in the folder, to its end."""
        return Ended(
            subprocess.run(
                [sys.executable, "-m", "umbel", *args],
                cwd=self.folder,
                env=self.env | (env or {}),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        )

    def app(self) -> Umbel:
        """An app in this process that sends to the project's workers. Close it."""
        return Umbel("tests", broker=self.url, backend=self.url, set_as_current=False)

    def ok(self, *args: str, stdin: str = "") -> Ended:
        """The same, where nothing else than success will do."""
        ended = self.run(*args, stdin=stdin)
        assert ended.code == 0, ended
        return ended


class Worker:
    """A worker process. What it says is collected line by line."""

    def __init__(self, argv: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *argv],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str, timeout: float = 30) -> None:
        """Until the worker has said `text`."""
        with self._news:
            assert self._news.wait_for(lambda: text in self.said, timeout), f"no {text!r} in:\n{self.said}"

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def end(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.stop(signal.SIGQUIT)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def start_worker(project: Project) -> Iterator[Callable[..., Worker]]:
    """Starts workers of the project; those still alive at the end are stopped."""
    workers: list[Worker] = []

    def start(*args: str) -> Worker:
        argv = ["umbel", "-A", "tasks", "worker", "-l", "info", "-c", "1", *args]
        worker = Worker(argv, project.folder, project.env)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.end()
