"""The types that users see, as mypy and pyright see them: a wrong argument of ``delay`` is an error before anything runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = ("right.py", "wrong.py")

Found = dict[str, dict[int, str]]
"""The errors: file name to line to text."""


def mypy(cache: Path) -> Found:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--hide-error-context",
        "--no-pretty",
    ]
    paths = [str(HERE / name) for name in FILES]
    done = subprocess.run(
        [*command, "--follow-imports=silent", "--cache-dir", str(cache), "--explicit-package-bases", *paths],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Found = {}
    for line in done.stdout.splitlines():
        match = re.match(r"(.+?):(\d+): error: (.*)", line)
        if match:
            found.setdefault(Path(match[1]).name, {}).setdefault(int(match[2]), match[3])
    return found


def pyright(_cache: Path) -> Found:
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *(str(HERE / n) for n in FILES)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: Found = {}
    for problem in json.loads(done.stdout)["generalDiagnostics"]:
        if problem["severity"] == "error":
            lines = found.setdefault(Path(problem["file"]).name, {})
            lines.setdefault(problem["range"]["start"]["line"] + 1, problem["message"])
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_a_checker_finds_every_error_and_no_other(checker: object, tmp_path: Path) -> None:
    assert callable(checker)
    found: Found = checker(tmp_path)
    wanted = {
        number
        for number, line in enumerate((HERE / "wrong.py").read_text().splitlines(), 1)
        if line.endswith("# error")
    }
    assert found.get("right.py", {}) == {}
    assert found.get("wrong.py", {}).keys() == wanted, found.get("wrong.py")
