"""What older versions had."""

from __future__ import annotations

from umbel.contrib.celery.kombu_functional import (
    nested,
)

__all__ = [
    "nested",
]
