"""Where the embedded queue lies when no broker is configured: one place per project, whatever the working directory.

1. ``$UMBEL_HOME/umbel.db``, if the variable is set;
2. else ``<project>/.umbel/queue.db``, where the project is the nearest directory above the file that defines the app
   (the main script, if that is not known) that holds ``pyproject.toml``, ``setup.cfg``, ``setup.py``, ``manage.py`` or
   ``.git``; where none does, the directory of that file itself.

The web process, the worker and a cron job of one project so find the same queue: each imports the same file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from umbel.errors import ConfigurationError

__all__ = ["calling_file", "default_database_path", "prepare_directory", "project_root"]

MARKERS = ("pyproject.toml", "setup.cfg", "setup.py", "manage.py", ".git")
"""A directory that holds one of these is a project."""

_OWN_PACKAGE = Path(__file__).resolve().parent


def default_database_path(
    module_file: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None
) -> Path:
    """The database file of the project that `module_file` belongs to; see the module for the rule.

    `module_file` is the file that defines the app (``calling_file`` finds it). Without it the main script counts, and
    without one of those (an interactive session, a command without an app) the current directory. Nothing is created.

    >>> default_database_path("/srv/shop/app.py", {"UMBEL_HOME": "/var/lib/shop"})
    PosixPath('/var/lib/shop/umbel.db')
    """
    home = (os.environ if environ is None else environ).get("UMBEL_HOME")
    if home:
        return Path(home).expanduser().absolute() / "umbel.db"
    file = Path(module_file) if module_file is not None else _main_script()
    return project_root(file or Path.cwd() / "session.py") / ".umbel" / "queue.db"


def project_root(file: Path) -> Path:
    """The nearest directory above `file` that looks like a project; the directory of `file` if none does."""
    directory = file.absolute().resolve().parent
    for candidate in (directory, *directory.parents):
        if any((candidate / marker).exists() for marker in MARKERS):
            return candidate
    return directory


def prepare_directory(database: Path) -> None:
    """Make the directory of the embedded `database`, for this user only, and keep it out of version control.

    Only for the default place: a directory that somebody wrote into a URL is not made, it may be misspelt. Raises
    ``ConfigurationError`` when it cannot be made.
    """
    directory = database.parent
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = directory / ".gitignore"
        if directory.name == ".umbel" and not ignore.exists():
            ignore.write_text("*\n", encoding="ascii")
    except OSError as exc:
        raise ConfigurationError(
            f"The directory {directory} for the embedded queue cannot be made: {exc.strerror}. Name a place that this "
            "user may write to in the environment variable UMBEL_HOME, or configure broker_url."
        ) from exc


def calling_file() -> Path | None:
    """The file that calls the function which calls this one: where an app is being made.

    None when that is an interactive session, or Umbel itself (a command without an app).
    """
    frame = sys._getframe(2)
    name = frame.f_globals.get("__file__")
    return None if name is None or _is_ours(Path(name)) else Path(name)


def _is_ours(file: Path) -> bool:
    return file.absolute().is_relative_to(_OWN_PACKAGE)


def _main_script() -> Path | None:
    """The file that Python was started with; None where there is none, or it is Umbel's own command."""
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    if name is None or _is_ours(Path(name)) or Path(name).name in ("umbel", "pytest"):
        return None
    return Path(name)
