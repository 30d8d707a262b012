"""Commands of the program's own for remote control, in Celery's manner.

::

    from umbel.panel import inspect_command

    @inspect_command()
    def free_disk(state):
        return {"free": shutil.disk_usage("/").free}

``app.control.inspect()._request("free_disk")`` or ``umbel inspect free_disk`` asks every worker. A command gets the state of its worker
and named arguments, and returns what JSON can hold. It runs in a thread of the worker's node: it may take its time, and what it
raises becomes its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

__all__ = ["CommandInfo", "Panel", "control_command", "inspect_command"]


class CommandInfo(msgspec.Struct, kw_only=True):
    """What is known of a command."""

    name: str
    type: str = "control"
    """``control`` or ``inspect``."""
    alias: str | None = None
    visible: bool = True
    default_timeout: float = 1.0
    help: str = ""
    signature: str | None = None
    args: Sequence[tuple[str, Callable[[str], Any]]] = ()
    """Its arguments in the shell: names, and what makes a value of a text."""
    variadic: str | None = None
    """Takes all arguments of the shell, as a list."""

    def named(self, given: Sequence[str]) -> dict[str, Any]:
        """The arguments of the shell by name. Raises ValueError when there are too many, or one is wrong."""
        if self.variadic is not None:
            return {self.variadic: list(given)}
        if len(given) > len(self.args):
            raise ValueError(f"{self.name} takes {len(self.args)} arguments, not {len(given)}.")
        return {name: make(text) for (name, make), text in zip(self.args, given, strict=False)}


class Panel:
    """All commands of the program by name."""

    data: ClassVar[dict[str, Callable[..., Any]]] = {}
    meta: ClassVar[dict[str, CommandInfo]] = {}

    @classmethod
    def register(cls, function: Callable[..., Any] | None = None, **about: Any) -> Any:
        """Register `function`; as a decorator with or without arguments (see ``CommandInfo``)."""
        if function is None:
            return lambda function: cls.register(function, **about)
        name = about.pop("name", None) or function.__name__
        about.setdefault("help", (function.__doc__ or "").strip())
        info = CommandInfo(
            name=name, **{k: v for k, v in about.items() if k in CommandInfo.__struct_fields__}
        )
        for known in filter(None, (name, info.alias)):
            cls.data[known], cls.meta[known] = function, info
        return function


def control_command(**about: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: a command that changes something (``umbel control NAME``)."""
    return lambda function: Panel.register(function, **{"type": "control", **about})


def inspect_command(**about: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: a command that answers something (``umbel inspect NAME``)."""
    return lambda function: Panel.register(function, **{"type": "inspect", **about})
