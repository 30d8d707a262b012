"""The same programs, with a worker, under Celery and under Umbel in its place: they must see the same."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from interop.harness import Place
from interop.surface_live import PROGRAMS
from interop.test_as_celery import run

HERE = pathlib.Path(__file__).parent


def seen_by(engine: str, place: Place, folder: pathlib.Path) -> dict[str, Any]:
    place.messages.flushall()
    prefix = ("-m", "umbel.celery") if engine == "umbel" else ()
    environment = {
        **os.environ,
        "LIVE_REDIS": place.broker,
        "LIVE_ERRORS": str(folder / f"errors-{engine}"),
        "C_FORCE_ROOT": "1",
        "PYTHONPATH": str(HERE),
    }
    log = (folder / f"{engine}.log").open("w")
    worker = subprocess.Popen(
        [
            *(sys.executable, *prefix, "-m", "celery", "-A", "live_jobs", "worker"),
            *("-l", "info", "-c", "4", "-n", "live@here", "-Q", "live,live-other", "-E"),
        ],
        env=environment,
        cwd=folder,
        stdout=log,
        stderr=log,
    )
    try:
        report: dict[str, Any] = json.loads(
            run(*prefix, str(HERE / "surface_live.py"), env=environment, cwd=folder)
        )
        return report
    finally:
        worker.terminate()
        try:
            worker.wait(timeout=60 if engine == "umbel" else 10)
        except subprocess.TimeoutExpired:
            worker.kill()
            assert engine == "celery"


@pytest.fixture(scope="module")
def reports(place: Place, tmp_path_factory: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("live")
    return seen_by("celery", place, folder), seen_by("umbel", place, folder)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_with_a_worker_sees_the_same(
    name: str, reports: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    with_celery, with_umbel = reports
    assert with_umbel[name] == with_celery[name]
