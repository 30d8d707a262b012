"""The examples, run as their first lines say."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from servers import RedisServer

from .conftest import Worker

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Example:
    """A copy of one example, and what runs in it."""

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder / name
        shutil.copytree(EXAMPLES / name, self.folder)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("UMBEL_")}
        self.env = clean | env

    @contextlib.contextmanager
    def worker(self, *argv: str) -> Iterator[Worker]:
        worker = Worker(argv, self.folder, self.env)
        try:
            worker.wait_for("ready")
            yield worker
        finally:
            worker.end()

    def main(self) -> str:
        ended = subprocess.run(
            [sys.executable, "main.py"],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


def embedded(folder: Path) -> dict[str, str]:
    """The default is a SQLite file; this one is the test's own."""
    url = f"sqlite:///{folder / 'queue.db'}"
    return {"UMBEL_BROKER_URL": url, "UMBEL_RESULT_BACKEND": url}


def test_hello(tmp_path: Path) -> None:
    example = Example("hello", tmp_path, embedded(tmp_path))
    with example.worker("umbel", "-A", "tasks", "worker", "-l", "info", "-c", "1"):
        assert example.main().splitlines() == ["hello world", "hello Ada", "hello Grace", "hello Barbara"]


def test_fetch(tmp_path: Path) -> None:
    example = Example("fetch", tmp_path, embedded(tmp_path))
    with example.worker("umbel", "-A", "tasks", "worker", "-l", "info", "-P", "asyncio", "-c", "50"):
        said = example.main()
    found = re.fullmatch(r"50 answers, 840 bytes, in ([\d.]+) s\n", said)
    assert found, said
    # One after the other they would take 25 s.
    assert float(found[1]) < 15


def test_beside_celery(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        example = Example("beside_celery", tmp_path, {"REDIS_URL": server.url()})
        umbel = example.worker("umbel", "-A", "umbel_side", "worker", "-l", "info", "-c", "1")
        celery = example.worker(
            "celery", "-A", "celery_side", "worker", "-Q", "celery", "-c", "1", "-l", "info"
        )
        with umbel, celery:
            said = example.main()
    assert said.splitlines() == ["Celery summed up: 4.0", "order 7: 4.00, written by Umbel"]
