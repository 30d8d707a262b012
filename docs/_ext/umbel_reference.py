"""Two directives that print the reference from the code, so that it cannot be out of date.

``umbel-settings acting|recognised``   the settings table of ``umbel.settings``
``umbel-commands``                     the command line, from the click commands of ``umbel.cli``
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import umbel.cli
from umbel.settings import ACTING, RECOGNISED, Setting

_KINDS = {
    "bool": "True or False",
    "int": "whole number",
    "float": "number",
    "duration": "seconds, or a timedelta",
    "str": "text",
    "list": "list",
    "dict": "dict",
    "url": "URL, or a list of them",
    "policy": "dict: max_retries, interval_start, interval_step, interval_max",
    "any": "anything",
}
_GROUPS = {"broker": "Broker", "result": "Results", "task": "Tasks", "worker": "Worker", "": "General"}


class SettingsDirective(SphinxDirective):
    """Print the settings that Umbel obeys (``acting``) or only recognises (``recognised``)."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = _acting() if self.arguments[0] == "acting" else _recognised()
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _acting() -> Iterator[str]:
    groups: dict[str, list[Setting]] = {group: [] for group in _GROUPS}
    for setting in ACTING:
        prefix = setting.name.partition("_")[0]
        groups[prefix if prefix in _GROUPS else ""].append(setting)
    for group, settings in groups.items():
        yield from ("", f"## {_GROUPS[group]}", "")
        for setting in settings:
            kind = " or ".join(map(repr, setting.choices)) if setting.choices else _KINDS[setting.kind]
            yield from (
                f":::{{confval}} {setting.name}",
                f":type: {json.dumps(kind)}",
                f":default: {json.dumps(f'`{setting.default!r}`')}",
                "",
                setting.help,
                ":::",
                "",
            )


def _recognised() -> Iterator[str]:
    yield from ("| setting | default | what it is to Celery |", "|---|---|---|")
    for setting in RECOGNISED:
        yield f"| `{setting.name}` | `{setting.default!r}` | {setting.help.replace('|', chr(92) + '|')} |"


class CommandsDirective(SphinxDirective):
    """Print every command with its arguments and options."""

    def run(self) -> list[nodes.Node]:
        root = click.Context(umbel.cli.main, info_name="umbel")
        return self.parse_text_to_nodes("\n".join(_command(root, 2)), allow_section_headings=True)


def _command(ctx: click.Context, level: int) -> Iterator[str]:
    command = ctx.command
    pieces = " ".join(command.collect_usage_pieces(ctx))
    yield from (
        "",
        "#" * level + f" {ctx.command_path}",
        "",
        "```text",
        f"{ctx.command_path} {pieces}",
        "```",
        "",
    )
    yield from (_prose(command.help or ""), "")
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and "--help" not in parameter.opts:
            yield from (f"`{record[0]}`", f": {record[1] or '…'}", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            sub = command.get_command(ctx, name)
            if sub is not None and not sub.hidden:
                yield from _command(click.Context(sub, info_name=name, parent=ctx), level + 1)


def _prose(text: str) -> str:
    # click's \b marks a paragraph whose lines must stay: a code block here.
    paragraphs = []
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        stripped = paragraph.strip("\n")
        if stripped.startswith("\b"):
            stripped = "```text\n" + stripped.removeprefix("\b").strip("\n") + "\n```"
        paragraphs.append(stripped)
    return "\n\n".join(paragraphs)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives with Sphinx."""
    app.add_directive("umbel-settings", SettingsDirective)
    app.add_directive("umbel-commands", CommandsDirective)
    return {"parallel_read_safe": True}
