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
from umbel.worker.health import judge_announced

__all__ = ["health_as_json", "node_as_json", "print_nodes", "status"]

_COUNTED = ("success", "failure", "retry")


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_obj
def status(state: Globals, as_json: bool) -> None:
    """Show the workers that are alive.

    Exits with 3 when there is none. `umbel health` says more of how they are, and is quicker to give up.

    --json prints a list of objects with name, id, pid, pool, concurrency, queues, tasks, started (ISO 8601),
    seen_ago (seconds), counters and health (healthy, state, reason, fetched_ago).
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
    headers = ["name", "pid", "pool", "health", "up since", "seen", "active", *_COUNTED, "queues"]
    emit_table(headers, [_row(node) for node in nodes], right=range(6, 7 + len(_COUNTED)))
    click.echo(f"\n{plural(len(nodes), 'worker')} alive.")


def _row(node: NodeInfo) -> list[object]:
    return [
        node.name,
        node.pid,
        f"{node.pool} {node.concurrency}",
        health_in_a_word(node),
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
        "health": health_as_json(node),
    }


def health_in_a_word(node: NodeInfo) -> str:
    """For a column of a table."""
    verdict = judge_announced(node)
    state = node.health.state if node.health is not None else "fetching"
    if verdict.ready:
        return "full" if state == "full" else "ok"
    if not verdict.live and state != "stuck":
        return "silent"
    return "not fetching" if state == "fetching" else state


def health_as_json(node: NodeInfo) -> dict[str, Any]:
    """The documented JSON form of how a node is."""
    verdict, said = judge_announced(node), node.health
    return {
        "healthy": verdict.ready,
        "reason": verdict.reason,
        "state": None if said is None else said.state,
        "fetched_ago": None
        if said is None or said.fetched_ago is None
        else round(said.fetched_ago + node.seen_ago, 3),
    }
