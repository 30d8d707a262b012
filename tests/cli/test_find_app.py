"""What ``-A`` finds, and what it says when it finds nothing."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from umbel.cli.find_app import AppNotFound, find_app, likely_apps

Write = Callable[[str, str], Path]

APP = "from umbel import Umbel\n{name} = Umbel({label!r})\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules in a folder that is the working directory; they are forgotten afterwards."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write_module(name: str, source: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    yield write_module
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]


def app(label: str, name: str = "app") -> str:
    return APP.format(name=name, label=label)


@pytest.mark.parametrize("attribute", ["app", "umbel", "celery", "anything"])
def test_a_module_with_an_app_of_any_name(write: Write, attribute: str) -> None:
    write("fa_one.py", app("one", attribute))
    assert find_app("fa_one").main == "one"


def test_the_usual_names_come_before_others(write: Write) -> None:
    write("fa_usual.py", app("other", "aaa") + app("usual", "app") + app("old", "celery"))
    assert find_app("fa_usual").main == "usual"


def test_an_exact_attribute(write: Write) -> None:
    write("fa_exact.py", app("app") + app("second", "second"))
    assert find_app("fa_exact:second").main == "second"
    assert find_app("fa_exact.second").main == "second"


def test_a_nested_attribute(write: Write) -> None:
    write("fa_nested.py", app("nested") + "class holder:\n    inner = app\n")
    assert find_app("fa_nested:holder.inner").main == "nested"


@pytest.mark.parametrize("submodule", ["app", "umbel", "celery"])
def test_a_submodule_of_a_package(write: Write, submodule: str) -> None:
    package = f"fa_pkg_{submodule}"
    write(f"{package}/__init__.py", "")
    write(f"{package}/{submodule}.py", app("sub"))
    assert find_app(package).main == "sub"
    assert find_app(f"{package}.{submodule}").main == "sub"
    assert find_app(f"{package}.{submodule}:app").main == "sub"


def test_djangos_layout(write: Write) -> None:
    """``proj/__init__.py`` says ``from .celery import app as celery_app``."""
    write("fa_django/__init__.py", "from .celery import app as celery_app\n__all__ = ('celery_app',)\n")
    write("fa_django/celery.py", app("django"))
    assert find_app("fa_django").main == "django"


def test_a_file_by_its_path(write: Write) -> None:
    write("elsewhere/fa_file.py", app("file"))
    found = find_app("elsewhere/fa_file.py")
    assert found.main == "file"
    assert "fa_file" in sys.modules


def test_a_file_whose_name_has_a_dash(write: Write) -> None:
    write("fa-dash.py", app("dash"))
    assert find_app("fa-dash.py").main == "dash"
    assert find_app("fa-dash").main == "dash"
    assert find_app("./fa-dash.py:app").main == "dash"


def test_a_file_whose_name_has_a_dot(write: Write) -> None:
    write("fa.dotted.py", app("dotted"))
    assert find_app("./fa.dotted.py").main == "dotted"


def test_a_file_in_a_package_is_imported_under_its_packages_name(write: Write) -> None:
    """Otherwise its tasks would have other names here than where they are sent from."""
    write("fa_inpkg/__init__.py", "")
    write("fa_inpkg/work.py", app("work") + "@app.task\ndef go():\n    pass\n")
    assert "fa_inpkg.work.go" in find_app("fa_inpkg/work.py").tasks


def test_a_proxy_is_not_an_app_of_the_module(write: Write) -> None:
    write("fa_proxy.py", "from umbel import current_app\n" + app("real", "mine"))
    assert find_app("fa_proxy").main == "real"


# -------------------------------------------------------------------------------------------- what goes wrong


def message(name: str) -> str:
    with pytest.raises(AppNotFound) as caught:
        find_app(name)
    return str(caught.value)


def test_no_such_module(write: Write) -> None:
    write("fa_tasks.py", app("tasks"))
    said = message("fa_taks")
    assert "no module 'fa_taks'" in said
    assert "Did you mean 'fa_tasks'?" in said


def test_no_such_file(write: Write) -> None:
    assert "no file 'nowhere.py'" in message("nowhere.py")


def test_no_such_attribute(write: Write) -> None:
    write("fa_attr.py", app("attr"))
    assert "has no 'queue'. It has: app" in message("fa_attr:queue")


def test_several_apps(write: Write) -> None:
    write("fa_many.py", app("a", "first") + app("b", "second"))
    said = message("fa_many")
    assert "several apps: first, second" in said
    assert "-A fa_many:first" in said


def test_no_app_in_the_module(write: Write) -> None:
    write("fa_none.py", "x = 1\n")
    assert "holds no app" in message("fa_none")


def test_something_that_is_no_app(write: Write) -> None:
    write("fa_wrong.py", "app = 5\n")
    assert "fa_wrong:app is not an app, but of type builtins.int" in message("fa_wrong")


def test_an_app_of_celery(write: Write) -> None:
    write("fa_celery.py", "from celery import Celery\napp = Celery('x')\n")
    assert "an app of Celery" in message("fa_celery")


@pytest.mark.parametrize("name", ["", ":", "mod:", ".mod", "a..b"])
def test_what_names_nothing(write: Write, name: str) -> None:
    assert "-A module" in message(name)


def test_a_file_that_another_module_hides(write: Write) -> None:
    write("json.py", app("json"))
    assert "another module has its name" in message("./json.py")


def test_an_import_that_fails_shows_the_users_code_and_nothing_else(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("fa_broken.py", "def boom():\n    return 1 / 0\n\nboom()\n")
    assert "fails while it is imported: ZeroDivisionError: division by zero" in message("fa_broken")
    shown = capsys.readouterr().err
    assert f'File "{path}", line 2, in boom' in shown
    assert "find_app.py" not in shown
    assert "importlib" not in shown


def test_a_missing_dependency_is_not_a_missing_module(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("fa_dep.py", "import fa_not_installed\n")
    assert "'fa_dep' was found, but it fails" in message("fa_dep")
    assert "fa_not_installed" in capsys.readouterr().err


def test_a_wrong_setting_needs_no_traceback(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("fa_setting.py", "from umbel import Umbel\napp = Umbel('x', task_serialiser='json')\n")
    said = message("fa_setting")
    assert "task_serializer" in said
    assert "fa_setting.py:2" in said
    assert capsys.readouterr().err == ""


def test_a_syntax_error_is_shown(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("fa_syntax.py", "def x(:\n")
    assert "SyntaxError" in message("fa_syntax")
    assert "fa_syntax.py" in capsys.readouterr().err


def test_a_module_that_exits(write: Write) -> None:
    write("fa_exits.py", "raise SystemExit(3)\n")
    assert "SystemExit: 3" in message("fa_exits")


def test_hints_name_modules_that_make_apps(write: Write) -> None:
    path = write("fa_hint.py", app("hint"))
    write("fa_hints/__init__.py", "")
    write("fa_hints/celery.py", app("hint"))
    write("fa_other.py", "x = 1\n")
    assert likely_apps(path.parent) == ["fa_hint", "fa_hints"]
