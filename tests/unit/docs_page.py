"""Run the code of one Markdown page: ``python docs_page.py PAGE.md``, in an empty directory.

Blocks run in order. ``python`` blocks share one namespace; those with ``>>>`` prompts run as doctests. HTML comments,
which no reader sees, say what else is to be done:

``<!-- file: tasks.py -->``      the next block is the content of that file
``<!-- append: tasks.py -->``    the next block goes to the end of that file
``<!-- test: start COMMAND -->`` from here on that program runs; ``$NAME`` stands for a variable of the environment
``<!-- test: worker ARGS -->``   from here on a worker runs: ``umbel ARGS``, as in ``-A tasks worker``
``<!-- test: stop -->``          stop the workers and programs (they are stopped at the end in any case)
``<!-- test: redis -->``         from here on the page's ``redis://localhost:6379`` is a private server
``<!-- test: run -->``           run the next ``console`` block: its ``$`` lines, comparing output where there is any
``<!-- test: compile -->``       the next ``python`` block needs what a test does not have: only compile it
``<!-- test: hidden`` CODE ``-->``  Python that readers are spared: a check, or waiting for a worker

In expected output ``...`` stands for anything.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

REDIS_ADDRESS = "localhost:6379"
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
STOP_WITHIN = 30.0
_TOKEN = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[\w{}-]*)[^\n]*\n(?P<code>.*?)^(?P=fence)[ ]*$"
    r"|^<!--\s*(?P<kind>test|file|append):\s*(?P<order>[\w./-]+)(?P<rest>.*?)-->",
    re.MULTILINE | re.DOTALL,
)


class Step(NamedTuple):
    """One thing to do. `line` is where its text starts on the page."""

    kind: str
    text: str
    line: int


def steps(page: str) -> Iterator[Step]:
    """What the page's blocks and comments ask for, in order."""
    pending = ""
    for match in _TOKEN.finditer(page):
        line = page.count("\n", 0, match.start()) + 1
        if match["kind"] in ("file", "append"):
            pending = f"{match['kind']} {match['order']}"
        elif match["kind"] == "test":
            order, rest = match["order"], match["rest"]
            if order in ("run", "compile"):
                pending = order
            elif order == "hidden":
                yield Step("python", rest, line)
            else:
                yield Step(order, rest.strip(), line)
        else:
            kind = _block(match["language"], match["code"], pending)
            pending = ""
            if kind:
                yield Step(kind, match["code"], line + 1)


def _block(language: str, code: str, pending: str) -> str:
    if pending.startswith(("file ", "append ")):
        return pending
    if language in ("python", "pycon"):
        if pending == "compile":
            return "compile"
        return "doctest" if code.lstrip().startswith(">>>") else "python"
    return "console" if pending == "run" else ""


class Runner:
    """Carries out steps in the current directory."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._processes: list[tuple[subprocess.Popen[bytes], pathlib.Path | None]] = []
        self._redis = REDIS_ADDRESS

    def run(self, step: Step) -> None:
        kind, _, argument = step.kind.partition(" ")
        text = step.text.replace(REDIS_ADDRESS, self._redis)
        if kind in ("file", "append"):
            path = pathlib.Path(argument)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if kind == "file" else "a") as file:
                file.write(text)
        elif kind == "python":
            exec(self._compiled(text, step.line), self._names)
        elif kind == "compile":
            self._compiled(text, step.line)
        elif kind == "doctest":
            self._doctest(text, step.line)
        elif kind == "console":
            self._console(text)
        elif kind == "worker":
            self._start([sys.executable, "-m", "umbel", *shlex.split(text)])
        elif kind == "start":
            self._start(shlex.split(os.path.expandvars(text)))
        elif kind == "redis":
            self._start_redis()
        elif kind == "stop":
            self.stop()
        else:
            raise ValueError(f"{self._name}:{step.line}: what is 'test: {kind}'?")

    def _compiled(self, code: str, line: int) -> Any:
        # The blank lines make tracebacks name the line of the page.
        return compile("\n" * (line - 1) + code, self._name, "exec")

    def _doctest(self, code: str, line: int) -> None:
        test = doctest.DocTestParser().get_doctest(code, self._names, self._name, self._name, line)
        test.globs = self._names  # not a copy: later blocks see what this one defines
        runner = doctest.DocTestRunner(optionflags=OPTIONS)
        if runner.run(test, clear_globs=False).failed:
            raise AssertionError(f"a doctest on {self._name} failed")

    def _console(self, text: str) -> None:
        for command, expected in _commands(text):
            done = subprocess.run(
                command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if expected and not doctest.OutputChecker().check_output(expected, done.stdout, OPTIONS):
                raise AssertionError(f"$ {command}\nexpected:\n{expected}\ngot:\n{done.stdout}")
            if not expected and done.returncode:
                raise AssertionError(f"$ {command}\nexit {done.returncode}:\n{done.stdout}")

    def _start(self, command: list[str]) -> None:
        log = pathlib.Path(f"program-{len(self._processes)}.log")
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._processes.append((process, log))

    def _start_redis(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._processes.append((process, None))
        self._redis = f"localhost:{port}"
        end = time.monotonic() + STOP_WITHIN
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if time.monotonic() > end:
                raise TimeoutError("redis-server did not come up")
            time.sleep(0.02)  # between attempts to connect

    def stop(self) -> None:
        """Stop programs, the youngest first. One that does not stop on SIGTERM is an error."""
        stuck = []
        for process, log in reversed(self._processes):
            process.terminate()
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                stuck.append(f"{process.args!r} did not stop within {STOP_WITHIN:.0f} s")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if log is not None:
                print(f"--- {log}\n{log.read_text()}")
        self._processes.clear()
        if stuck:
            raise AssertionError("; ".join(stuck))


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of a command and the output that is expected of it."""
    command, expected = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:], ""
        elif command.endswith("\\"):
            command = command[:-1] + line.lstrip().removeprefix("> ")
        elif command:
            expected += line + "\n"
    if command:
        yield command, expected.rstrip("\n") and expected


def main(path: str) -> None:
    page = pathlib.Path(path)
    sys.path.insert(0, os.getcwd())
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    runner = Runner(page.name)
    try:
        for step in steps(page.read_text()):
            runner.run(step)
    finally:
        runner.stop()


if __name__ == "__main__":
    main(sys.argv[1])
