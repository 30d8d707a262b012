"""Reads a program that was written for Celery, and says what will differ under Umbel.

``rules``      what is known, one row for each thing: start here
``shim``       what Umbel has under Celery's names
``files``      which files are read, ``source`` how
``project``    which names are apps and which functions are tasks
``given``      where settings are given, ``settings`` what is to be said of them
``imports``, ``usage``, ``processes``    the other readers

Nothing of the program is imported or run.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from umbel.cli.findings import Report
from umbel.contrib.celery.checker.files import display, find_package, is_process_file, project_files
from umbel.contrib.celery.checker.given import settings_given
from umbel.contrib.celery.checker.imports import check_imports
from umbel.contrib.celery.checker.processes import check_processes
from umbel.contrib.celery.checker.project import Project
from umbel.contrib.celery.checker.settings import check_settings
from umbel.contrib.celery.checker.shim import ROOTS
from umbel.contrib.celery.checker.source import Python, Text
from umbel.contrib.celery.checker.usage import check_usage

__all__ = ["check", "find_package"]


def check(roots: Iterable[Path]) -> Report:
    """Read the files below `roots`."""
    sources: list[Python] = []
    others: list[Text] = []
    for path in project_files(roots):
        if is_process_file(path) and path.suffix != ".py":
            others.append(Text(path, display(path)))
        else:
            sources.append(Python(path, display(path)))
    for source in sources:
        source.celery = any(name.partition(".")[0] in ROOTS for name in source.names.values())
    some = any(source.celery for source in sources)
    for source in sources:
        source.project_has_celery = some
    _check_python(sources)
    for text in others:
        check_processes(text)
    files: list[Text] = [*sources, *others]
    found = [finding for file in files for finding in file.findings]
    return Report(
        tuple(sorted(found, key=lambda f: (f.file, f.line, -f.severity, f.rule, f.message))),
        len(files),
        any(file.celery for file in files),
    )


def _check_python(sources: list[Python]) -> None:
    project = Project(sources)
    project.given = settings_given(project)
    check_settings(project)
    results = any(
        "result" in given.name.lower() and "backend" in given.name.lower() for given in project.given
    )
    for source in sources:
        try:
            check_imports(project, source)
            check_usage(project, source, results=results)
        except RecursionError:
            source.unreadable("its expressions are nested too deeply")
