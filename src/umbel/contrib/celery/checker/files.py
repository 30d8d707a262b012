"""Which files are read: Python and the files that start processes, without what others have written."""

from __future__ import annotations

import fnmatch
import importlib.machinery
import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["display", "find_package", "is_process_file", "project_files"]

_SKIPPED = frozenset(
    {
        "node_modules",
        "migrations",
        "__pycache__",
        "site-packages",
        "venv",
        "virtualenv",
        "env",
        "bower_components",
    }
)
_PROCESS_FILES = (
    "procfile",
    "procfile.*",
    "*compose*.yml",
    "*compose*.yaml",
    "*.service",
    "*.sh",
    "supervisord*.conf",
    "dockerfile",
    "dockerfile.*",
    "*.dockerfile",
    "makefile",
)


def is_process_file(path: Path) -> bool:
    """Whether it may start a worker."""
    return any(fnmatch.fnmatchcase(path.name.lower(), pattern) for pattern in _PROCESS_FILES)


def project_files(roots: Iterable[Path]) -> Iterator[Path]:
    """Those below `roots`, in order, each once. A root that is a file is taken whatever its name."""
    seen: set[tuple[int, int]] = set()
    for root in roots:
        if root.is_dir():
            yield from _below(root, seen)
        elif _first_time(root, seen):
            yield root


def _below(root: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    # Links are followed, and a directory is entered once: a loop ends.
    _first_time(root, seen)
    for folder, folders, names in os.walk(root, followlinks=True):
        base = Path(folder)
        folders[:] = [
            name for name in sorted(folders) if _wanted(base / name) and _first_time(base / name, seen)
        ]
        for name in sorted(names):
            path = base / name
            if (path.suffix == ".py" or is_process_file(path)) and _first_time(path, seen):
                yield path


def _wanted(folder: Path) -> bool:
    name = folder.name
    if name.startswith(".") or name in _SKIPPED or name.endswith(".egg-info"):
        return False
    try:
        return not (folder / "pyvenv.cfg").exists()
    except OSError:
        return False


def _first_time(path: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = path.stat()
    except OSError:  # a dangling link
        return False
    key = (status.st_dev, status.st_ino)
    first = key not in seen
    seen.add(key)
    return first


def display(path: Path) -> str:
    """The path as people write it: relative where it lies below the current directory."""
    try:
        text = str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        text = str(path)
    return text.encode("utf-8", "replace").decode()


def find_package(module: str) -> list[Path]:
    """Where the top-level package of `module` lies; [] when there is none. Nothing of it runs."""
    top = module.partition(".")[0]
    try:
        spec = importlib.machinery.PathFinder.find_spec(top, [str(Path.cwd())]) or importlib.util.find_spec(
            top
        )
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place) for place in spec.submodule_search_locations if Path(place).is_dir()]
    return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []
