"""Redis as broker and result store: Celery's messages and results, with leases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.backends.redis.address import Address, parse_url
from umbel.backends.redis.broker import RedisBroker
from umbel.backends.redis.options import Options, read_options
from umbel.backends.redis.store import RedisStore
from umbel.errors import ConfigurationError

__all__ = ["RedisBroker", "RedisStore", "make_broker", "make_store"]


def make_broker(url: str, options: Mapping[str, Any]) -> RedisBroker:
    """The broker at `url`, not connected. Raises ``ConfigurationError``."""
    return RedisBroker(*_read(url, options))


def make_store(url: str, options: Mapping[str, Any]) -> RedisStore:
    """The result store at `url`, not connected. Raises ``ConfigurationError``."""
    return RedisStore(*_read(url, options))


def _read(url: str, given: Mapping[str, Any]) -> tuple[Address, Options]:
    address = parse_url(url, given.get("ssl"))
    options = read_options(given, address.query, url)
    if address.sentinel and not options.master_name:
        raise ConfigurationError(
            f"{address.url} names sentinels; set the transport option master_name to the name of the master they watch."
        )
    return address, options
