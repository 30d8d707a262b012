"""``umbel shell``: Python with the app and its tasks at hand."""

from __future__ import annotations

import code
import importlib
import importlib.util
import sys
from typing import Any

import click

from umbel import AsyncResult, Umbel
from umbel.cli.base import Command, Globals
from umbel.cli.find_app import import_tasks
from umbel.cli.output import plural
from umbel.cli.session import the_app

__all__ = ["namespace", "shell"]


@click.command(cls=Command)
@click.option("--plain", is_flag=True, help="Use Python's own shell even where IPython is installed.")
@click.pass_obj
def shell(state: Globals, plain: bool) -> None:
    """Open a Python shell with the app and its tasks.

    `app`, `AsyncResult` and every task under the name of its function are there. IPython is used when it is
    installed.
    """
    app = the_app(state, looks=False)
    names = namespace(app)
    banner = "" if state.quiet else _banner(app, names)
    if not plain and sys.stdin.isatty() and importlib.util.find_spec("IPython") is not None:
        ipython: Any = importlib.import_module("IPython")
        click.echo(banner, err=True)
        ipython.start_ipython(argv=["--no-banner"], user_ns=names)
        return
    if sys.stdin.isatty():
        _completion(names)
    code.interact(banner=banner, local=names, exitmsg="")


def namespace(app: Umbel) -> dict[str, Any]:
    """The names in the shell. Of two tasks with one function name, only the first has it."""
    import_tasks(app)
    names: dict[str, Any] = {}
    for name, task in app.tasks.items():
        if not name.startswith("celery."):
            names.setdefault(name.rpartition(".")[2], task)
    return names | {"app": app, "AsyncResult": AsyncResult, "tasks": app.tasks}


def _banner(app: Umbel, names: dict[str, Any]) -> str:
    tasks = sorted(name for name in names if name not in ("app", "AsyncResult", "tasks"))
    lines = [f"app: {app.main or 'umbel'} on {app.broker.url}, {plural(len(tasks), 'task')}"]
    if tasks:
        lines.append(f"tasks: {', '.join(tasks)}")
    return "\n".join(lines)


def _completion(names: dict[str, Any]) -> None:
    """Tab completes, where Python was built with readline."""
    if importlib.util.find_spec("readline") is not None:
        readline: Any = importlib.import_module("readline")
        completer: Any = importlib.import_module("rlcompleter")
        readline.set_completer(completer.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
