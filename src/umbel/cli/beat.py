"""``umbel beat``: the scheduler of a program that was written for Celery."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from umbel.cli.base import Command, Globals
from umbel.cli.pidfile import pid_in
from umbel.cli.session import the_app
from umbel.errors import ConfigurationError
from umbel.worker.forking import die_with_parent

if TYPE_CHECKING:
    from umbel import Umbel

__all__ = ["beat", "beside"]

_ENVIRONMENT = "UMBEL_BEAT_PID"
"""The beat beside a worker, for the worker that starts itself anew in the same process."""


def _options(function: Any) -> Any:
    for option in (
        click.option("--pidfile", type=click.Path(dir_okay=False), help="Write the process id here."),
        click.option("-f", "--logfile", type=click.Path(dir_okay=False), help="Log to this file."),
        click.option("-l", "--loglevel", default="WARNING", show_default=True, help="debug, info, warning …"),
        click.option("--max-interval", type=float, metavar="SECONDS", help="Look at the schedule so often."),
        click.option("-S", "--scheduler", metavar="CLASS", help="Its class. [default: beat_scheduler]"),
        click.option(
            "-s", "--schedule", "schedule_filename", help="Its file. [default: beat_schedule_filename]"
        ),
    ):
        function = option(function)
    return function


@click.command(cls=Command)
@_options
@click.pass_context
def beat(
    ctx: click.Context, /, loglevel: str, logfile: str | None, pidfile: str | None, **options: Any
) -> None:
    """Send what the schedule of a program for Celery says is due.

    One of them must run for a program: two send everything twice.
    """
    app = the_app(ctx.ensure_object(Globals), needed_for="beat")
    level = getattr(logging, loglevel.upper(), None)
    if not isinstance(level, int):
        raise click.BadParameter(f"{loglevel!r} is not a level. Use debug, info, warning or error.")
    logging.basicConfig(
        level=level, filename=logfile, format="[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
    )
    with pid_in(pidfile):
        _runs_beat(app)(**options)


def _runs_beat(app: Umbel) -> Any:
    run = getattr(app, "run_beat", None)
    if run is None:
        raise ConfigurationError(
            "There is a beat for programs that were written for Celery: start it with `umbel --as-celery beat`. Periodic tasks of "
            "Umbel's own come in a later version; until then let cron run: umbel -A PROJECT call TASK."
        )
    return run


@contextlib.contextmanager
def beside(app: Umbel, **options: Any) -> Iterator[None]:
    """A beat in a process of its own while the block runs: ``worker -B``."""
    run = _runs_beat(app)
    _stop(os.environ.pop(_ENVIRONMENT, ""))
    pid = os.fork()
    if pid == 0:
        code = 1
        die_with_parent()
        try:
            run(**options)
            code = 0
        finally:
            os._exit(code)
    os.environ[_ENVIRONMENT] = str(pid)
    try:
        yield
    finally:
        del os.environ[_ENVIRONMENT]
        _stop(str(pid))


def _stop(pid: str) -> None:
    if pid.isdigit():
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(int(pid), signal.SIGTERM)
            os.waitpid(int(pid), 0)
