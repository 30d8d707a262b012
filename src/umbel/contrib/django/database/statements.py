"""The SQL of each kind of database: one statement per file, with its parameters and rows in the header."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable

__all__ = ["folder_of", "statements_of"]

_FOLDERS = {
    "sqlite": ("umbel.contrib.django.database", "sqlite"),
    # PostgreSQL has a backend of its own, too.
    "postgresql": ("umbel.backends.postgres", "sql"),
    "mysql": ("umbel.contrib.django.database", "mysql"),
}
"""Django's name of the kind of database -> package and folder."""


_SHORT = {"mysql": {"NOW_MS": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)"}}
"""What is written in the files for something long: the server's clock, in milliseconds since 1970."""


def folder_of(vendor: str) -> Traversable:
    """Where the statements for this kind of database lie."""
    package, folder = _FOLDERS[vendor]
    return resources.files(package) / folder


@functools.cache
def statements_of(vendor: str) -> Mapping[str, str]:
    """The statements by name, without their comments. Parameters are written as ``%(name)s``, for Django's cursors."""
    found: dict[str, str] = {}
    for file in folder_of(vendor).iterdir():
        if file.name.endswith(".sql"):
            text = _without_comments(file.read_text(encoding="utf-8"))
            for short, long in _SHORT.get(vendor, {}).items():
                text = text.replace(short, long)
            found[file.name.removesuffix(".sql")] = text
    return found


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
