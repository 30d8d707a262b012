"""Names of workers."""

from __future__ import annotations

import os
import socket
from typing import Any

from umbel.contrib.celery.queues import Exchange, Queue

__all__ = [
    "NODENAME_DEFAULT",
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]

NODENAME_DEFAULT = "celery"
gethostname = socket.gethostname


def nodename(name: str, hostname: str) -> str:
    """``name@hostname``."""
    return f"{name}@{hostname}"


def nodesplit(name: str) -> tuple[str | None, str]:
    """Name and host; without a name None and the host."""
    first, sign, host = name.partition("@")
    return (first, host) if sign else (None, first)


def default_nodename(hostname: str | None) -> str:
    """The name of a worker that was given this one, or none."""
    name, host = nodesplit(hostname or "")
    return nodename(name or NODENAME_DEFAULT, host or gethostname())


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """The name of a program that sends."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """`s` with ``%h``, ``%n`` and ``%d`` filled in."""
    host = host or gethostname()
    first, _, domain = host.partition(".")
    marks = {"h": host, "n": name or first, "d": domain, "i": "%i", "I": "%I", **extra}
    for mark, value in marks.items():
        s = s.replace(f"%{mark}", str(value))
    return s


def node_format(s: str, name: str, **extra: Any) -> str:
    """The same, for the worker of that name."""
    short, host = nodesplit(name)
    return host_format(s, host, short or NODENAME_DEFAULT, p=name, **extra)


def worker_direct(hostname: str | Queue) -> Queue:
    """The queue of that worker alone (worker_direct)."""
    if isinstance(hostname, Queue):
        return hostname
    return Queue(f"{hostname}.dq2", Exchange("C.dq2"), hostname, auto_delete=True)
