"""``umbel demo`` from beginning to end, smaller than by default."""

from __future__ import annotations

import os
from pathlib import Path

from .conftest import Project


def run_demo(project: Project, temporary: Path, *args: str) -> str:
    temporary.mkdir()
    # A broker in the environment must be left alone: this one could not even be reached.
    env = {"TMPDIR": str(temporary), "UMBEL_BROKER_URL": "redis://127.0.0.1:1/0", "UMBEL_APP": "nowhere"}
    ended = project.run("demo", "--files", "12", *args, env=env, timeout=110)
    assert ended.code == 0, ended
    return ended.out


def test_it_works_and_cleans_up(project: Project, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    said = run_demo(project, temporary)
    for expected in (
        "12 text files and 24 pictures",
        "39 of 39 done",
        "24,000 words: umbel ",
        "bytes of PNG",
        "100 answers",
        "fetched at attempt 3",
        "ZeroDivisionError: division by zero",
        "shut down cleanly",
    ):
        assert expected in said
    assert os.listdir(temporary) == []


def test_it_can_leave_the_folder(project: Project, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    said = run_demo(project, temporary, "--keep")
    (folder,) = temporary.iterdir()
    assert f"cd {folder}" in said
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == 24
    assert pictures[0].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "tasks.count_words" in project.ok("--workdir", str(folder), "-A", "tasks", "report").out
