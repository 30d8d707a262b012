"""Options that several commands share, and types of option values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from umbel.core import kombu_types

__all__ = [
    "exclude_option",
    "force_option",
    "json_array",
    "json_object",
    "json_option",
    "limit_option",
    "moment",
    "moment_or_seconds",
    "queues_option",
    "seconds",
    "split_names",
]


def split_names(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """``-Q a,b -Q c`` as ``("a", "b", "c")``: a callback for options with ``multiple=True``."""
    names = [name.strip() for part in value for name in part.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def json_array(value: Any) -> list[Any]:
    """Type of an option: a JSON array."""
    parsed: list[Any] = _parsed(value, list, "a JSON array, such as '[1, \"two\"]'")
    return parsed


def json_object(value: Any) -> dict[str, Any]:
    """Type of an option: a JSON object."""
    parsed: dict[str, Any] = _parsed(value, dict, "a JSON object, such as '{\"x\": 1}'")
    return parsed


def _parsed(value: Any, kind: type, wanted: str) -> Any:
    """`value` read as JSON in kombu's dialect: ``{"__type__": "datetime", ...}`` is a datetime, as in messages."""
    if isinstance(value, kind):
        return value
    try:
        parsed = kombu_types.loads(value.encode())
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is not JSON ({exc}). Expected {wanted}.") from exc
    if not isinstance(parsed, kind):
        raise click.BadParameter(f"{value!r} is not {wanted}.")
    return parsed


def seconds(value: Any) -> float:
    """Type of an option: a number of seconds, not negative."""
    try:
        number = float(value)
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is not a number of seconds.") from exc
    if number != number or number < 0:
        raise click.BadParameter(f"{value!r} is not a number of seconds from 0.")
    return number


def moment(value: Any) -> datetime:
    """Type of an option: a time in ISO 8601."""
    try:
        return datetime.fromisoformat(value)
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is not a time such as 2030-01-31T18:00:00+01:00.") from exc


def moment_or_seconds(value: Any) -> datetime | float:
    """Type of an option: either of the two."""
    try:
        return seconds(value)
    except click.BadParameter:
        return moment(value)


queues_option = click.option(
    "-Q",
    "--queues",
    multiple=True,
    callback=split_names,
    metavar="NAMES",
    help="Only these queues, separated by commas.",
)
exclude_option = click.option(
    "-X",
    "--exclude-queues",
    multiple=True,
    callback=split_names,
    metavar="NAMES",
    help="All but these queues.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many messages."
)
force_option = click.option("-f", "--force", is_flag=True, help="Do not ask.")
