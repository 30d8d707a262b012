"""``umbel multi``: several workers in the background, as ``celery multi`` has them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from umbel.as_celery import PACKAGES
from umbel.cli import exits
from umbel.cli.base import Command
from umbel.worker.options import expand_name

__all__ = ["multi"]

_PIDFILE, _LOGFILE = "%n.pid", "%n.log"
_STOP_SECONDS = 3600.0
"""So long ``stopwait`` and ``restart`` wait for workers that end what they run."""
_POLL = 0.05
_GLOBAL = {
    "-A": True,
    "--app": True,
    "-b": True,
    "--broker": True,
    "--result-backend": True,
    "--workdir": True,
}


class Worker(NamedTuple):
    """One of them."""

    name: str
    """``w1@host``."""
    pidfile: Path
    arguments: list[str]
    """What ``umbel`` is started with."""

    @property
    def pid(self) -> int | None:
        """Of the process that runs; None: there is none."""
        try:
            pid = int(self.pidfile.read_text())
        except (OSError, ValueError):
            return None
        return pid if _lives(pid) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@click.command(
    cls=Command, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("action")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def multi(ctx: click.Context, /, action: str, arguments: tuple[str, ...]) -> None:
    """Start and stop several workers in the background.

    \b
    umbel multi start 3 -A proj -c 2                 three workers
    umbel multi start w1 w2 -A proj -Q:w1 mail       with a queue for one of them
    umbel multi stopwait w1 w2 -A proj               end them, and wait for it
    umbel multi restart 3 -A proj
    umbel multi kill w1 | show … | names … | get w1 … | expand '%n' …

    Options of the worker follow the names; OPTION:NAMES gives one to some of them. --pidfile and --logfile hold %n, the first part of the name
    [default: %n.pid, %n.log].
    """
    known = _ACTIONS.get(action)
    if known is None:
        raise click.UsageError(f"There is no {action!r}. There are: {', '.join(_ACTIONS)}.", ctx)
    known(list(arguments), ctx)


# ------------------------------------------------------------------------------------------- from words to workers


def _workers(words: list[str], ctx: click.Context) -> list[Worker]:
    names: list[str] = []
    while words and not words[0].startswith("-"):
        names.append(words.pop(0))
    if len(names) == 1 and names[0].isdigit():
        names = [f"celery{number}" for number in range(1, int(names[0]) + 1)]
    if not names:
        raise click.UsageError(
            "Name the workers, or say how many there are to be: umbel multi start 3 -A proj.", ctx
        )
    common, own = _options(words, names, ctx)
    return [_worker(name, [*common, *own[name]]) for name in names]


def _options(
    words: list[str], names: list[str], ctx: click.Context
) -> tuple[list[tuple[str, str | None]], dict[str, list[tuple[str, str | None]]]]:
    """The options of all, and those of each: pairs of a word and its value."""
    common: list[tuple[str, str | None]] = []
    own: dict[str, list[tuple[str, str | None]]] = {name: [] for name in names}
    position = 0
    while position < len(words):
        option, sign, value = words[position].partition("=")
        position += 1
        given = value if sign else None
        if given is None and position < len(words) and not words[position].startswith("-"):
            given = words[position]
            position += 1
        option, colon, some = option.partition(":")
        for name in _some(some, names, ctx) if colon else ():
            own[name].append((option, given))
        if not colon:
            common.append((option, given))
    return common, own


def _some(text: str, names: list[str], ctx: click.Context) -> list[str]:
    """``w1,w2``, ``1-3``, ``2`` as names."""
    found = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if part in names:
            found.append(part)
        elif first.isdigit() and (last.isdigit() or not dash):
            found += names[int(first) - 1 : int(last or first)]
        else:
            raise click.UsageError(f"{part!r} is none of the workers: {', '.join(names)}.", ctx)
    return found


def _worker(name: str, options: list[tuple[str, str | None]]) -> Worker:
    full = expand_name(name)
    short, _, host = full.partition("@")
    given = {"--pidfile": _PIDFILE, "--logfile": _LOGFILE}
    before: list[str] = []
    after: list[str] = []
    for option, value in options:
        option = {"-f": "--logfile"}.get(option, option)
        if option in given and value is not None:
            given[option] = value
        elif option in ("-n", "--hostname") and value is not None:
            full = expand_name(value.replace("%n", short).replace("%h", host))
        else:
            words = [option] if value is None else [option, value]
            (before if option in _GLOBAL else after).extend(words)
    files = {
        option: value.replace("%n", short).replace("%N", short).replace("%h", host).replace("%I", "")
        for option, value in given.items()
    }
    arguments = [*before, "worker", "--detach", "-n", full]
    for option, value in files.items():
        arguments += [option, value]
    return Worker(full, Path(files["--pidfile"]), [*arguments, *after])


def _command(worker: Worker) -> list[str]:
    """What starts it: with Umbel in the place of Celery, if that is how this command was started."""
    module = "umbel.celery" if PACKAGES in sys.path else "umbel"
    return [sys.executable, "-m", module, *worker.arguments]


# ---------------------------------------------------------------------------------------------------------- actions


def _start(words: list[str], ctx: click.Context) -> None:
    failed = [worker.name for worker in _workers(words, ctx) if not _started(worker)]
    if failed:
        exits.fail(f"These have not started: {', '.join(failed)}. See their logfiles.", exits.FAILED)


def _started(worker: Worker) -> bool:
    if (pid := worker.pid) is not None:
        click.echo(f"> {worker.name} runs already (pid {pid})")
        return False
    done = subprocess.run(_command(worker), check=False)
    click.echo(f"> {worker.name}: {'OK' if done.returncode == 0 else f'failed with code {done.returncode}'}")
    return done.returncode == 0


def _signalled(workers: list[Worker], signum: int) -> list[tuple[Worker, int]]:
    told = []
    for worker in workers:
        pid = worker.pid
        click.echo(
            f"> {worker.name}: {'not running' if pid is None else f'{signal.Signals(signum).name} -> {pid}'}"
        )
        if pid is not None:
            os.kill(pid, signum)
            told.append((worker, pid))
    return told


def _stop(words: list[str], ctx: click.Context) -> None:
    _signalled(_workers(words, ctx), signal.SIGTERM)


def _wait(told: list[tuple[Worker, int]]) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while any(_lives(pid) for _, pid in told):
        if time.monotonic() > deadline:
            exits.fail("They have not ended; what they run goes on.", exits.FAILED)
        time.sleep(_POLL)


def _stopwait(words: list[str], ctx: click.Context) -> None:
    _wait(_signalled(_workers(words, ctx), signal.SIGTERM))


def _restart(words: list[str], ctx: click.Context) -> None:
    workers = _workers(words, ctx)
    _wait(_signalled(workers, signal.SIGTERM))
    started = [_started(worker) for worker in workers]
    if not all(started):
        exits.fail("Not all of them have started again. See their logfiles.", exits.FAILED)


def _kill(words: list[str], ctx: click.Context) -> None:
    _signalled(_workers(words, ctx), signal.SIGKILL)


def _show(words: list[str], ctx: click.Context) -> None:
    for worker in _workers(words, ctx):
        click.echo(" ".join(_command(worker)))


def _names(words: list[str], ctx: click.Context) -> None:
    for worker in _workers(words, ctx):
        click.echo(worker.name)


def _get(words: list[str], ctx: click.Context) -> None:
    wanted = words.pop(0) if words else ""
    for worker in _workers(words, ctx):
        if worker.name.partition("@")[0] == wanted or worker.name == wanted:
            click.echo(" ".join(_command(worker)))


def _expand(words: list[str], ctx: click.Context) -> None:
    template = words.pop(0) if words else "%n"
    for worker in _workers(words, ctx):
        short, _, host = worker.name.partition("@")
        click.echo(template.replace("%n", short).replace("%h", host).replace("%N", worker.name))


_ACTIONS: dict[str, Callable[[list[str], click.Context], None]] = {
    "start": _start,
    "stop": _stop,
    "stopwait": _stopwait,
    "stop_verify": _stopwait,
    "restart": _restart,
    "kill": _kill,
    "show": _show,
    "names": _names,
    "get": _get,
    "expand": _expand,
}
