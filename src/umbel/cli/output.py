"""Tables, durations and JSON, by hand: a terminal needs no library for these."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

__all__ = ["ago", "clipped", "duration", "emit_json", "emit_table", "plural", "stamp", "when_iso"]

_GAP = "  "


def emit_json(value: Any) -> None:
    """Print `value` as indented JSON; whatever JSON cannot write appears as its ``str``."""
    plain = msgspec.to_builtins(value, enc_hook=str, str_keys=True)
    click.echo(json.dumps(plain, indent=2, ensure_ascii=False))


def emit_table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()
) -> None:
    """Print a table: columns as wide as they need to be, the last one cut to the width of the terminal.

    `right`: indices of the columns that are aligned to the right.
    """
    cells = [["" if cell is None else _one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(len(header), *(len(row[i]) for row in cells), 0) for i, header in enumerate(headers)]
    room = _room_for_last(widths)
    lines = []
    for row in [list(headers), *cells]:
        last = len(row) - 1
        if room is not None:
            row[last] = clipped(row[last], room)
        padded = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(padded).rstrip())
    click.echo(click.style(lines[0], bold=True))
    for line in lines[1:]:
        click.echo(line)


def _room_for_last(widths: Sequence[int]) -> int | None:
    """Characters for the last column; None, no limit, where nobody looks at a terminal."""
    if not sys.stdout.isatty():
        return None
    used = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    return max(20, shutil.get_terminal_size().columns - used)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def clipped(text: str, width: int) -> str:
    """`text` in at most `width` characters.

    >>> clipped("a long reason", 8)
    'a long …'
    """
    return text if len(text) <= width else text[: width - 1] + "…"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.25), duration(75), duration(7300), duration(200000)
    ('0.2 s', '1 min 15 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = int(seconds)
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds:.0f} s"


def ago(moment: float | None) -> str:
    """How long ago a Unix time was; '' for None."""
    return "" if moment is None else f"{duration(max(0.0, time.time() - moment))} ago"


def stamp(moment: float | None) -> str:
    """A Unix time in the local time zone; '' for None."""
    if moment is None:
        return ""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def when_iso(moment: float | None) -> str | None:
    """A Unix time as ISO 8601 in UTC, for JSON."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun.

    >>> plural(1, "message"), plural(2, "entry", "entries")
    ('1 message', '2 entries')
    """
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
