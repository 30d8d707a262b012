"""``umbel inspect`` and ``umbel control``: remote control from the shell."""

from __future__ import annotations

import json
from typing import Any

import click

from umbel.cli import exits
from umbel.cli.base import Command, Globals
from umbel.cli.options import split_names
from umbel.cli.session import the_app
from umbel.panel import Panel

__all__ = ["control", "inspect"]

INSPECT = {
    "active": "The calls that run.",
    "active_queues": "The queues that each worker consumes.",
    "clock": "Celery's logical clock.",
    "conf": "The settings of each worker, without secrets.",
    "ping": "Whether it answers.",
    "query_task": "ID…: the calls of these ids that a worker has.",
    "registered": "The names of the tasks.",
    "report": "Versions.",
    "reserved": "The calls that a worker has taken and not begun.",
    "revoked": "The ids of calls that must not run.",
    "scheduled": "The calls that are due later.",
    "stats": "Process, pool and counters.",
}
CONTROL = {
    "revoke": "ID…: these calls must not run.",
    "terminate": "[SIGNAL] ID…: nor go on running.",
    "shutdown": "End what runs, and stop.",
    "pool_restart": "Replace the processes (with worker_pool_restarts).",
    "revoke_by_stamped_headers": "NAME=VALUE…: calls with these stamps must not run.",
    "enable_events": "Publish events.",
    "disable_events": "Publish none.",
    "rate_limit": "TASK RATE: begin it no more often than that, in each worker.",
    "time_limit": "TASK SOFT [HARD]: change its limits, in seconds.",
    "pool_grow": "[N]: have so many processes more.",
    "pool_shrink": "[N]: have so many fewer.",
    "add_consumer": "QUEUE: consume it too.",
    "cancel_consumer": "QUEUE: consume it no longer.",
}
_NO_REPLY = frozenset({"shutdown"})


def _options(function: Any) -> Any:
    for option in (
        click.argument("arguments", nargs=-1),
        click.argument("command", required=False),
        click.option(
            "-t", "--timeout", type=float, default=1.0, show_default=True, help="Seconds to wait for answers."
        ),
        click.option(
            "-d",
            "--destination",
            multiple=True,
            callback=split_names,
            metavar="NAMES",
            help="Only these workers.",
        ),
        click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--list", "listing", is_flag=True, help="List the commands."),
    ):
        function = option(function)
    return function


@click.command(cls=Command)
@_options
@click.pass_context
def inspect(ctx: click.Context, /, **options: Any) -> None:
    """Ask the workers.

    umbel -A proj inspect active

    On Redis those of Celery answer too. Exit code 3: nobody did.
    """
    _run(ctx, INSPECT, **options)


@click.command(cls=Command)
@_options
@click.pass_context
def control(ctx: click.Context, /, **options: Any) -> None:
    """Tell the workers what to do.

    umbel -A proj control revoke ID
    """
    _run(ctx, CONTROL, **options)


def _run(ctx: click.Context, known: dict[str, str], **options: Any) -> None:
    command = options["command"]
    app = the_app(ctx.ensure_object(Globals), looks=not options["listing"])
    kind = "inspect" if known is INSPECT else "control"
    known = known | {
        name: info.help for name, info in Panel.meta.items() if info.type == kind and info.visible
    }
    if options["listing"]:
        width = max(map(len, known))
        for name, meaning in known.items():
            click.echo(f"{name:<{width}}  {meaning}")
        return
    if command not in known:
        raise click.UsageError(f"There is no command {command!r}. There are: {', '.join(known)}.", ctx)
    wanted = options["destination"] or None
    answers = app.control.broadcast(
        command,
        _named(command, options["arguments"], ctx),
        wanted,
        reply=command not in _NO_REPLY,
        timeout=options["timeout"],
    )
    if answers is None:
        return
    _print(answers, as_json=options["as_json"])
    if not answers:
        exits.fail(
            f"No worker has answered within {options['timeout']:g} s. Is one running, on this broker?",
            exits.ABSENT,
        )
    if any("error" in answer for reply in answers for answer in reply.values() if isinstance(answer, dict)):
        ctx.exit(1)


def _named(command: str, given: tuple[str, ...], ctx: click.Context) -> dict[str, Any]:
    """The arguments of a command by their names."""
    names = {
        "rate_limit": ("task_name", "rate_limit"),
        "time_limit": ("task_name", "soft", "hard"),
        "pool_grow": ("n",),
        "pool_shrink": ("n",),
        "add_consumer": ("queue",),
        "cancel_consumer": ("queue",),
    }
    if command in Panel.meta:
        try:
            return Panel.meta[command].named(given)
        except ValueError as exc:
            raise click.UsageError(str(exc), ctx) from exc
    if command == "revoke_by_stamped_headers":
        pairs = [text.partition("=") for text in given]
        if not pairs or not all(sign for _, sign, _ in pairs):
            raise click.UsageError("revoke_by_stamped_headers needs stamps: NAME=VALUE.", ctx)
        return {"headers": {name: [v for n, _, v in pairs if n == name] for name, _, _ in pairs}}
    if command == "query_task":
        return {"ids": list(given)}
    if command in ("revoke", "terminate"):
        signal = {}
        if command == "terminate":
            named = bool(given) and given[0].upper().startswith("SIG")
            signal = {"signal": given[0].upper() if named else "SIGTERM"}
            given = given[1:] if named else given
        if not given:
            raise click.UsageError(f"{command} needs the id of a call.", ctx)
        return {"task_id": list(given), **signal}
    if len(given) > len(names.get(command, ())):
        raise click.UsageError(f"{command} does not take {given[-1]!r}.", ctx)
    found: dict[str, Any] = dict(zip(names.get(command, ()), given, strict=False))
    return {name: _number(value) if name in ("n", "soft", "hard") else value for name, value in found.items()}


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is not a number.") from exc
    return int(number) if number.is_integer() else number


def _print(answers: list[dict[str, Any]], *, as_json: bool) -> None:
    merged = {name: answer for reply in answers for name, answer in reply.items()}
    if as_json:
        click.echo(json.dumps(merged, default=str))
        return
    for name, answer in merged.items():
        failed = isinstance(answer, dict) and "error" in answer
        click.echo(f"-> {name}: {'ERROR' if failed else 'OK'}")
        if isinstance(answer, dict) and answer.keys() <= {"ok", "error"}:
            click.echo(f"    {next(iter(answer.values()), '')}")
        elif isinstance(answer, list):
            for entry in answer:
                click.echo(f"    * {entry if isinstance(entry, str) else json.dumps(entry, default=str)}")
            if not answer:
                click.echo("    - empty -")
        else:
            click.echo("    " + json.dumps(answer, indent=4, default=str).replace("\n", "\n    "))
