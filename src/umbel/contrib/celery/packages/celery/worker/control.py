"""Commands of remote control."""

from __future__ import annotations

from umbel.panel import Panel, control_command, inspect_command

__all__ = ["Panel", "control_command", "inspect_command", "nok", "ok"]


def ok(value: object) -> dict[str, object]:
    """What a command answers that did its work."""
    return {"ok": value}


def nok(value: object) -> dict[str, object]:
    """What it answers when it could not."""
    return {"error": value}
