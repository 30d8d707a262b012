"""``umbel purge``: empty queues."""

from __future__ import annotations

import click

from umbel.cli.base import Command, Globals
from umbel.cli.options import exclude_option, force_option, queues_option
from umbel.cli.output import plural
from umbel.cli.session import connected

__all__ = ["purge"]


@click.command(cls=Command)
@queues_option
@exclude_option
@force_option
@click.pass_obj
def purge(state: Globals, queues: tuple[str, ...], exclude_queues: tuple[str, ...], force: bool) -> None:
    """Delete the messages that wait in queues.

    Without -Q: those of the app's queues (task_queues, else task_default_queue). What is waiting or scheduled
    goes; what a worker holds, what is parked and the dead letters stay. It cannot be undone.
    """
    with connected(state) as session:
        names = [name for name in queues or session.app_queues() if name not in exclude_queues]
        depths = session.run(session.broker.depth(names))
        counts = {name: depths[name].waiting + depths[name].scheduled for name in names if name in depths}
        total = sum(counts.values())
        if not total:
            click.echo(f"Nothing to delete in {_listed(names)} on {session.broker.url}.")
            return
        if not force:
            for name, count in counts.items():
                click.echo(f"  {name}: {plural(count, 'message')}", err=True)
            click.confirm(
                f"Delete {plural(total, 'message')} from {session.broker.url} for good?", abort=True, err=True
            )
        deleted = session.run(session.broker.purge(names))
    click.echo(f"Deleted {plural(deleted, 'message')} from {_listed(names)}.")


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "no queue"
