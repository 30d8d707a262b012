"""``umbel health``: for people and for the probes of those who keep workers running."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click

from umbel.cli import exits
from umbel.cli.base import Command, Globals
from umbel.cli.nodes import health_as_json
from umbel.cli.options import json_option
from umbel.cli.output import duration, emit_json
from umbel.cli.session import connected
from umbel.ports import NodeInfo
from umbel.worker.health import judge_announced
from umbel.worker.options import expand_name

__all__ = ["health"]

_STEP = 2.0
"""Seconds for each of the two things that a broker is asked: a probe that gives up after five sees the answer."""
_HTTP = 4.0


@click.command(cls=Command)
@click.option(
    "-n",
    "--hostname",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this worker, named as by `umbel worker -n`. May be given several times. [default: all]",
)
@click.option(
    "--url",
    metavar="URL",
    help="Ask a worker itself, by the address of its --health, rather than the broker.",
)
@json_option
@click.pass_obj
def health(state: Globals, names: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Check that workers fetch; for probes.

    A worker is healthy when it is connected and has fetched within the last 9 seconds, or has every slot busy, and is
    not shutting down. An idle worker fetches too: it asks every 5 seconds. So what hangs is told within 10. Gives up on a broker after about 5 seconds.

    Exits with 0 when all workers (those named by -n) are healthy and there is at least one; with 1 when one is not, with 3
    when there is none (or not the named one), with 4 when the broker cannot be reached. With --url: 0 for a good answer,
    1 for a bad one, 3 when nothing answers there.

    --json prints a list of objects with name, id, pid, seen_ago (seconds), healthy, reason, state and fetched_ago
    (seconds); with --url, what the worker answers.
    """
    if url is not None:
        if names:
            raise click.UsageError("-n names a worker that the broker knows; --url asks one worker itself.")
        _ask_worker(url, as_json)
        return
    with connected(state, patience=_STEP) as session:
        nodes = without_replaced(session.run(session.broker.nodes()))
        broker = session.broker.url
    wanted = [expand_name(name) for name in names]
    if wanted:
        nodes = [node for node in nodes if node.name in wanted]
    if as_json:
        emit_json([_as_json(node) for node in nodes])
    else:
        for line in _lines(nodes):
            click.echo(line)
    missing = [name for name in wanted if name not in {node.name for node in nodes}]
    if missing:
        exits.fail(f"No worker named {', '.join(missing)} is known to {broker}.", exits.ABSENT)
    if not nodes:
        exits.fail(f"No worker is known to {broker}.", exits.ABSENT)
    if not all(judge_announced(node).ready for node in nodes):
        click.get_current_context().exit(exits.FAILED)


def without_replaced(nodes: Sequence[NodeInfo]) -> list[NodeInfo]:
    """`nodes` without those that died and whose name is borne by a younger one that lives.

    A worker that was killed and started again is remembered for some seconds.
    """
    alive = {node.name: node for node in nodes if judge_announced(node).live}
    return [node for node in nodes if judge_announced(node).live or node.name not in alive]


def _lines(nodes: Sequence[NodeInfo]) -> list[str]:
    width = max((len(node.name) for node in nodes), default=0)
    lines = []
    for node in sorted(nodes, key=lambda node: node.name):
        verdict = judge_announced(node)
        fetched = health_as_json(node)["fetched_ago"]
        last = "never" if fetched is None else f"{duration(fetched)} ago"
        mark = (
            click.style("healthy    ", fg="green") if verdict.ready else click.style("NOT HEALTHY", fg="red")
        )
        lines.append(
            f"{node.name:<{width}}  {mark}  {verdict.reason} (last fetch {last}, seen {duration(node.seen_ago)} ago)"
        )
    return lines


def _as_json(node: NodeInfo) -> dict[str, Any]:
    return {
        "name": node.name,
        "id": node.id,
        "pid": node.pid,
        "seen_ago": round(node.seen_ago, 3),
        **health_as_json(node),
    }


def _ask_worker(url: str, as_json: bool) -> None:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise click.UsageError(
            f"{url!r} is no address of a worker. Expected http://HOST:PORT, as --health says."
        )
    path = parts.path if parts.path not in ("", "/") else "/ready"
    try:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_HTTP)
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read(1 << 16)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        _nobody(url, exc)
    try:
        body = json.loads(said)
        reason = body.get("reason") or body["error"]
    except (ValueError, AttributeError, KeyError):
        exits.fail(f"What answers at {url} is no worker of Umbel.", exits.ABSENT)
    if as_json:
        emit_json(body)
    else:
        click.echo(f"{path.removeprefix('/')}: {'yes' if answer.status == 200 else 'NO'}, {reason}")
    if answer.status == 404:
        exits.fail(f"A worker answers at {url}, but not for {path}: {reason}.", exits.USAGE)
    if answer.status != 200:
        click.get_current_context().exit(exits.FAILED)


def _nobody(url: str, exc: Exception) -> NoReturn:
    said = str(exc) or type(exc).__name__
    exits.fail(f"No worker answers at {url}: {said}. Was it started with --health?", exits.ABSENT)
