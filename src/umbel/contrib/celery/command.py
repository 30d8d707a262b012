"""``celery.bin.base``: what command lines of projects are made of, over click."""

from __future__ import annotations

import functools
import json
import logging
import numbers
from collections.abc import Callable
from typing import Any

import click

from umbel.context import get_current_app
from umbel.contrib.celery.utils.times import maybe_iso8601

__all__ = [
    "COMMA_SEPARATED_LIST",
    "ISO8601",
    "ISO8601_OR_FLOAT",
    "JSON_ARRAY",
    "JSON_OBJECT",
    "LOG_LEVEL",
    "CLIContext",
    "CeleryCommand",
    "CeleryCommandException",
    "CeleryDaemonCommand",
    "CeleryOption",
    "CommaSeparatedList",
    "ISO8601DateTime",
    "ISO8601DateTimeOrFloat",
    "JsonArray",
    "JsonObject",
    "LogLevel",
    "handle_preload_options",
]


class CeleryCommandException(click.ClickException):
    """A command failed; the program leaves with `exit_code`."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


class CLIContext:
    """What commands find in ``ctx.obj``: the app, and how to print."""

    def __init__(
        self, app: Any, no_color: bool = False, workdir: str | None = None, quiet: bool = False
    ) -> None:
        self.app = app or get_current_app()
        self.no_color, self.workdir, self.quiet = no_color, workdir, quiet

    @property
    def OK(self) -> str:
        """The word OK in green."""
        return self.style("OK", fg="green", bold=True)

    @property
    def ERROR(self) -> str:
        """The word ERROR in red."""
        return self.style("ERROR", fg="red", bold=True)

    def style(self, message: Any = None, **kwargs: Any) -> str:
        """A text in colours, unless they are switched off."""
        return str(message) if self.no_color else click.style(message, **kwargs)

    def secho(self, message: Any = None, **kwargs: Any) -> None:
        """Print it in colours."""
        if self.no_color:
            kwargs["color"] = False
        click.secho(message, **kwargs)

    def echo(self, message: Any = None, **kwargs: Any) -> None:
        """Print it."""
        if self.no_color:
            kwargs["color"] = False
        click.echo(message, **kwargs)

    def error(self, message: Any = None, **kwargs: Any) -> None:
        """Print it to stderr."""
        self.echo(message, err=True, **kwargs)

    def pretty(self, n: Any) -> tuple[str, str]:
        """A reply in a short form and a long one."""
        if isinstance(n, list):
            return self.OK, "\n".join(f"- {item}" for item in n) or "- empty -"
        if isinstance(n, dict):
            if "ok" in n or "error" in n:
                good = "ok" in n
                return (self.OK if good else self.ERROR), json.dumps(
                    n["ok" if good else "error"], default=str
                )
            return self.OK, json.dumps(n, indent=2, default=str)
        return self.OK, n if isinstance(n, str) else repr(n)

    def say_chat(self, direction: str, title: str, body: str = "", show_body: bool = False) -> None:
        """Print a line of a conversation with workers."""
        if direction == "<-" and self.quiet:
            return
        arrow = "" if self.quiet else self.style(f"{direction} ", fg="white", bold=True)
        self.echo(f"{arrow}{title}")
        if body and show_body:
            self.echo(body)


def handle_preload_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """For a command: the options of ``app.user_options["preload"]`` are not among its arguments."""

    @functools.wraps(f)
    def call(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        app = getattr(ctx.obj, "app", None)
        for option in getattr(app, "user_options", {}).get("preload", ()):
            kwargs.pop(getattr(option, "name", None) or "", None)
        return f(ctx, *args, **kwargs)

    return call


class CeleryOption(click.Option):
    """An option whose default can be taken from ``ctx.obj``, and that can stand in a group of the help.

    `default_value_from_context`: the name there. `help_group`: the heading.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.help_group: str | None = kwargs.pop("help_group", None)
        self.default_value_from_context: str | None = kwargs.pop("default_value_from_context", None)
        super().__init__(*args, **kwargs)

    def get_default(self, ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        """The default."""
        if self.default_value_from_context and ctx.obj:
            held = ctx.obj
            name = self.default_value_from_context
            self.default = held[name] if isinstance(held, dict) else getattr(held, name, None)
        return super().get_default(ctx, *args, **kwargs)


class CeleryCommand(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "help_group", None) or "Options", []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class CeleryDaemonCommand(CeleryCommand):
    """A command that can run in the background, with the options that this takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for names in (
            ("-f", "--logfile"),
            ("--pidfile",),
            ("--uid",),
            ("--gid",),
            ("--umask",),
            ("--executable",),
        ):
            self.params.append(CeleryOption(names, help_group="Daemonization Options"))


class CommaSeparatedList(click.ParamType):  # type: ignore[type-arg]
    """``a,b``."""

    name = "comma separated list"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The parts."""
        return value.split(",") if isinstance(value, str) else value


class _Json(click.ParamType):  # type: ignore[type-arg]
    kind: type

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of the text."""
        if isinstance(value, self.kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        if not isinstance(found, self.kind):
            self.fail(f"{value} is not a {self.name}.", param, ctx)
        return found


class JsonArray(_Json):
    """``[1, 2]``."""

    name = "json array"
    kind = list


class JsonObject(_Json):
    """``{"a": 1}``."""

    name = "json object"
    kind = dict


class ISO8601DateTime(click.ParamType):  # type: ignore[type-arg]
    """A time such as ``2020-01-02T03:04:05``."""

    name = "iso-86091"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The datetime."""
        try:
            return maybe_iso8601(value)
        except (TypeError, ValueError) as exc:
            self.fail(str(exc), param, ctx)


class ISO8601DateTimeOrFloat(ISO8601DateTime):
    """That, or seconds."""

    name = "iso-86091 or float"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The datetime or the number."""
        try:
            return float(value)
        except (TypeError, ValueError):
            return super().convert(value, param, ctx)


class LogLevel(click.Choice):  # type: ignore[type-arg]
    """DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL, in capitals or not; or a number."""

    def __init__(self) -> None:
        super().__init__(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"))

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The number of the level."""
        if isinstance(value, numbers.Integral):
            return value
        name = super().convert(value.upper(), param, ctx)
        return logging.getLevelNamesMapping()[name]


JSON_ARRAY = JsonArray()
JSON_OBJECT = JsonObject()
ISO8601 = ISO8601DateTime()
ISO8601_OR_FLOAT = ISO8601DateTimeOrFloat()
LOG_LEVEL = LogLevel()
COMMA_SEPARATED_LIST = CommaSeparatedList()
