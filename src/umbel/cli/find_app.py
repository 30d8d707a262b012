"""From what ``-A`` says to an app.

====================  =====================================================================================
``-A proj``           the module ``proj``: its attribute ``app``, ``umbel`` or ``celery``; of a package also its
                      sub-modules of those names; else the one app that the module holds
``-A proj.tasks``     the same for a sub-module, or an attribute of a module
``-A proj:queue``     exactly this attribute
``-A my-tasks.py``    a file, also ``dir/file.py`` and ``file.py:attribute``; a name may have a dash
====================  =====================================================================================

The working directory is put on ``sys.path`` first.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, TypeGuard

import click

from umbel import Task, Umbel, integration
from umbel.errors import ConfigurationError, UmbelError

__all__ = ["AppNotFound", "find_app", "import_tasks", "likely_apps"]

NAMES = ("app", "umbel", "celery")
"""Attributes and sub-modules that are looked at first, in this order."""
_HOW = "Name it with -A module, -A module:attribute or -A file.py."


class AppNotFound(ConfigurationError):
    """``-A`` names no app. The message says what was looked for, and how to name one."""


def find_app(name: str) -> Umbel:
    """The app that `name` stands for; see the table above. Imports user code.

    Raises AppNotFound. When the module exists but fails while it is imported, the traceback of the user's code
    goes to standard error first.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    target, colon, attribute = name.partition(":")
    if (colon and not attribute) or not (_is_path(target) or all(target.split("."))):
        raise AppNotFound(f"{name!r} does not name an app. {_HOW}")
    if _is_path(target):
        module, rest = _import_file(Path(target)), ""
    else:
        module, rest = _import_dotted(target)
    attribute = ".".join(part for part in (rest, attribute) if part)
    app = _named(module, attribute) if attribute else _only_app(module)
    framework = integration.active()
    if framework is not None:
        with _UserCode(name):
            framework.prepare()
    return app


def import_tasks(app: Umbel) -> None:
    """Import the modules that the app includes or discovers, so that all of its tasks are known.

    Raises AppNotFound when one of them is not there or fails while it is imported.
    """
    for name in (*app.conf.include, *app.conf.imports):
        try:
            _import(name)
        except ModuleNotFoundError as exc:
            raise AppNotFound(
                f"There is no module {name!r}, which the app includes (-I, the settings include and imports)."
            ) from exc
    with _UserCode("the app's tasks"):
        app.finalize()


def likely_apps(directory: Path) -> list[str]:
    """Modules in `directory` whose source creates an app, for a hint. Reads, does not import."""
    found = []
    for path in sorted(directory.glob("*.py")) + sorted(directory.glob("*/*.py")):
        if (
            path.is_file()
            and path.stat().st_size < 1_000_000
            and "Umbel(" in path.read_text(errors="replace")
        ):
            parts = path.relative_to(directory).with_suffix("").parts
            found.append(
                ".".join(parts[:-1] if parts[-1] in (*NAMES, "__init__") and len(parts) > 1 else parts)
            )
    return list(dict.fromkeys(found))


# --------------------------------------------------------------------------------------------------- modules


def _is_path(target: str) -> bool:
    return target.endswith(".py") or "/" in target or os.sep in target


def _import_file(path: Path) -> ModuleType:
    """Import a file under the name that its own package would import it by, so that task names agree."""
    if path.is_dir():
        path = path / "__init__.py"
    if not path.suffix:
        path = path.with_suffix(".py")
    if not path.is_file():
        raise AppNotFound(f"There is no file {str(path)!r} in {os.getcwd()}. {_HOW}")
    path = path.resolve()
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if parts[-1] == "__init__":
        parts.pop()
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    name = ".".join(parts)
    if "." in path.stem:
        return _load_file(path, path.stem.replace(".", "_"))
    module = _import(name)
    loaded_from = getattr(module, "__file__", None)
    if loaded_from is None or Path(loaded_from).resolve() != path:
        raise AppNotFound(
            f"The file {str(path)!r} cannot be imported, because another module has its name: {name!r} is "
            f"{loaded_from or 'built in'}. Rename the file."
        )
    return module


def _load_file(path: Path, name: str) -> ModuleType:
    """Import a file whose name no import statement could write."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AppNotFound(f"The file {str(path)!r} is not Python source. {_HOW}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _UserCode(name):
        spec.loader.exec_module(module)
    return module


def _import_dotted(target: str) -> tuple[ModuleType, str]:
    """The module at the start of a dotted path, and the attribute that is left of it."""
    parts = target.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        try:
            return _import(name), ".".join(parts[count:])
        except ModuleNotFoundError as exc:
            if not _is_missing(exc, name):
                raise
    raise AppNotFound(_no_module(target))


def _is_missing(exc: ModuleNotFoundError, name: str) -> bool:
    """Whether it is `name` itself, or a package above it, that does not exist."""
    return exc.name is not None and (name + ".").startswith(exc.name + ".")


def _import(name: str) -> ModuleType:
    """Import a module. Raises ModuleNotFoundError only when it is not there itself."""
    with _UserCode(name):
        return importlib.import_module(name)


class _UserCode:
    """Around an import: what goes wrong in the user's code is shown as the user's, without the frames of ours."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if not isinstance(exc, Exception | SystemExit):
            return
        if isinstance(exc, ModuleNotFoundError) and _is_missing(exc, self._name):
            return
        if isinstance(exc, UmbelError):
            # A wrong setting in the user's module: the sentence says it all, and where is the only thing to add.
            raise AppNotFound(f"{exc} (while {self._name!r} was imported{_where(tb)})") from exc
        while tb is not None and tb.tb_next is not None and not _is_users(tb):
            tb = tb.tb_next
        click.echo("".join(traceback.format_exception(exc.with_traceback(tb))), err=True, nl=False)
        raise AppNotFound(
            f"The module {self._name!r} was found, but it fails while it is imported: "
            f"{type(exc).__name__}: {exc}. The traceback above says where."
        ) from exc


def _is_users(tb: TracebackType) -> bool:
    path = tb.tb_frame.f_code.co_filename
    return not path.startswith((__file__, "<frozen importlib")) and "/importlib/" not in path


def _where(tb: TracebackType | None) -> str:
    """The innermost line outside of Umbel and the import system."""
    package = str(Path(__file__).resolve().parents[1])
    for frame in reversed(traceback.extract_tb(tb)):
        if not frame.filename.startswith((package, "<")) and "/importlib/" not in frame.filename:
            return f", {os.path.relpath(frame.filename)}:{frame.lineno}"
    return ""


def _no_module(target: str) -> str:
    top = target.partition(".")[0]
    if Path(f"{target}.py").is_file() or Path(target).exists():
        return f"{target!r} is not a module that can be imported. Name the file itself: -A ./{target}.py"
    nearby = [info.name for info in pkgutil.iter_modules([os.getcwd()])]
    close = difflib.get_close_matches(top, nearby, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return (
        f"There is no module {target!r} in {os.getcwd()} or on sys.path. {hint}"
        "Change to the project's directory or name it with --workdir."
    )


# ---------------------------------------------------------------------------------------------- apps in them


def _named(module: ModuleType, path: str) -> Umbel:
    """The app at `path` below `module`, which may also be a module that holds one."""
    thing: Any = module
    for part in path.split("."):
        if not hasattr(thing, part):
            known = sorted(_apps_in(module))
            hint = f"It has: {', '.join(known)}." if known else f"It holds no app at all. {_HOW}"
            raise AppNotFound(f"The module {module.__name__!r} has no {path!r}. {hint}")
        thing = getattr(thing, part)
    if isinstance(thing, ModuleType):
        return _only_app(thing)
    if isinstance(thing, Umbel):
        return thing
    raise AppNotFound(f"{module.__name__}:{path} is not an app, but {_described(thing)}")


def _only_app(module: ModuleType) -> Umbel:
    for name in NAMES:
        candidate = vars(module).get(name)
        if _is_app(candidate):
            return candidate
    for submodule in _submodules(module):
        apps = _apps_in(submodule)
        if apps:
            return _only_app(submodule)
    apps = _apps_in(module)
    different = {id(app): app for app in apps.values()}
    if len(different) == 1:
        return next(iter(different.values()))
    if different:
        raise AppNotFound(
            f"The module {module.__name__!r} holds several apps: {', '.join(apps)}. "
            f"Name one: -A {module.__name__}:{next(iter(apps))}"
        )
    for name in NAMES:
        candidate = vars(module).get(name)
        if candidate is not None and not issubclass(type(candidate), ModuleType):
            raise AppNotFound(f"{module.__name__}:{name} is not an app, but {_described(candidate)}")
    raise AppNotFound(
        f'The module {module.__name__!r} holds no app. Create one in it, app = Umbel("{module.__name__}"), '
        "or name the module that does."
    )


def _submodules(module: ModuleType) -> Iterator[ModuleType]:
    """``proj.umbel`` and the like, as far as they exist."""
    paths = getattr(module, "__path__", None)
    if paths is None:
        return
    present = {info.name for info in pkgutil.iter_modules(paths)}
    for name in NAMES:
        if name in present:
            yield _import(f"{module.__name__}.{name}")


def _apps_in(module: ModuleType) -> dict[str, Umbel]:
    return {name: value for name, value in vars(module).items() if _is_app(value)}


def _is_app(value: Any) -> TypeGuard[Umbel]:
    # The type and not isinstance(): a proxy such as current_app says that it is whatever it stands for.
    return issubclass(type(value), Umbel)


def _described(thing: Any) -> str:
    kind = type(thing)
    if issubclass(kind, Task):
        return f"a task. Name the app that has it, or the module: {_HOW}"
    if kind.__module__.partition(".")[0] == "celery" and kind.__name__ == "Celery":
        return "an app of Celery. Make it one of Umbel: from umbel import Umbel; app = Umbel(...)"
    return f"of type {kind.__module__}.{kind.__qualname__}. {_HOW}"
