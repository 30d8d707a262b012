"""The processes of the two sides, and what tests say to them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import redis

from interop.jobs import PATIENCE
from servers import RedisServer

TESTS = pathlib.Path(__file__).parents[1]
BROKER_DB, BACKEND_DB, NOTES_DB = 0, 1, 2


class Place:
    """A Redis server with a database each for messages, results and notes."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.broker = server.url(BROKER_DB)
        self.backend = server.url(BACKEND_DB)
        self.messages = redis.Redis.from_url(self.broker)
        self.results = redis.Redis.from_url(self.backend)
        self.notes = redis.Redis.from_url(server.url(NOTES_DB), socket_timeout=None)

    def close(self) -> None:
        for client in (self.messages, self.results, self.notes):
            client.close()

    def environment(self, side: str, queue: str, settings: dict[str, Any]) -> dict[str, str]:
        """What tells a process where it belongs."""
        return {
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "PYTHONUNBUFFERED": "1",
            "C_FORCE_ROOT": "1",  # Celery's worker would refuse pickle when the tests run as root
            "INTEROP_SIDE": side,
            "INTEROP_BROKER": self.broker,
            "INTEROP_BACKEND": self.backend,
            "INTEROP_NOTES": self.server.url(NOTES_DB),
            "INTEROP_QUEUE": queue,
            "INTEROP_SETTINGS": json.dumps(settings),
        }

    # -- gates and notes

    def arrived(self, gate: str) -> int:
        """Wait until a task stands at `gate`; returns its process."""
        said = self.notes.blpop([f"at:{gate}"], PATIENCE)
        assert said is not None, f"no task came to the gate {gate}"
        return int(said[1])

    def open(self, gate: str) -> None:
        """Let one task pass."""
        self.notes.rpush(f"open:{gate}", "1")

    def noted(self, key: str) -> str:
        """Wait for the next note."""
        said = self.notes.blpop([key], PATIENCE)
        assert said is not None, f"nobody has noted anything under {key}"
        text: str = said[1].decode()
        return text

    def record(self, task_id: str) -> bytes | None:
        """What is stored of a call."""
        stored: bytes | None = self.results.get(f"celery-task-meta-{task_id}")
        return stored


class Process:
    """A process in a group of its own, whose output can be waited for."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._lines: list[str] = []
        self._news = threading.Condition()
        self.popen = subprocess.Popen(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as stream:
            for line in stream:
                with self._news:
                    self._lines.append(line.decode(errors="replace"))
                    self._news.notify_all()
        with self._news:
            self._lines.append("(its output has ended)\n")
            self._news.notify_all()

    @property
    def output(self) -> str:
        """All that it has said."""
        return "".join(self._lines)

    def wait_for(self, text: str) -> None:
        """Wait until a line contains `text`."""
        with self._news:
            found = self._news.wait_for(
                lambda: any(text in line or "(its output has ended)" in line for line in self._lines),
                PATIENCE,
            )
        assert found, f"it has not said {text!r}:\n{self.output}"
        assert text in self.output, f"it has ended and never said {text!r}:\n{self.output}"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and whatever it has started."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not stop on {how.name}:\n{self.output}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()
            self._thread.join(PATIENCE)


@contextlib.contextmanager
def celery_worker(place: Place, *queues: str, concurrency: int = 1, **settings: Any) -> Iterator[Process]:
    """``celery worker`` on `queues`; new calls that its tasks make go to the first of them."""
    arguments = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "interop.celery_side",
        "worker",
        "-l",
        "info",
        "-P",
        "prefork",
    ]
    arguments += ["-c", str(concurrency), "-Q", ",".join(queues), "-n", f"celery-{queues[0]}@interop"]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    # Killed in the end: told to stop while its last task ends, it sometimes never does.
    process = Process(arguments, place.environment("celery", queues[0], settings))
    with _running(process, signal.SIGKILL):
        process.wait_for(" ready.")
        yield process


@contextlib.contextmanager
def umbel_worker(
    place: Place, *queues: str, concurrency: int = 1, pool: str = "prefork", **settings: Any
) -> Iterator[Process]:
    """``umbel worker`` on `queues`; new calls that its tasks make go to the first of them."""
    arguments = [
        sys.executable,
        "-m",
        "umbel",
        "-A",
        "interop.umbel_side",
        "worker",
        "-l",
        "info",
        "-P",
        pool,
    ]
    arguments += ["-c", str(concurrency), "-Q", ",".join(queues), "-n", f"umbel-{queues[0]}@interop"]
    process = Process(arguments, place.environment("umbel", queues[0], settings))
    with _running(process, signal.SIGTERM):
        process.wait_for(" ready.")
        yield process


@contextlib.contextmanager
def _running(process: Process, end: signal.Signals) -> Iterator[None]:
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"The process {process.popen.args} said:\n{process.output}")
        raise
    finally:
        process.stop(end)


class CeleryClient:
    """A process with a Celery app that evaluates what tests ask for.

    ``client("add.delay(1, 2).get(timeout=10)")`` returns 3; keywords become names. Names that are assigned stay.
    """

    def __init__(self, place: Place, queue: str, **settings: Any) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "interop.celery_side", str(theirs.fileno())],
            env=place.environment("celery", queue, settings),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            preexec_fn=die_with_parent,
        )
        theirs.close()

    def ask(self, source: str, **names: Any) -> None:
        """Begin to evaluate `source`; ``answer`` waits for the value."""
        self._connection.send((source, names))

    def answer(self) -> Any:
        """The value of what was asked."""
        assert self._connection.poll(PATIENCE * 1.5), "the Celery client does not answer"
        kind, value = self._connection.recv()
        assert kind == "value", f"in the Celery client:\n{value}"
        return value

    def __call__(self, source: str, **names: Any) -> Any:
        self.ask(source, **names)
        return self.answer()

    def close(self) -> None:
        self._connection.close()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()


def die_with_parent() -> None:
    """A test run that is killed must not leave processes behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def eventually(check: Any, what: str) -> None:
    """Wait until `check()` is true, where nothing tells when it becomes so."""
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline, f"it never happened that {what}"
        time.sleep(0.01)
