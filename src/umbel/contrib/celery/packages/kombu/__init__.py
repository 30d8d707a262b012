"""kombu, as far as programs use it."""

from __future__ import annotations

from umbel.contrib.celery.connection import (
    Connection,
)
from umbel.contrib.celery.kombu_urls import (
    parse_url,
)
from umbel.contrib.celery.message import (
    Message,
)
from umbel.contrib.celery.messaging import (
    Consumer,
    Producer,
)
from umbel.contrib.celery.pools import (
    connections,
    producers,
)
from umbel.contrib.celery.queues import (
    Exchange,
    Queue,
    binding,
)
from umbel.contrib.celery.serialization import (
    disable_insecure_serializers,
    enable_insecure_serializers,
)
from umbel.ids import (
    new_id as uuid,
)

__all__ = [
    "Connection",
    "Consumer",
    "Exchange",
    "Message",
    "Producer",
    "Queue",
    "binding",
    "connections",
    "disable_insecure_serializers",
    "enable_insecure_serializers",
    "parse_url",
    "producers",
    "uuid",
]

__version__ = "5.7.0"
VERSION = version_info = (5, 7, 0)
