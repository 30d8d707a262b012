"""The benchmark runs, and its arithmetic is right. What it measures is no test's business."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

BENCH = pathlib.Path(__file__).parents[2] / "bench"
MS = 1_000_000

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Run:
    """Runs a program of the benchmark, for which this very environment is the one of Umbel, and returns what it prints."""
    (tmp_path / "venvs").mkdir()
    (tmp_path / "venvs" / "umbel").symlink_to(sys.prefix)

    def run(program: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, str(BENCH / program), *map(str, arguments)],
            env={**os.environ, "BENCH_VENVS": str(tmp_path / "venvs"), "BENCH_LOCK": "none"},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def scenarios(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    import scenarios

    return scenarios


def test_the_whole_table_in_one_command(run: Run, tmp_path: pathlib.Path) -> None:
    """One part of it; the second time there is nothing left to run, and the report is the same."""
    raw = tmp_path / "raw.jsonl"
    arguments = ["--quick", "--repeat", 1, "--parts", "sqlite", "--systems", "umbel", "--raw", raw]
    report = run("all.py", *arguments)
    rows = [json.loads(line) for line in raw.read_text().splitlines()]
    assert [(row["scenario"], row["done" if "done" in row else "seen"]) for row in rows] == [
        ("drain", rows[0]["n"]),
        ("pickup", rows[1]["n"]),
    ]
    assert "| SQLite, drain no-ops, 2 processes | ≥ 10,000/s | " in report
    assert "SQLite, pick-up by an idle worker | p50 ≤ 5 ms | " in report
    assert "Failed" not in report
    assert run("all.py", *arguments) == report
    assert len(raw.read_text().splitlines()) == len(rows)


@pytest.mark.parametrize("scenario", ["fairness_backlog", "queue=100"])
def test_a_scenario_on_redis(run: Run, scenario: str) -> None:
    row = json.loads(run("run.py", "--system", "umbel", "--scenario", scenario, "--n", 120))
    assert row["scenario"] == scenario
    assert "error" not in row


def test_time_in_which_a_slot_was_free(scenarios: Any) -> None:
    """Two slots; both are busy from 20 to 30 ms, and from 50 on."""
    runs = {1: (10, 30, 100), 2: (20, 40, 200), 3: (50, 60, 100), 4: (50, 70, 200)}
    until = scenarios.free_time({i: (a * MS, b * MS, pid) for i, (a, b, pid) in runs.items()}, 2)
    for begin, end, free in [(0, 10, 10), (15, 25, 5), (20, 30, 0), (25, 45, 15), (50, 60, 0), (55, 65, 5)]:
        assert until(end * MS) - until(begin * MS) == free * MS


def test_slope(scenarios: Any) -> None:
    assert scenarios.slope([(0, 100), (1000, 110), (2000, 120)]) == pytest.approx(10)
    assert scenarios.slope([(0, 100), (1000, 100)]) == 0
