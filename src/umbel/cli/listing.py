"""``umbel list``: what is in the store, shelf by shelf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from umbel.cli.base import Globals, UmbelGroup
from umbel.cli.messages import message_as_json, print_messages
from umbel.cli.nodes import node_as_json, print_nodes
from umbel.cli.options import json_option, limit_option, queues_option
from umbel.cli.output import emit_json, emit_table, plural
from umbel.cli.session import connected
from umbel.ports import Depth, Shelf

__all__ = ["list_"]

_DEPTHS = Depth.__struct_fields__


@click.group(cls=UmbelGroup, name="list")
def list_() -> None:
    """List queues, messages or workers.

    A message is on exactly one shelf: waiting, scheduled, held by a worker, parked or dead.

    --json prints a list of objects. Queues have queue and the number on each shelf. Messages have shelf, queue,
    task, id, key, reason, since (ISO 8601), due_in (seconds), deliveries, priority, args and kwargs (as text),
    retries, eta, expires and history; what is not a message at all has raw (base64) in place of what follows
    deliveries. What is not known is null. For nodes see `umbel status`.
    """


@list_.command()
@queues_option
@json_option
@click.pass_obj
def queues(state: Globals, queues: tuple[str, ...], as_json: bool) -> None:
    """Show how many messages each queue has, by shelf."""
    with connected(state) as session:
        names = queues or sorted({*session.run(session.broker.queues()), *session.app_queues()})
        depths = session.run(session.broker.depth(names))
    rows = [(name, depths.get(name, Depth())) for name in names]
    if as_json:
        emit_json([{"queue": name, **{d: getattr(depth, d) for d in _DEPTHS}} for name, depth in rows])
        return
    emit_table(
        ["queue", *_DEPTHS],
        [[name, *(getattr(depth, d) for d in _DEPTHS)] for name, depth in rows],
        right=range(1, len(_DEPTHS) + 1),
    )


@list_.command()
@json_option
@click.pass_obj
def nodes(state: Globals, as_json: bool) -> None:
    """Show the workers that are alive."""
    with connected(state) as session:
        alive = session.run(session.broker.nodes())
    if as_json:
        emit_json([node_as_json(node) for node in alive])
    else:
        print_nodes(alive)


_MEANINGS: dict[Shelf, str] = {
    "waiting": "Show messages that wait for a worker, in the order of service.",
    "scheduled": "Show messages whose time has not come (countdown, eta, retries).",
    "held": "Show messages that a worker has right now.",
    "parked": "Show messages whose task no worker knew.",
    "dead": "Show dead letters: what failed for good, with the reason.",
}


def _lister(shelf: Shelf) -> Callable[..., None]:
    def list_shelf(state: Globals, queues: tuple[str, ...], limit: int, as_json: bool) -> None:
        list_messages(state, shelf, queues, limit=limit, as_json=as_json)

    list_shelf.__doc__ = _MEANINGS[shelf]
    return list_shelf


def list_messages(
    state: Globals, shelf: Shelf, queues: tuple[str, ...], *, limit: int, as_json: bool
) -> None:
    """Print the first `limit` messages of a shelf."""
    with connected(state) as session:
        # One more than asked for tells whether there are more.
        found = list(session.run(session.broker.browse(shelf, queues, limit=limit + 1)))
    shown = found[:limit]
    if as_json:
        emit_json([message_as_json(message) for message in shown])
        return
    print_messages(shelf, shown)
    if len(found) > limit:
        state.note(f"There are more than {plural(limit, 'message')}: use --limit to see them.")


for _shelf in _MEANINGS:
    _command: Any = _lister(_shelf)
    for _decorate in (click.pass_obj, json_option, limit_option, queues_option):
        _command = _decorate(_command)
    list_.command(name=_shelf)(_command)
