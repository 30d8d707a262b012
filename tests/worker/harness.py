"""Real workers for tests: processes of their own, on a broker of their own, gone when the test is."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from umbel import AsyncResult, Umbel, portal
from umbel.ports import Broker, Shelf, Shelved

T = TypeVar("T")

HERE = pathlib.Path(__file__).parent
PATIENCE = 30.0
"""Seconds until a test gives up waiting for what must happen. Never the time that something takes."""


def eventually(look: Callable[[], T], what: str = "", patience: float = PATIENCE) -> T:
    """The first true answer of `look`. For what tells nobody when it happens."""
    deadline = time.monotonic() + patience
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what or look}; last answer: {answer!r}")
        time.sleep(0.005)


class Site:
    """A directory, a broker and a result store: what workers and the test share."""

    def __init__(
        self,
        directory: pathlib.Path,
        broker_url: str,
        result_url: str | None = None,
        environment: Mapping[str, str] | None = None,
        files: Sequence[pathlib.Path] = (),
    ) -> None:
        self.directory = directory
        self.environment = environment or {}
        """What processes of this site have in theirs."""
        self.files = files
        """The SQLite databases in which its queues and results are."""
        directory.mkdir(parents=True, exist_ok=True)
        self.broker_url = broker_url
        self.result_url = result_url or broker_url
        self.app = Umbel("client", broker=self.broker_url, backend=self.result_url, set_as_current=False)
        self._workers: list[Worker] = []

    # -- calls

    def call(self, task: str, *args: Any, **options: Any) -> AsyncResult[Any]:
        """Send ``jobs.<task>`` by its name."""
        name = task if "." in task else f"jobs.{task}"
        return self.app.send_task(name, args, **options)

    def calls(self, task: str, calls: Sequence[Sequence[Any]], **options: Any) -> list[AsyncResult[Any]]:
        """Send many in one round trip, in this order."""
        return self.app.send_many([self.app.signature(f"jobs.{task}", args, **options) for args in calls])

    def signature(self, task: str, *args: Any, **options: Any) -> Any:
        return self.app.signature(f"jobs.{task}", args, **options)

    # -- what tasks say, and what they wait for

    def notes(self) -> list[str]:
        """What tasks have said so far."""
        try:
            return (self.directory / "notes").read_text().splitlines()
        except FileNotFoundError:
            return []

    def wait_for_note(self, *words: object, count: int = 1) -> None:
        """Wait until tasks have said this `count` times."""
        line = " ".join(map(str, words))
        eventually(lambda: self.notes().count(line) >= count, f"the note {line!r} in {self.notes}")

    def open_gate(self, name: str) -> None:
        """Let the tasks that wait at this gate go on."""
        (self.directory / f"gate-{name}").touch()

    # -- the broker

    def ask(self, question: Callable[[Broker], Coroutine[Any, Any, T]]) -> T:
        """The answer of the broker: ``site.ask(lambda broker: broker.queues())``."""

        async def asked() -> T:
            await self.app.broker.open()
            return await question(self.app.broker)

        return portal.run(asked())

    def shelf(self, shelf: Shelf) -> list[Shelved]:
        """What lies on a shelf, in all queues."""
        return list(self.ask(lambda broker: broker.browse(shelf, limit=10_000)))

    def wait_for_shelf(self, shelf: Shelf, count: int = 1) -> list[Shelved]:
        """Wait until `count` messages lie there."""
        return eventually(
            lambda: found if len(found := self.shelf(shelf)) >= count else None,
            f"{count} messages on {shelf}",
        )

    def assert_nothing_left(self) -> None:
        """Every message has ended well: none waits, is held, or is anywhere else."""
        shelves: tuple[Shelf, ...] = ("waiting", "scheduled", "held", "parked", "dead")
        eventually(lambda: not any(self.shelf(shelf) for shelf in shelves), "empty shelves")

    # -- workers

    @contextlib.contextmanager
    def worker(self, *arguments: str, **options: Any) -> Iterator[Worker]:
        """A worker that is ready; see ``Worker``. At the end of the block every process of it is gone."""
        worker = Worker(self, *arguments, **options)
        try:
            worker.start()
            yield worker
        finally:
            worker.kill_everything()

    def close(self) -> None:
        self.app.close()


class Worker:
    """``python -m umbel -A <app> worker``, in a process group of its own.

    `app` is a module of this directory, or of another directory of tests: ``chaos.jobs``. `settings` are settings of the app,
    given by the environment. `program` stands in for ``umbel``.
    """

    def __init__(
        self,
        site: Site,
        *arguments: str,
        pool: str = "prefork",
        concurrency: int = 2,
        app: str = "jobs",
        settings: Mapping[str, object] | None = None,
        loglevel: str = "info",
        ready: bool = True,
        program: str = "umbel",
    ) -> None:
        self.site = site
        self._ready = ready
        self._command = [
            *(sys.executable, "-m", program, "-A", app, "worker", "-l", loglevel),
            *("-P", pool, "-c", str(concurrency), *arguments),
        ]
        self._environment = {
            **os.environ,
            "JOBS_DIR": str(site.directory),
            "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}",
            "PYTHONUNBUFFERED": "1",
            "UMBEL_BROKER_URL": site.broker_url,
            "UMBEL_RESULT_BACKEND": site.result_url,
            **{f"UMBEL_{name.upper()}": str(value) for name, value in (settings or {}).items()},
            **site.environment,
        }
        self._lines: list[str] = []
        self._news = threading.Condition()

    # -- life

    def start(self) -> None:
        """Returns when it is ready."""
        self.process = subprocess.Popen(
            self._command,
            cwd=self.site.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if self._ready:
            self.wait_for(r" ready\.")

    def stop(self) -> int:
        """Warm shutdown; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait until it has ended by itself; returns the exit code."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError("the worker does not end:\n" + _told(self.lines)) from None
        self._reader.join(patience)
        return code

    def signal(self, signum: int) -> None:
        """Send it to the supervisor, as an init system does."""
        os.kill(self.pid, signum)

    def signal_group(self, signum: int) -> None:
        """Send it to every process, as a terminal does."""
        os.killpg(self.pid, signum)

    def freeze(self, *pids: int) -> None:
        """Stop these processes of it, or all of them, until they get a SIGCONT. Returns when they stand still.

        In no transaction of a database file: what a stopped process has locked, nobody else can write.
        """
        pids = pids or tuple(self.left_behind())
        with contextlib.ExitStack() as locks:
            for file in self.site.files:
                database = locks.enter_context(
                    contextlib.closing(sqlite3.connect(file, PATIENCE, isolation_level=None))
                )
                database.execute("BEGIN EXCLUSIVE")  # which closing rolls back
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            eventually(lambda: all(_stat(pid)[:1] == ["T"] for pid in pids), f"{pids} to stand still")

    def kill_everything(self) -> None:
        if not hasattr(self, "process"):
            return  # it was never started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()

    # -- its log

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._lines.append("")
            self._news.notify_all()

    @property
    def lines(self) -> list[str]:
        with self._news:
            return list(self._lines)

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, count: int = 1) -> str:
        """Wait until a line matches for the `count`-th time, and return that line."""
        expression, deadline = re.compile(pattern), time.monotonic() + PATIENCE
        with self._news:
            while True:
                found = [line for line in self._lines if expression.search(line)]
                if len(found) >= count:
                    return found[count - 1]
                if self.process.poll() is not None and self._lines and not self._reader.is_alive():
                    raise AssertionError(
                        f"the worker ended, never saying {pattern!r}:\n" + "\n".join(self._lines)
                    )
                if time.monotonic() > deadline:
                    raise AssertionError(f"the worker never said {pattern!r}:\n" + _told(self._lines))
                self._news.wait(0.5)

    # -- its processes

    @property
    def node_pid(self) -> int:
        """The process that holds the leases: the one that the supervisor started first of those alive."""
        return min(_children_of(self.pid), key=_started)

    @property
    def child_pids(self) -> list[int]:
        """The processes that run tasks."""
        node = self.node_pid
        return [pid for pid in _children_of(self.pid) if pid != node]

    def left_behind(self) -> list[int]:
        """Processes of its group that still live."""
        return [pid for pid in _all_pids() if _group_of(pid) == self.pid]


def _told(lines: Sequence[str]) -> str:
    """The log without the list of tasks in the banner."""
    return "\n".join(line for line in lines if line and not line.startswith("  . "))


def _die_with_parent() -> None:
    """A test run that is killed must not leave workers behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _children_of(pid: int) -> list[int]:
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _stat(pid: int) -> list[str]:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _started(pid: int) -> tuple[int, int]:
    stat = _stat(pid)
    return (int(stat[19]) if stat else 1 << 62, pid)


def _group_of(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[2]) if stat and stat[0] != "Z" else 0


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit()]
