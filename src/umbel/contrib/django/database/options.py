"""What a ``django://`` URL says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from django.db import DEFAULT_DB_ALIAS, connections

from umbel.backends._common_options import refuse_unknown_options
from umbel.errors import ConfigurationError

__all__ = ["Options", "read_options", "refuse_unknown_vendor"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """A database of the project and how to use it."""

    alias: str
    """As in ``DATABASES``."""
    lock_timeout: float = 5.0
    """Seconds to wait for what another transaction has locked."""
    stuck_timeout: float = 15.0
    """Seconds after which a statement of ours that has no answer is given up, and its connection with it."""

    @property
    def url(self) -> str:
        return f"django://{self.alias}"


_VENDORS = ("sqlite", "postgresql", "mysql")
_NAMES = ("lock_timeout", "stuck_timeout")


def read_options(url: str, given: Mapping[str, Any]) -> Options:
    """The options in `url`, and those of the broker or the store, which win. Raises ``ConfigurationError``.

    ``django://`` alone names the alias "default".
    """
    address, _, query = url.partition("?")
    alias = address.partition("://")[2].strip("/") or DEFAULT_DB_ALIAS
    if alias not in connections.settings:
        raise ConfigurationError(
            f"{url!r} names the database {alias!r}, which is not in DATABASES. Known: {', '.join(sorted(connections.settings))}. "
            f"Correct the URL, or the setting UMBEL['database']."
        )
    options = {**dict(parse_qsl(query, keep_blank_values=True)), **given}
    refuse_unknown_options(options, _NAMES, backend="django://")
    return Options(alias=alias, **{name: _seconds(name, options[name]) for name in _NAMES if name in options})


def _seconds(name: str, value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e6:
        raise ConfigurationError(
            f"The option {name} of django:// is {value!r}; expected a number of seconds."
        )
    return seconds


def refuse_unknown_vendor(alias: str, vendor: str) -> None:
    """Raise ``ConfigurationError`` for a kind of database that has no statements."""
    if vendor not in _VENDORS:
        raise ConfigurationError(
            f"The database {alias!r} is of the kind {vendor!r}; the queue can live in SQLite, PostgreSQL, MariaDB and MySQL. "
            "Set broker_url to another broker, or UMBEL['database'] to another alias."
        )
