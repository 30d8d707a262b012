"""Messages on a shelf, for people and as JSON."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import click

from umbel.cli.output import ago, duration, emit_table, plural, stamp, when_iso
from umbel.codecs.protocol import decode_call
from umbel.core.frame import DELIVERIES_HEADER, HISTORY_HEADER
from umbel.errors import MessageError
from umbel.ports import Frame, Shelf, Shelved

__all__ = ["READABLE", "message_as_json", "print_message", "print_messages"]

READABLE = frozenset({"json", "msgpack", "yaml"})
"""What is decoded for showing. Never pickle: looking at a message must not run it."""


def message_as_json(message: Shelved) -> dict[str, Any]:
    """The documented JSON form of a message on a shelf."""
    form: dict[str, Any] = {
        "shelf": message.shelf,
        "queue": message.queue,
        "task": message.task or None,
        "id": message.task_id or None,
        "key": message.key or None,
        "reason": message.reason or None,
        "since": when_iso(message.since),
        "due_in": None if message.due_in is None else round(message.due_in, 3),
        "deliveries": _deliveries(message),
    }
    frame = message.frame
    if frame is not None:
        form["priority"] = frame.priority
        form["args"], form["kwargs"] = frame.headers.get("argsrepr"), frame.headers.get("kwargsrepr")
        form["retries"] = frame.headers.get("retries") or 0
        form["eta"], form["expires"] = frame.headers.get("eta"), frame.headers.get("expires")
        form["history"] = frame.headers.get(HISTORY_HEADER) or []
    elif message.raw:
        form["raw"] = base64.b64encode(message.raw).decode()
    return form


def _deliveries(message: Shelved) -> int:
    """Of the call in all: of this copy of its message, and of those before it that ended in a crash."""
    before = 0 if message.frame is None else message.frame.headers.get(DELIVERIES_HEADER)
    return message.deliveries + (before if isinstance(before, int) else 0)


def print_messages(shelf: Shelf, messages: Sequence[Shelved]) -> None:
    """A table of messages and their number."""
    if shelf in ("dead", "parked"):
        headers = ["id", "task", "queue", "since", "tries", "reason"]
        rows = [[_name(m), m.task or "?", m.queue, ago(m.since), _deliveries(m), m.reason] for m in messages]
    elif shelf in ("scheduled", "held"):
        headers = ["id", "task", "queue", "due in" if shelf == "scheduled" else "lease", "arguments"]
        rows = [[m.task_id, m.task or "?", m.queue, _due(m), _arguments(m)] for m in messages]
    else:
        headers = ["id", "task", "queue", "priority", "arguments"]
        rows = [
            [m.task_id, m.task or "?", m.queue, m.frame.priority if m.frame else "", _arguments(m)]
            for m in messages
        ]
    if messages:
        emit_table(headers, rows)
        click.echo()
    click.echo(f"{plural(len(messages), 'message')} {_IN_WORDS[shelf]}.")


_IN_WORDS: dict[Shelf, str] = {
    "waiting": "waiting",
    "scheduled": "scheduled",
    "held": "held by workers",
    "parked": "parked",
    "dead": "dead",
}


def _name(message: Shelved) -> str:
    """What the commands ``dead`` and ``parked`` take as ID."""
    return message.task_id or message.key


def _due(message: Shelved) -> str:
    return "" if message.due_in is None else duration(max(0.0, message.due_in))


def _arguments(message: Shelved) -> str:
    if message.frame is None:
        return ""
    headers = message.frame.headers
    shown = [headers.get("argsrepr") or "", headers.get("kwargsrepr") or ""]
    return " ".join(part for part in shown if part not in ("", "()", "{}", "[]"))


def print_message(message: Shelved) -> None:
    """Everything about one message, with its history."""
    pairs: list[tuple[str, object]] = [
        ("id", message.task_id),
        ("task", message.task),
        ("queue", message.queue),
        ("reason", message.reason),
        ("since", f"{stamp(message.since)}  ({ago(message.since)})" if message.since else ""),
        ("deliveries", _deliveries(message)),
        ("key", message.key),
    ]
    frame = message.frame
    if frame is not None:
        pairs += _frame_pairs(frame)
    else:
        pairs.append(("raw", repr(message.raw[:500])))
    for name, value in pairs:
        if value not in ("", None):
            click.echo(click.style(f"{name}:".ljust(13), bold=True) + str(value))
    for entry in (frame.headers.get(HISTORY_HEADER) or []) if frame is not None else []:
        click.echo(f"  {entry.get('at', '')}  {entry.get('worker', '')}  {entry.get('what', '')}")


def _frame_pairs(frame: Frame) -> list[tuple[str, object]]:
    try:
        call = decode_call(frame, READABLE)
        arguments: list[tuple[str, object]] = [("args", repr(list(call.args))), ("kwargs", repr(call.kwargs))]
    except MessageError as exc:
        arguments = [
            ("args", frame.headers.get("argsrepr")),
            ("kwargs", frame.headers.get("kwargsrepr")),
            ("body", f"{len(frame.body)} bytes of {frame.content_type}, not shown: {exc}"),
        ]
    hidden = {DELIVERIES_HEADER, HISTORY_HEADER, "argsrepr", "kwargsrepr", "id", "task", "lang"}
    headers = {name: value for name, value in frame.headers.items() if name not in hidden and value}
    history = frame.headers.get(HISTORY_HEADER)
    return [
        *arguments,
        ("content", f"{frame.content_type}, {len(frame.body)} bytes"),
        *((name, value) for name, value in headers.items() if isinstance(value, str | int | float)),
        ("history", plural(len(history), "entry", "entries") if history else ""),
    ]
