"""Which file a ``sqlite:///`` URL names, and how it is to be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl

import msgspec

from umbel.backends._common_options import refuse_unknown_options
from umbel.errors import ConfigurationError

__all__ = ["Location", "parse_location"]

Synchronous = Literal["normal", "full"]
Wake = Literal["auto", "poll"]


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A database file and how to use it."""

    path: Path
    """Absolute, links resolved: two URLs for one file are one location."""
    synchronous: Synchronous = "normal"
    """``normal``: what was accepted survives any crash of any process. ``full``: a power cut, too."""
    busy_timeout: float = 5.0
    """Seconds to wait for the write lock."""
    wake: Wake = "auto"
    """``auto``: woken by the file's changes where the kernel tells of them. ``poll``: look every 5 to 50 ms."""

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"


def parse_location(url: str, options: dict[str, Any]) -> Location:
    """The location that `url` names; `options` (of the broker or the store) win over those in the URL.

    URLs are in SQLAlchemy's form: ``sqlite:///relative.db`` (to the current directory), ``sqlite:////absolute.db``.
    Raises ``ConfigurationError``.

    >>> parse_location("sqlite:////srv/queue.db?synchronous=full", {}).synchronous
    'full'
    """
    address, _, query = url.partition("?")
    rest = address.partition("://")[2]
    if rest in ("", "/", "/:memory:"):
        raise ConfigurationError(
            f"{url!r} names no file. Processes share a queue through a file: write sqlite:///queue.db or "
            "sqlite:////absolute/path/queue.db. For a queue inside one process there is memory://."
        )
    if not rest.startswith("/"):
        raise ConfigurationError(
            f"{url!r} has {rest.partition('/')[0]!r} where a host would be, and SQLite has no hosts. "
            f"Write three slashes for a relative path (sqlite:///{rest}), four for an absolute one (sqlite:////{rest})."
        )
    given = {**dict(parse_qsl(query, keep_blank_values=True)), **options}
    refuse_unknown_options(given, ("synchronous", "busy_timeout", "wake"), backend="sqlite://")
    return Location(
        path=Path(rest[1:]).absolute().resolve(),
        synchronous=_choice(given, "synchronous", get_args(Synchronous)),
        busy_timeout=_seconds(given, "busy_timeout", 5.0),
        wake=_choice(given, "wake", get_args(Wake)),
    )


def _choice(given: dict[str, Any], name: str, known: tuple[Any, ...]) -> Any:
    value = str(given.get(name, known[0])).lower()
    if value not in known:
        raise ConfigurationError(
            f"The option {name} of sqlite:// is {given[name]!r}; expected {' or '.join(known)}."
        )
    return value


def _seconds(given: dict[str, Any], name: str, default: float) -> float:
    value = given.get(name, default)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise ConfigurationError(
            f"The option {name} of sqlite:// is {value!r}; expected a number of seconds."
        )
    return seconds
