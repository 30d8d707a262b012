"""What ``umbel worker`` was asked for, settings already applied."""

from __future__ import annotations

import os
import socket
from typing import Any, Literal

import msgspec

from umbel.worker.health import LIMITS, Limits

Pool = Literal["prefork", "threads", "asyncio", "gevent", "solo"]


class WorkerOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Options of one worker. Durations in seconds, memory in KiB; None means: as the app's settings say."""

    name: str = "umbel@%h"
    """``%h`` host name, ``%n`` its first part, ``%d`` the rest; see ``expand_name``."""
    queues: tuple[str, ...] = ()
    """Empty: the queues of the settings (``task_queues``, else ``task_default_queue``)."""
    exclude_queues: tuple[str, ...] = ()
    pool: Pool | None = None
    concurrency: int | None = None
    """Calls that run at a time. prefork: processes; threads, asyncio: slots in one process."""
    loglevel: str = "WARNING"
    logfile: str | None = None
    log_format: Literal["text", "json"] = "text"
    autoreload: bool = False
    purge: bool = False
    time_limit: float | None = None
    soft_time_limit: float | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    banner: bool = True
    task_events: bool = False
    """Publish events (``-E``)."""
    user_options: dict[str, Any] = {}
    """What options of the program's own were given (``app.user_options``)."""
    health: str | None = None
    """Where ``/live`` and ``/ready`` are served: ``port`` or ``host:port``."""
    limits: Limits = LIMITS


def expand_name(name: str) -> str:
    """`name` with ``%h`` (host.domain), ``%n`` (host), ``%d`` (domain) filled in; ``@%h`` is added if there is no @.

    >>> expand_name("mail@here")
    'mail@here'
    """
    host = socket.gethostname()
    first, _, rest = host.partition(".")
    if "@" not in name:
        name += "@%h"
    for mark, value in (("%h", host), ("%n", first), ("%d", rest), ("%p", str(os.getpid()))):
        name = name.replace(mark, value)
    return name
