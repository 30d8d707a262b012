"""Where the embedded queue lies."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from umbel.errors import ConfigurationError
from umbel.places import MARKERS, calling_file, default_database_path, prepare_directory, project_root


@pytest.mark.parametrize("marker", MARKERS)
def test_the_project_is_the_nearest_directory_with_a_marker(tmp_path: Path, marker: str) -> None:
    (tmp_path / "pyproject.toml").touch()
    inner = tmp_path / "services" / "shop"
    package = inner / "src" / "shop"
    package.mkdir(parents=True)
    (inner / marker).touch()
    assert project_root(package / "tasks.py") == inner
    assert default_database_path(package / "tasks.py", {}) == inner / ".umbel" / "queue.db"
    assert default_database_path(tmp_path / "other.py", {}) == tmp_path / ".umbel" / "queue.db"


def test_without_a_marker_it_is_the_directory_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.places.MARKERS", ("no-such-marker-anywhere",))
    assert project_root(tmp_path / "tasks.py") == tmp_path


def test_links_are_followed_to_one_place(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "setup.py").touch()
    link = tmp_path / "link"
    link.symlink_to(real)
    assert default_database_path(link / "tasks.py", {}) == default_database_path(real / "tasks.py", {})


def test_umbel_home_wins(tmp_path: Path) -> None:
    assert default_database_path("/srv/app.py", {"UMBEL_HOME": str(tmp_path)}) == tmp_path / "umbel.db"
    assert default_database_path("/srv/app.py", {"UMBEL_HOME": "~/x"}) == Path.home() / "x" / "umbel.db"


def test_a_relative_file_is_seen_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manage.py").touch()
    monkeypatch.chdir(tmp_path)
    assert default_database_path("tasks.py", {}) == tmp_path / ".umbel" / "queue.db"


def test_every_process_of_a_project_finds_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "manage.py").touch()
    (tmp_path / "elsewhere").mkdir()
    package = tmp_path / "proj"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tasks.py").write_text(
        "from umbel.places import calling_file, default_database_path\n"
        "class App:\n"
        "    def __init__(self):\n"
        "        self.path = default_database_path(calling_file(), {})\n"
        "PATH = App().path\n"
    )
    script = tmp_path / "script.py"
    script.write_text("import proj.tasks\nprint(proj.tasks.PATH)\n")
    imported = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import proj.tasks; print(proj.tasks.PATH)"
    answers = {
        subprocess.run([sys.executable, *argv], cwd=cwd, check=True, capture_output=True, text=True).stdout
        for argv in ([str(script)], ["-c", imported])
        for cwd in (tmp_path, tmp_path / "elsewhere")
    }
    assert answers == {f"{tmp_path}/.umbel/queue.db\n"}


def test_an_interactive_session_uses_its_directory(tmp_path: Path) -> None:
    program = (
        "from umbel.places import *\n"
        "def made_in(): return calling_file()\n"
        "print(made_in(), default_database_path(made_in(), {}))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert answer.stdout.split() == ["None", f"{tmp_path}/.umbel/queue.db"]


def test_the_caller_is_this_file() -> None:
    def made_in() -> Path | None:
        return calling_file()

    assert made_in() == Path(__file__)


def test_the_directory_is_made_for_this_user_and_kept_out_of_version_control(tmp_path: Path) -> None:
    database = tmp_path / "proj" / ".umbel" / "queue.db"
    prepare_directory(database)
    prepare_directory(database)
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    assert (database.parent / ".gitignore").read_text() == "*\n"
    assert not database.exists()
    prepare_directory(tmp_path / "home" / "umbel.db")
    assert not (tmp_path / "home" / ".gitignore").exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/\.umbel.*UMBEL_HOME"):
        prepare_directory(tmp_path / "file" / ".umbel" / "queue.db")
