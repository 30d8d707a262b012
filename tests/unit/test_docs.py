"""Every Python block of the README and of the documentation runs, in order, page by page (see ``docs_page.py``)."""

from __future__ import annotations

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

from . import docs_page

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [page for page in PAGES if "_build" not in page.parts and any(docs_page.steps(page.read_text()))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, docs_page.__file__, str(page)],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith(("UMBEL_", "CELERY_"))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_tests_that_a_page_names_exist(page: pathlib.Path) -> None:
    named = re.findall(r"`((?:tests|src)/[\w/]+\.py)(?:::([\w:]+))?`", page.read_text())
    missing = [f"{path}::{name}" for path, name in named if not _has(ROOT / path, name)]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_make_targets_that_a_page_names_exist(page: pathlib.Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)|^(?:\$ )?make ([a-z]+)", page.read_text(), re.MULTILINE))
    assert {name for pair in named for name in pair if name} <= targets


def test_the_django_tutorial_shows_the_files_of_the_example() -> None:
    example = ROOT / "examples" / "mxonline"
    shown = [
        (step.kind.removeprefix("file "), step.text)
        for step in docs_page.steps((ROOT / "docs" / "tutorial-django.md").read_text())
        if step.kind.startswith("file ")
    ]
    assert len(shown) > 5
    assert [name for name, text in shown if (example / name).read_text() != text] == []


def test_steps_are_found_in_order() -> None:
    page = (
        "<!-- file: a/b.py -->\n```python\nx = 1\n```\ntext\n<!-- test: worker -A b worker -->\n"
        "```python\n>>> 1\n1\n```\n```console\n$ no\n```\n<!-- test: run -->\n```console\n$ yes\n```\n"
        "<!-- test: hidden\nassert True\n-->\n<!-- test: compile -->\n````python\nyield\n````\n"
        "<!-- append: a/b.py -->\n```python\ny = 2\n```\n<!-- test: start python b.py -->\n"
    )
    assert [(s.kind, s.text.strip(), s.line) for s in docs_page.steps(page)] == [
        ("file a/b.py", "x = 1", 3),
        ("worker", "-A b worker", 6),
        ("doctest", ">>> 1\n1", 8),
        ("console", "$ yes", 16),
        ("python", "assert True", 18),
        ("compile", "yield", 23),
        ("append a/b.py", "y = 2", 27),
        ("start", "python b.py", 29),
    ]


def _has(path: pathlib.Path, name: str) -> bool:
    if not path.is_file():
        return False
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    for part in filter(None, name.split("::")):
        found = [
            n
            for n in body
            if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and n.name == part
        ]
        if not found:
            return False
        body = found[0].body
    return True
