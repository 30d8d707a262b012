"""The SQL of this backend: one statement per file in ``sql/``, with its parameters and rows in the header."""

from __future__ import annotations

from importlib import resources
from typing import Any

import apsw

__all__ = ["JOINS", "SCHEMA", "fetch", "statement", "statement_names"]

_FOLDER = resources.files("umbel.backends.sqlite") / "sql"


def statement(name: str) -> str:
    """The statement in ``sql/<name>.sql``, without its comments: the text is the key of the statement cache."""
    lines = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))


def statement_names() -> list[str]:
    """Every statement there is; for the test that asks SQLite how it would run each."""
    return sorted(file.name.removesuffix(".sql") for file in _FOLDER.iterdir() if file.name.endswith(".sql"))


def fetch(connection: apsw.Connection, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """All rows, each a tuple of what the header of the statement says."""
    return connection.execute(sql, values).fetchall()


SCHEMA = statement("schema")
"""The tables of version 1."""
JOINS = statement("joins")
"""Those that came with version 2."""
