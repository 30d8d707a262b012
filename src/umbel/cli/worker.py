"""``umbel worker``: from options to ``run_worker``."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import click

from umbel.cli.base import Command, Globals
from umbel.cli.beat import beside
from umbel.cli.daemon import change_user, detach
from umbel.cli.find_app import import_tasks
from umbel.cli.options import split_names
from umbel.cli.pidfile import pid_in
from umbel.cli.session import the_app
from umbel.worker.options import WorkerOptions
from umbel.worker.program import run_worker

__all__ = ["CelerysOptions", "celerys_options", "worker"]

_POOLS = ("prefork", "threads", "asyncio", "solo")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")

# Options of `celery worker` that change nothing here, so that a command line can move over unread.
_INERT = (
    click.Option(["-O", "--optimization"]),
    click.Option(["--prefetch-multiplier"], type=int),
    click.Option(["--disable-prefetch"], is_flag=True),
    click.Option(["--without-gossip"], is_flag=True),
    click.Option(["--without-mingle"], is_flag=True),
    click.Option(["--without-heartbeat"], is_flag=True),
    click.Option(["--heartbeat-interval"], type=int),
    click.Option(["-S", "--statedb"]),
    click.Option(["--pool-start-method"]),
)
# Those that would be missed if they were ignored, with what to do instead.
_REFUSED = (
    (click.Option(["--autoscale"]), "The number of processes is fixed in this version: use -c."),
    (
        click.Option(["--executable"]),
        "Start the worker with that interpreter: /path/to/python -m umbel worker.",
    ),
)


def _not_built(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    pool = {"processes": "prefork", "thread": "threads"}.get(value.lower(), value.lower())
    if pool in _POOLS:
        return pool
    known = "prefork (also called processes), threads, asyncio or solo"
    if pool in ("gevent", "eventlet"):
        raise click.BadParameter(
            f"the pool {pool!r} is not in this version. For many tasks that wait, use asyncio or threads; "
            f"there are {known}."
        )
    raise click.BadParameter(f"there is no pool {value!r}. Use {known}.")


def _refusal(sentence: str) -> Any:
    def refuse(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            raise click.BadParameter(sentence, ctx, param)

    return refuse


def _level(ctx: click.Context, param: click.Parameter, value: str) -> str:
    level = value.upper()
    if level not in _LEVELS:
        raise click.BadParameter(f"{value!r} is not a level. Use {', '.join(_LEVELS[:-1]).lower()}.")
    return "CRITICAL" if level == "FATAL" else level


class _WorkerCommand(Command):
    """Takes the options of the program's own too: ``app.user_options["worker"]``."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *_user_options(ctx)]


def _user_options(ctx: click.Context) -> list[click.Parameter]:
    state = ctx.find_object(Globals)
    if state is None or not (state.app or state.given) or ctx.resilient_parsing:
        return []
    return list(getattr(the_app(state), "user_options", {}).get("worker", ()))


@click.command(cls=_WorkerCommand)
@click.option(
    "-n",
    "--hostname",
    "name",
    default="umbel@%h",
    show_default=True,
    help="Name of the worker; %h is the host, %n its first part, %d its domain.",
)
@click.option(
    "-Q",
    "--queues",
    multiple=True,
    callback=split_names,
    metavar="NAMES",
    help="Queues to take tasks from, separated by commas. [default: those of the settings]",
)
@click.option(
    "-X",
    "--exclude-queues",
    multiple=True,
    callback=split_names,
    metavar="NAMES",
    help="Queues to leave alone.",
)
@click.option(
    "-I",
    "--include",
    multiple=True,
    callback=split_names,
    metavar="MODULES",
    help="Import these modules too.",
)
@click.option(
    "-P",
    "--pool",
    callback=_not_built,
    metavar="POOL",
    help="prefork, threads, asyncio or solo. [default: worker_pool, prefork]",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(min=1),
    help="Tasks that run at a time. [default: worker_concurrency, else one per CPU, 10 threads or 100 coroutines]",
)
@click.option(
    "-l",
    "--loglevel",
    default="WARNING",
    show_default=True,
    callback=_level,
    metavar="LEVEL",
    help="debug, info, warning, error or critical.",
)
@click.option(
    "-f", "--logfile", type=click.Path(dir_okay=False), help="Log to this file, not to standard error."
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or one JSON object a line.",
)
@click.option("--autoreload", is_flag=True, help="Start anew when a source file changes. For development.")
@click.option(
    "-E", "--task-events", is_flag=True, help="Publish events for monitors, such as Flower (Redis)."
)
@click.option("--purge", is_flag=True, help="Delete what waits in the queues first. It cannot be undone.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Hard limit of every task: its process is killed.",
)
@click.option(
    "--soft-time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Soft limit: SoftTimeLimitExceeded is raised in the task.",
)
@click.option(
    "--max-tasks-per-child", type=click.IntRange(min=1), help="Replace a child process after so many tasks."
)
@click.option(
    "--max-memory-per-child",
    type=click.IntRange(min=1),
    metavar="KIB",
    help="Replace a child process that has grown beyond this.",
)
@click.option(
    "--health",
    metavar="[HOST:]PORT",
    help="Answer /live and /ready over HTTP here; without a host, on 127.0.0.1. [default: worker_health_address]",
)
@click.option(
    "-B", "--beat", is_flag=True, help="Run a beat beside it, for a program that was written for Celery."
)
@click.option("-s", "--schedule-filename", help="The file of that beat.")
@click.option("--scheduler", help="The class of that beat.")
@click.option("-D", "--detach", is_flag=True, help="Go on in the background. Name a logfile.")
@click.option("--uid", metavar="USER", help="Become this user.")
@click.option("--gid", metavar="GROUP", help="Become this group.")
@click.option("--umask", metavar="OCTAL", help="Create files with this mask.")
@click.option(
    "--pidfile",
    type=click.Path(dir_okay=False),
    help="Write the process id here; refuse to start while another worker does.",
)
@click.pass_context
def worker(ctx: click.Context, /, pidfile: str | None, include: tuple[str, ...], **options: Any) -> None:
    """Run tasks until told to stop.

    SIGTERM or Ctrl-C: running tasks may finish; a second one, or SIGQUIT, interrupts them and hands them back.
    SIGHUP starts the worker anew.

    Of `celery worker` these options are accepted and change nothing: -O, -S, --prefetch-multiplier,
    --disable-prefetch, --without-gossip, --without-mingle, --without-heartbeat, --heartbeat-interval,
    --pool-start-method.
    """
    state = ctx.ensure_object(Globals)
    inert = [param.opts[0] for param in _INERT if options.pop(str(param.name)) not in (None, False)]
    app = the_app(state, needed_for="worker")
    if inert:
        verb = "is" if len(inert) == 1 else "are"
        state.note(f"{', '.join(inert)} {verb} accepted for Celery's sake and changes nothing here.")
    own = {param.name: options.pop(str(param.name)) for param in _user_options(ctx)}
    if include:
        app.conf.include = [*app.conf.include, *include]
    import_tasks(app)
    _place(detached=options.pop("detach"), **{name: options.pop(name) for name in ("uid", "gid", "umask")})
    with_beat, schedule = options.pop("beat"), options.pop("schedule_filename")
    about_beat = {"scheduler": options.pop("scheduler"), "schedule_filename": schedule}
    with pid_in(pidfile), beside(app, **about_beat) if with_beat else contextlib.nullcontext():
        code = run_worker(app, WorkerOptions(**options, user_options=own, banner=not state.quiet))
    ctx.exit(code)


def _place(*, detached: bool, **become: Any) -> None:
    if detached:
        detach(**become)
    elif any(become.values()):
        change_user(**become)


def _hide_celerys() -> None:
    for param in _INERT:
        param.hidden = True
        worker.params.append(param)
    for param, sentence in _REFUSED:
        param.hidden, param.expose_value, param.callback = True, False, _refusal(sentence)
        worker.params.append(param)


_hide_celerys()


class CelerysOptions(NamedTuple):
    """How the command line of ``celery worker`` fares here, by option: ``-D``, ``--detach``."""

    takes_value: dict[str, bool]
    """Every option that is understood, with whether a value follows."""
    inert: frozenset[str]
    """Accepted, and they change nothing."""
    refused: dict[str, str]
    """They stop the worker, with what to do instead."""
    pools: frozenset[str]
    """What ``-P`` takes."""


def celerys_options() -> CelerysOptions:
    """For those who look at a command line before it runs: from the tables that the command itself uses."""
    options = [param for param in worker.params if isinstance(param, click.Option)]
    return CelerysOptions(
        {name: not (param.is_flag or param.count) for param in options for name in param.opts},
        frozenset(name for param in _INERT for name in param.opts),
        {name: sentence for param, sentence in _REFUSED for name in param.opts},
        frozenset({*_POOLS, "processes", "thread"}),
    )
