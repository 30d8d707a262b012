"""``umbel`` itself: the options that every command takes, and commands that are imported when they are used."""

from __future__ import annotations

import difflib
import importlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from umbel._version import __version__
from umbel.as_celery import install_as_celery
from umbel.cli import exits
from umbel.errors import UmbelError

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["CELERYS", "COMMANDS", "Command", "Globals", "LazyGroup", "UmbelGroup", "main"]


class Lazy(NamedTuple):
    """A command that is not loaded yet."""

    module: str
    attribute: str
    help: str
    """Its short help, repeated here so that ``umbel --help`` loads nothing; a test compares the two."""


COMMANDS = {
    "worker": Lazy("umbel.cli.worker", "worker", "Run tasks until told to stop."),
    "call": Lazy("umbel.cli.calls", "call", "Send a task by its name."),
    "result": Lazy("umbel.cli.calls", "result", "Print the result of a call."),
    "multi": Lazy("umbel.cli.multi", "multi", "Start and stop several workers in the background."),
    "beat": Lazy("umbel.cli.beat", "beat", "Send what the schedule of a program for Celery says is due."),
    "status": Lazy("umbel.cli.nodes", "status", "Show the workers that are alive."),
    "inspect": Lazy("umbel.cli.remote", "inspect", "Ask the workers."),
    "control": Lazy("umbel.cli.remote", "control", "Tell the workers what to do."),
    "events": Lazy("umbel.cli.events", "events", "Print the events of the workers as they come."),
    "health": Lazy("umbel.cli.health", "health", "Check that workers fetch; for probes."),
    "list": Lazy("umbel.cli.listing", "list_", "List queues, messages or workers."),
    "purge": Lazy("umbel.cli.purge", "purge", "Delete the messages that wait in queues."),
    "dead": Lazy("umbel.cli.shelves", "dead", "Inspect, repair and replay dead letters."),
    "parked": Lazy("umbel.cli.shelves", "parked", "Inspect and replay messages that no worker knew."),
    "shell": Lazy("umbel.cli.shell", "shell", "Open a Python shell with the app and its tasks."),
    "report": Lazy("umbel.cli.report", "report", "Print versions and settings, for bug reports."),
    "migrate": Lazy("umbel.cli.migrate", "migrate", "Move a program that was written for Celery."),
    "demo": Lazy("umbel.cli.demo", "demo", "Watch a worker do real work, in under a minute."),
}


class Globals:
    """What the options before (or after) the command say, for all of its levels."""

    def __init__(self) -> None:
        self.app: str | None = os.environ.get("UMBEL_APP") or None
        """As ``-A`` takes it."""
        self.given: Umbel | None = None
        """The app of a program that runs this command line itself; goes before ``-A``."""
        self.broker: str | None = None
        self.result_backend: str | None = None
        self.quiet = False

    def note(self, message: str) -> None:
        """Say something on standard error that is not an error and can be silenced with ``-q``."""
        if not self.quiet:
            click.echo(message, err=True)


def _set(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is not None and value is not False:
        setattr(ctx.ensure_object(Globals), str(param.name), value)


def _chdir(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None and not ctx.resilient_parsing:
        try:
            os.chdir(value)
        except OSError as exc:
            raise click.BadParameter(f"{exc.strerror or exc}: {value}") from exc


def _no_color(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value or os.environ.get("NO_COLOR"):
        ctx.find_root().color = False
        ctx.color = False


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"umbel {__version__}")
        ctx.exit()


def _as_celery(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        install_as_celery()


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """The options of every command. On sub-commands they are taken as well, but `hidden` from their help."""

    def option(*names: str, **attrs: Any) -> click.Option:
        return click.Option(names, expose_value=False, hidden=hidden, **attrs)

    return [
        option(
            "-A",
            "--app",
            metavar="APP",
            callback=_set,
            help="The app: module, module:attribute or a file. [env: UMBEL_APP]",
        ),
        option(
            "-b", "--broker", metavar="URL", callback=_set, help="Use this broker, whatever the app says."
        ),
        option("--result-backend", metavar="URL", callback=_set, help="Use this result store."),
        option(
            "--workdir", metavar="DIR", callback=_chdir, is_eager=True, help="Change to this directory first."
        ),
        option(
            "--as-celery",
            is_flag=True,
            is_eager=True,
            callback=_as_celery,
            help="Let `import celery` mean Umbel, here and in processes that start from here.",
        ),
        option("-C", "--no-color", is_flag=True, is_eager=True, callback=_no_color, help="No colours."),
        option(
            "-q",
            "--quiet",
            is_flag=True,
            callback=_set,
            help="No banner and no notes, only what was asked for.",
        ),
    ]


class _Common(click.Command):
    """Takes the global options too, and turns the errors of Umbel into one sentence and an exit code."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        taken = {name for param in self.params for name in param.opts}
        self.params += [p for p in global_options(hidden=True) if not taken & set(p.opts)]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UmbelError as exc:
            raise exits.stop_for(exc) from exc
        except KeyboardInterrupt:
            click.echo("", err=True)
            raise exits.Stop("Interrupted.", exits.INTERRUPTED) from None


class Command(_Common):
    """An ordinary command."""


CELERYS = {
    "flower": "Run Celery's: celery --broker=URL flower. On Redis it sees workers that publish events (-E).",
    "upgrade": "Old names of settings are understood, with a warning that says the new one.",
}
"""What Celery's users type, and what there is instead."""


class UmbelGroup(_Common, click.Group):
    """A group of commands, such as ``umbel dead``. Suggests what a misspelt command may have meant."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with a suggestion and exit code 2 for a name that is none."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}."
            hint = CELERYS.get(args[0], hint)
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(UmbelGroup):
    """The top of the tree."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        command: click.Command = getattr(importlib.import_module(lazy.module), lazy.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])


_HELP = f"""Umbel, a task queue.

\b
  umbel demo                     see it work
  umbel -A tasks worker -l info  run the tasks of tasks.py
  umbel -A tasks call tasks.add --args '[1, 2]' --wait

In the environment UMBEL_APP stands for --app, and UMBEL_<SETTING> sets a setting: UMBEL_BROKER_URL. UMBEL_DEBUG=1 shows
the traceback of every error.

Exit codes:

\b
{chr(10).join(f"  {code:<4} {meaning}" for code, meaning in exits.MEANINGS.items())}
"""


@click.command(
    cls=LazyGroup,
    name="umbel",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=_HELP,
    params=[
        *global_options(hidden=False),
        click.Option(
            ["-V", "--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Print the version.",
        ),
    ],
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """The top of the tree: ``umbel`` alone."""
    ctx.ensure_object(Globals)
