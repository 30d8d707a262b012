"""Options that several commands share, and types of option values."""

from __future__ import annotations

import json
from typing import Any

import click

__all__ = [
    "Json",
    "exclude_option",
    "force_option",
    "json_option",
    "limit_option",
    "queues_option",
    "split_names",
]


def split_names(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """``-Q a,b -Q c`` as ``("a", "b", "c")``: a callback for options with ``multiple=True``."""
    names = [name.strip() for part in value for name in part.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


class Json(click.ParamType):
    """A value written as JSON, of a given type.

    Values of kombu's dialect, such as ``{"__type__": "datetime", ...}``, are left to whoever encodes them.
    """

    def __init__(self, kind: type[list[Any]] | type[dict[Any, Any]]) -> None:
        self.kind = kind
        self.name = "JSON"
        self.wanted = "a JSON array, such as '[1, \"two\"]'" if kind is list else "a JSON object, such as '{\"x\": 1}'"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse `value`, or end the command with what is wrong in it."""
        if not isinstance(value, str):
            return value
        try:
            parsed = json.loads(value)
        except ValueError as exc:
            self.fail(f"{value!r} is not JSON ({exc}). Expected {self.wanted}.", param, ctx)
        if not isinstance(parsed, self.kind):
            self.fail(f"{value!r} is not {self.wanted}.", param, ctx)
        return parsed


queues_option = click.option(
    "-Q", "--queues", multiple=True, callback=split_names, metavar="NAMES", help="Only these queues, separated by commas."
)
exclude_option = click.option(
    "-X", "--exclude-queues", multiple=True, callback=split_names, metavar="NAMES", help="All but these queues."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many messages."
)
force_option = click.option("-f", "--force", is_flag=True, help="Do not ask.")
