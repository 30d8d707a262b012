"""``umbel status``: who is alive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from umbel.cli import exits
from umbel.cli.base import Command, Globals
from umbel.cli.output import duration, emit_json, emit_table, plural, stamp, when_iso
from umbel.cli.session import connected
from umbel.ports import NodeInfo

__all__ = ["node_as_json", "print_nodes", "status"]

_COUNTED = ("success", "failure", "retry")


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_obj
def status(state: Globals, as_json: bool) -> None:
    """Show the workers that are alive.

    Exits with 3 when there is none, so it can serve as a health check.

    --json prints a list of objects with name, id, pid, pool, concurrency, queues, tasks, started (ISO 8601),
    seen_ago (seconds) and counters.
    """
    with connected(state) as session:
        nodes = session.run(session.broker.nodes())
    if as_json:
        emit_json([node_as_json(node) for node in nodes])
    elif nodes:
        print_nodes(nodes)
    if not nodes:
        exits.fail(
            f"No worker is alive on {session.broker.url}. Start one: umbel -A tasks worker -l info",
            exits.ABSENT,
        )


def print_nodes(nodes: Sequence[NodeInfo]) -> None:
    """A table of nodes, and their number."""
    if not nodes:
        click.echo("No worker is alive.")
        return
    headers = ["name", "pid", "pool", "up since", "seen", "active", *_COUNTED, "queues"]
    emit_table(headers, [_row(node) for node in nodes], right=range(5, 6 + len(_COUNTED)))
    click.echo(f"\n{plural(len(nodes), 'worker')} alive.")


def _row(node: NodeInfo) -> list[object]:
    return [
        node.name,
        node.pid,
        f"{node.pool} {node.concurrency}",
        stamp(node.started or None),
        f"{duration(node.seen_ago)} ago",
        node.counters.get("active", 0),
        *(node.counters.get(name, 0) for name in _COUNTED),
        ", ".join(node.queues),
    ]


def node_as_json(node: NodeInfo) -> dict[str, Any]:
    """The documented JSON form of a node."""
    return {
        "name": node.name,
        "id": node.id,
        "pid": node.pid,
        "pool": node.pool,
        "concurrency": node.concurrency,
        "queues": node.queues,
        "tasks": node.tasks,
        "started": when_iso(node.started or None),
        "seen_ago": round(node.seen_ago, 3),
        "counters": node.counters,
    }
