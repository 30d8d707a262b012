"""Django projects of their own for tests: a folder, real ``manage.py`` processes, real workers."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds until a test gives up waiting for what must happen. Never the time that something takes."""

_SETTINGS = """
import os
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "only for tests"
DEBUG = True
USE_TZ = True
TIME_ZONE = "Europe/Oslo"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "umbel.contrib.django", "orders"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3", "OPTIONS": {"timeout": 20}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
_MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


def eventually(look: Callable[[], T], what: str) -> T:
    """The first true answer of `look`."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE:g} s in vain for {what}; last answer: {answer!r}")
        time.sleep(0.02)
    return answer


class Program:
    """A process whose output can be waited for. Its whole group is killed at the end."""

    def __init__(
        self, command: list[str], folder: pathlib.Path, env: dict[str, str], log: pathlib.Path
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, count: int = 1) -> str:
        """Until it has printed `text` `count` times."""

        def look() -> bool:
            assert self.process.poll() is None or text in self.output(), (
                f"it ended with {self.process.returncode} and without {text!r}:\n{self.output()}"
            )
            return self.output().count(text) >= count

        try:
            eventually(look, f"{text!r} in {self.log}")
        except AssertionError as exc:
            exc.add_note(self.output())
            raise
        return self.output()

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Signal it and return its exit code."""
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE)

    def kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Project:
    """A project ``shop`` with an application ``orders``."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("UMBEL_", "DJANGO_"))}
        self._programs = 0
        self.write("manage.py", _MANAGE)
        self.write("shop/__init__.py", "")
        self.write("shop/settings.py", _SETTINGS)
        self.write("shop/urls.py", "urlpatterns = []\n")
        self.write("orders/__init__.py", "")
        self.write("orders/models.py", "")
        self.write("orders/tasks.py", "")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def add_settings(self, text: str) -> None:
        with (self.folder / "shop/settings.py").open("a") as file:
            file.write(textwrap.dedent(text))

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of this Python in the folder, and return what it printed."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if check:
            assert done.returncode == 0, (
                f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            )
        return done

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("manage.py", *arguments, check=check)

    def python(self, code: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `code` in a process in which Django is set up."""
        prelude = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\nimport django\ndjango.setup()\n"
        return self.run("-c", prelude + textwrap.dedent(code), check=check)

    @contextmanager
    def program(self, *command: str) -> Iterator[Program]:
        self._programs += 1
        program = Program(
            [sys.executable, *command], self.folder, self.env, self.folder / f"program-{self._programs}.log"
        )
        try:
            yield program
        finally:
            program.kill_group()

    @contextmanager
    def worker(self, *options: str) -> Iterator[Program]:
        """A worker that is ready."""
        with self.program("manage.py", "umbel", "worker", "-l", "info", *options) as program:
            program.wait_for("ready.")
            yield program
