"""The messages of Celery's remote control and its events: kombu's envelope around a command, a reply, an event. JSON only."""

from __future__ import annotations

import time
from binascii import a2b_base64, b2a_base64
from typing import Any

import msgspec

from umbel.errors import DecodeError
from umbel.ids import new_id

__all__ = [
    "Command",
    "read_command",
    "read_event",
    "read_reply",
    "write_command",
    "write_event",
    "write_reply",
]


class Command(msgspec.Struct, kw_only=True):
    """What workers are asked."""

    method: str
    arguments: dict[str, Any] = {}
    destination: list[str] | None = None
    """Names of workers; None: all."""
    pattern: str | None = None
    matcher: str | None = None
    """How `pattern` is meant: ``glob`` or ``pcre``."""
    ticket: str | None = None
    reply_to: dict[str, Any] | None = None
    """``{"exchange": "reply.celery.pidbox", "routing_key": address}``; None: no reply is wanted."""


def write_command(command: Command, box: str, *, lives: float) -> bytes:
    """`command` as it is broadcast. A worker that reads it after `lives` seconds does not carry it out."""
    body = msgspec.to_builtins(command)
    if command.ticket is None:
        del body["ticket"], body["reply_to"]
    return _envelope(body, {"clock": 1, "expires": time.time() + lives}, box, "")


def write_reply(command: Command, box: str, answer: Any) -> bytes:
    """`answer` to `command`, as it is sent. Raises TypeError when JSON cannot hold it."""
    address = str((command.reply_to or {}).get("routing_key", ""))
    return _envelope(answer, {"ticket": command.ticket, "clock": 1}, f"reply.{box}", address)


def write_event(body: Any, exchange: str, routing_key: str, hostname: str) -> bytes:
    """An event as it is published, or several: a dict, or a list of them."""
    return _envelope(body, {"hostname": hostname}, exchange, routing_key)


def read_event(message: bytes) -> list[dict[str, Any]]:
    """The events of a message. Raises DecodeError."""
    body, _ = _opened(message)
    events = body if isinstance(body, list) else [body]
    if not all(isinstance(event, dict) and isinstance(event.get("type"), str) for event in events):
        raise DecodeError("A message of events holds something else; it is ignored.")
    return events


def _envelope(body: Any, headers: dict[str, Any], exchange: str, routing_key: str) -> bytes:
    return msgspec.json.encode(
        {
            "body": b2a_base64(msgspec.json.encode(body), newline=False).decode("ascii"),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": exchange, "routing_key": routing_key},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": new_id(),
            },
        }
    )


def _opened(message: bytes) -> tuple[Any, dict[str, Any]]:
    try:
        envelope = msgspec.json.decode(message)
        if envelope["content-type"] != "application/json":
            raise DecodeError(f"A command must be JSON, not {envelope['content-type']!r}; it is ignored.")
        body = envelope["body"]
        if envelope["properties"].get("body_encoding") == "base64":
            body = a2b_base64(body)
        return msgspec.json.decode(body), envelope.get("headers") or {}
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, ValueError) as exc:
        raise DecodeError(f"A message of remote control cannot be read ({exc}); it is ignored.") from exc


def read_command(message: bytes) -> Command | None:
    """The command of a message; None when its time has passed. Raises DecodeError."""
    body, headers = _opened(message)
    expires = headers.get("expires")
    if isinstance(expires, int | float) and expires < time.time():
        return None
    try:
        return msgspec.convert(body, Command)
    except msgspec.ValidationError as exc:
        raise DecodeError(f"A message of remote control is no command ({exc}); it is ignored.") from exc


def read_reply(message: bytes) -> tuple[str | None, dict[str, Any]]:
    """The ticket of the command, and what a worker answered: ``{name: answer}``. Raises DecodeError."""
    body, headers = _opened(message)
    if not isinstance(body, dict):
        raise DecodeError(f"A reply to a command must be a dict, not {type(body).__name__}; it is ignored.")
    return headers.get("ticket"), body
