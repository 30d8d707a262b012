"""``manage.py umbel …``: the command line of Umbel with the project's app, and ``dev``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, SystemCheckError

from umbel.cli import main
from umbel.contrib.django.devserver import run_site_and_worker

_APP = "umbel.contrib.django.project:app"
_DJANGOS = ("--settings", "--pythonpath")
"""Options that manage.py has obeyed already."""


class Command(BaseCommand):
    """Hands everything after ``umbel`` to the command line of Umbel."""

    help = "The task queue: worker, dev, call, result, list, dead, health … (manage.py umbel --help)."
    requires_system_checks = ()
    stealth_options = ("arguments",)

    def run_from_argv(self, argv: list[str]) -> None:
        """Everything after ``manage.py umbel``."""
        self._run(f"{os.path.basename(argv[0])} {argv[1]}", _without_djangos(argv[2:]))

    def add_arguments(self, parser: CommandParser) -> None:
        """For ``call_command("umbel", "list", "queues")``."""
        parser.add_argument("arguments", nargs="*")

    def handle(self, *args: Any, arguments: Sequence[str] = (), **options: Any) -> None:
        """Behind ``call_command``."""
        self._run("manage.py umbel", [*args, *arguments], standalone=False)

    def _run(self, program: str, arguments: list[str], *, standalone: bool = True) -> None:
        if arguments[:1] in (["dev"], ["worker"]):
            try:
                self.check()
            except SystemCheckError as exc:
                if not standalone:
                    raise
                self.stderr.write(str(exc))
                sys.exit(1)
        if arguments[:1] == ["dev"]:
            sys.exit(run_site_and_worker(arguments[1:]))
        main.main(["-A", _APP, *arguments], prog_name=program, standalone_mode=standalone)


def _without_djangos(arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, equals, _ = argument.partition("=")
        if name in _DJANGOS:
            if not equals:
                next(left, None)
        else:
            kept.append(argument)
    return kept
