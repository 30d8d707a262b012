"""Programs that consume."""

from __future__ import annotations

from umbel.contrib.celery.common import (
    ConsumerMixin,
    ConsumerProducerMixin,
)

__all__ = [
    "ConsumerMixin",
    "ConsumerProducerMixin",
]
