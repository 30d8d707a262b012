"""The table of Celery's surface: its rows name tests that there are, and the page is made of it."""

from __future__ import annotations

import ast
import functools
import pathlib
import subprocess
import sys
import tomllib
from typing import Any

import celery.app.defaults
import pytest

from umbel.settings import SETTINGS

ROOT = pathlib.Path(__file__).parents[2]
TABLE = tomllib.loads((ROOT / "docs" / "celery-compatibility.toml").read_text())
ROWS: list[dict[str, Any]] = TABLE["row"]
USEFUL = [row for row in ROWS if row["mark"] in "AB"]


@functools.cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", USEFUL, ids=lambda row: f"{row['section']}: {row['name'][:40]}")
def test_a_row_is_tested_or_says_what_else_there_is(row: dict[str, Any]) -> None:
    assert row["status"] in ("same", "differs", "ignored", "refused")
    if row["status"] in ("same", "differs"):
        assert row["tests"]
    if row["status"] != "same":
        assert row["note"].endswith(".")
    for test in row.get("tests", ()):
        path, _, name = test.partition("::")
        assert name in functions(path), test


def test_the_page_is_made_of_the_table() -> None:
    script = ROOT / "scripts" / "celery-compatibility"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert done.returncode == 0, "run scripts/celery-compatibility"


def test_every_setting_of_celery_is_understood() -> None:
    assert set(celery.app.defaults.DEFAULTS) <= set(TABLE["settings"])
    assert set(TABLE["settings"]) <= set(SETTINGS)
