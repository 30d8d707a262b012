"""Connections."""

from __future__ import annotations

from umbel.contrib.celery.connection import (
    Connection,
    maybe_channel,
)
from umbel.contrib.celery.resources import (
    ChannelPool,
    ConnectionPool,
    Resource,
)

__all__ = [
    "ChannelPool",
    "Connection",
    "ConnectionPool",
    "Resource",
    "maybe_channel",
]

BrokerConnection = Connection
