"""``celery.utils.nodenames``: the names of workers, ``name@host``."""

from __future__ import annotations

import os
import socket
from functools import cache
from typing import Any

from umbel.contrib.celery.queues import Exchange, Queue
from umbel.contrib.celery.utils.text import simple_format

__all__ = [
    "NODENAME_DEFAULT",
    "NODENAME_SEP",
    "WORKER_DIRECT_EXCHANGE",
    "WORKER_DIRECT_QUEUE_FORMAT",
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]

NODENAME_SEP = "@"
NODENAME_DEFAULT = "celery"
WORKER_DIRECT_QUEUE_FORMAT = "{hostname}.dq2"
WORKER_DIRECT_EXCHANGE = Exchange("C.dq2")


@cache
def gethostname() -> str:
    """The name of this machine."""
    return socket.gethostname()


def worker_direct(hostname: str | Queue) -> Queue:
    """The queue of that worker alone. Set worker_direct for workers to have one."""
    if isinstance(hostname, Queue):
        return hostname
    return Queue(WORKER_DIRECT_QUEUE_FORMAT.format(hostname=hostname), WORKER_DIRECT_EXCHANGE, hostname)


def nodename(name: str, hostname: str) -> str:
    """``name@hostname``."""
    return NODENAME_SEP.join((name, hostname))


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """The name of a process that is no worker."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def nodesplit(name: str) -> Any:
    """Name and host of a worker; the name is None when there is none."""
    parts = name.split(NODENAME_SEP, 1)
    return (None, parts[0]) if len(parts) == 1 else parts


def default_nodename(hostname: str | None, default_name: str = NODENAME_DEFAULT) -> str:
    """The whole name of a worker of which host, or name and host, are given or not."""
    name, host = nodesplit(hostname or "")
    return nodename(name or default_name, host or gethostname())


def node_format(s: str, name: str, **extra: Any) -> str:
    """`s` with ``%n`` (name), ``%h`` (host), ``%d`` (domain) and ``%p`` (all of it) of the worker `name`."""
    short, host = nodesplit(name)
    return host_format(s, host, short or NODENAME_DEFAULT, p=name, **extra)


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """The same from host and name. ``%i`` and ``%I`` are the number of a child: ``0`` and nothing in the parent."""
    host = host or gethostname()
    hostname, _, domain = host.partition(".")
    fields = {"h": host, "n": name or hostname, "d": domain, "i": "0", "I": "", **extra}
    return simple_format(s, fields)
