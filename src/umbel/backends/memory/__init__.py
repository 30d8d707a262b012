"""``memory://``: queues and results inside this process, for tests and for programs that live alone.

The reference implementation of the ports: simple and exact. ``memory://name`` is shared by everything in the
process that names it, whatever its thread or event loop; what it holds ends with the process. A forked child
does not share it, and is told so.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from umbel.backends._common_options import refuse_unknown_options
from umbel.backends.memory.broker import MemoryBroker
from umbel.backends.memory.place import forget_memory
from umbel.backends.memory.store import MemoryStore

__all__ = ["MemoryBroker", "MemoryStore", "forget_memory", "make_broker", "make_store"]


def make_broker(url: str, options: dict[str, Any]) -> MemoryBroker:
    """The broker that ``memory://name`` names. There are no options."""
    return MemoryBroker(_name(url, options))


def make_store(url: str, options: dict[str, Any]) -> MemoryStore:
    """The result store that ``memory://name`` names. There are no options."""
    return MemoryStore(_name(url, options))


def _name(url: str, options: dict[str, Any]) -> str:
    parts = urlsplit(url)
    refuse_unknown_options({**dict(parse_qsl(parts.query)), **options}, (), backend="memory://")
    return f"{parts.netloc}{parts.path}".strip("/")
