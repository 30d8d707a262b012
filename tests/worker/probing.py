"""Asking a worker how it is, from outside: over HTTP and by the command."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from typing import Any, NamedTuple

from worker.harness import HERE, Site, Worker, eventually


class Said(NamedTuple):
    """An answer over HTTP."""

    status: int
    body: dict[str, Any]


def address(worker: Worker) -> tuple[str, int]:
    """Where a worker that was started with ``--health`` answers."""
    line = worker.wait_for(r"Health: http://")
    found = re.search(r"http://(.+):(\d+)/live", line)
    assert found is not None
    return found[1], int(found[2])


def ask(worker: Worker, path: str) -> Said:
    """What the worker answers at ``/live`` or ``/ready``."""
    host, port = address(worker)
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Said(answer.status, json.loads(answer.read()))
    finally:
        connection.close()


def wait_for_answer(worker: Worker, path: str, status: int) -> dict[str, Any]:
    """Ask until this is the answer."""
    return eventually(
        lambda: said.body if (said := ask(worker, path)).status == status else None, f"{status} from {path}"
    )


class Ended(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str


def command(site: Site, *arguments: str, app: str = "jobs") -> Ended:
    """``umbel -A jobs health ARGUMENTS``."""
    done = subprocess.run(
        [sys.executable, "-m", "umbel", "-A", app, "health", *arguments],
        cwd=site.directory,
        env={
            **os.environ,
            "JOBS_DIR": str(site.directory),
            "PYTHONPATH": str(HERE),
            "UMBEL_BROKER_URL": site.broker_url,
            "UMBEL_RESULT_BACKEND": site.result_url,
            **site.environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def wait_for_command(site: Site, code: int, *arguments: str) -> Ended:
    """Ask until it exits with this code."""
    last: list[Ended] = []

    def asked() -> Ended | None:
        last[:] = [command(site, *arguments)]
        return last[0] if last[0].code == code else None

    try:
        return eventually(asked, f"exit code {code}")
    except AssertionError as exc:
        raise AssertionError(f"{exc}; the command said {last}") from None
