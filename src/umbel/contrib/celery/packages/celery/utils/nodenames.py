"""Names of workers."""

from __future__ import annotations

from umbel.contrib.celery.queues import Exchange, Queue
from umbel.contrib.celery.utils.nodenames import (
    NODENAME_DEFAULT,
    NODENAME_SEP,
    WORKER_DIRECT_EXCHANGE,
    WORKER_DIRECT_QUEUE_FORMAT,
    anon_nodename,
    default_nodename,
    gethostname,
    host_format,
    node_format,
    nodename,
    nodesplit,
    worker_direct,
)

__all__ = [
    "NODENAME_DEFAULT",
    "NODENAME_SEP",
    "WORKER_DIRECT_EXCHANGE",
    "WORKER_DIRECT_QUEUE_FORMAT",
    "Exchange",
    "Queue",
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]
