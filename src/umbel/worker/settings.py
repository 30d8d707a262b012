"""What a node needs to know of the worker's options and the app's settings."""

from __future__ import annotations

import msgspec

from umbel.worker.health import LIMITS, Limits


class NodeSettings(msgspec.Struct, kw_only=True, frozen=True):
    """Durations in seconds."""

    name: str
    id: str
    """New at every start; the holder of its leases."""
    queues: tuple[str, ...]
    pool: str
    children: int
    slots: int
    """Calls that one child runs at a time."""
    lease: float = 25.0
    grace: float | None = None
    """How long a warm shutdown waits for running tasks; None: until they end."""
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    """KiB."""
    predecessors: tuple[str, ...] = ()
    """The ids of the nodes that this one replaces: their leases are ended at once."""
    dead_letter_expires: float | None = None
    """Seconds; None: for ever."""
    dead_letter_limit: int | None = None
    """Of each queue; None: any number."""
    connect_attempts: int | None = None
    """How often the first connection is tried before the worker gives up; None: for ever."""
    send_events: bool = False
    """Events are published from the start, and not only when somebody asks for them."""
    event_exchange: str = "celeryev"
    rates: dict[str, float] | None = None
    """Rate limits that hold for this worker alone, as Celery's do: calls per second, by task. None: there are none such."""
    limits: Limits = LIMITS
    """From when on silence is a fault."""
