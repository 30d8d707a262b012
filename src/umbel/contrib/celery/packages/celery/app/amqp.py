"""Queues."""

from __future__ import annotations

from umbel.contrib.celery.amqp import Amqp as AMQP
from umbel.contrib.celery.amqp import Queues

__all__ = ["AMQP", "Queues"]
