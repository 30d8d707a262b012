"""``umbel migrate``: help for programs that move here from Celery."""

from __future__ import annotations

import importlib
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from umbel.cli import exits
from umbel.cli.base import Globals, UmbelGroup
from umbel.cli.findings import Finding, Report, Severity
from umbel.cli.options import json_option
from umbel.cli.output import emit_json, plural

__all__ = ["migrate"]

_CHECKER = "umbel.contrib.celery.checker"
"""The part that knows Celery. Like a backend it is loaded by name: the command line depends on no integration."""
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:\S*)?")
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


@click.group(cls=UmbelGroup, name="migrate")
def migrate() -> None:
    """Move a program that was written for Celery.

    Messages need no moving: Umbel reads those of Celery.
    """


@migrate.command()
@click.argument("target", metavar="[PATH|APP]", required=False)
@click.option(
    "--min-severity",
    type=click.Choice([severity.word for severity in Severity]),
    default=Severity.NOTE.word,
    show_default=True,
    help="Report nothing that matters less.",
)
@json_option
@click.pass_obj
def check(state: Globals, target: str | None, min_severity: str, as_json: bool) -> None:
    """Say what of a Celery program will not work or will differ under Umbel.

    PATH is a directory or a file; APP is a module, such as proj or proj.celery:app, whose package is looked up. Without either: the
    app of -A, else the current directory. Nothing is imported or run: Python, Procfile, Dockerfile, docker-compose*.yml, *.service,
    supervisord*.conf, Makefile and *.sh are read.

    An error will not work, a warning behaves differently, a note is good to know. The comment `# umbel: ignore` silences its line,
    `# umbel: ignore[rule, rule]` these rules on it.

    Exit codes: 0, nothing worse than notes is reported; 1, warnings or errors are; 2, there is no such file or module; 3,
    nothing of Celery was found. What --min-severity leaves out does not count.

    --json prints a list of objects with file, line, rule, severity, message and advice.
    """
    roots = _roots(target or state.app or ".")
    read: Callable[[list[Path]], Report] = importlib.import_module(_CHECKER).check
    report = read(roots)
    shown = [found for found in report.findings if found.severity >= Severity[min_severity.upper()]]
    if as_json:
        emit_json([{**found._asdict(), "severity": found.severity.word} for found in shown])
    else:
        _print(shown, report.files)
    if not report.celery and not report.findings:
        raise exits.Stop(
            f"Nothing of Celery was found in {plural(report.files, 'file')} of {', '.join(map(str, roots))}.",
            exits.ABSENT,
        )
    if any(found.severity > Severity.NOTE for found in shown):
        click.get_current_context().exit(exits.FAILED)


def _roots(target: str) -> list[Path]:
    path = Path(target)
    try:
        if path.exists():
            return [path]
    except (OSError, ValueError):  # a name too long, a NUL
        pass
    found: list[Path] = []
    if _MODULE.fullmatch(target):
        find: Callable[[str], list[Path]] = importlib.import_module(_CHECKER).find_package
        found = find(target.partition(":")[0])
    if not found:
        exits.fail(f"There is no file, directory or module {target!r}.", exits.USAGE)
    return found


def _print(findings: list[Finding], files: int) -> None:
    for file, group in itertools.groupby(findings, key=lambda found: found.file):
        click.echo(click.style(file, bold=True))
        for found in group:
            word: Any = click.style(found.severity.word, fg=_COLOURS[found.severity])
            click.echo(f"  {found.line}: {word}: {found.message} [{found.rule}]")
            click.echo(f"      {found.advice}")
        click.echo("")
    counts = {severity: sum(found.severity is severity for found in findings) for severity in Severity}
    said = ", ".join(plural(counts[severity], severity.word) for severity in reversed(Severity))
    click.echo(f"{said} in {plural(files, 'file')}.")
