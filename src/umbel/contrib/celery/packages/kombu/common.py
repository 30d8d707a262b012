"""Loops around consumers."""

from __future__ import annotations

from umbel.contrib.celery.common import (
    Broadcast,
    QoS,
    collect_replies,
    drain_consumer,
    eventloop,
    ignore_errors,
    insured,
    itermessages,
    maybe_declare,
    oid_from,
    send_reply,
    uuid,
)

__all__ = [
    "Broadcast",
    "QoS",
    "collect_replies",
    "drain_consumer",
    "eventloop",
    "ignore_errors",
    "insured",
    "itermessages",
    "maybe_declare",
    "oid_from",
    "send_reply",
    "uuid",
]
