"""``umbel events``: what happens, line by line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from umbel.cli.base import Command, Globals
from umbel.cli.session import the_app

__all__ = ["events"]

_SHOWN = ("name", "args", "kwargs", "result", "runtime", "exception", "active", "processed")


@click.command(cls=Command)
@click.option(
    "-d", "--dump", is_flag=True, help="Accepted for Celery's sake: there is no other way to show them."
)
@click.option("-j", "--json", "as_json", is_flag=True, help="Print each event as JSON.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.pass_context
def events(ctx: click.Context, /, dump: bool, as_json: bool, limit: int | None) -> None:
    """Print the events of the workers as they come.

    Workers publish them when they are started with -E, or told to: umbel control enable_events. Redis only.
    """
    app = the_app(ctx.ensure_object(Globals))
    for event in app.events.Receiver().itercapture(limit=limit, wakeup=False):
        click.echo(json.dumps(event, default=str) if as_json else line(event))


def line(event: dict[str, Any]) -> str:
    """An event for people."""
    at = datetime.fromtimestamp(event.get("timestamp", 0), UTC).isoformat(sep=" ", timespec="milliseconds")
    about = [f"{name}={event[name]}" for name in _SHOWN if event.get(name) not in (None, "")]
    return " ".join(
        [f"[{at}]", event.get("hostname", "?"), event["type"], event.get("uuid", ""), *about]
    ).rstrip()
