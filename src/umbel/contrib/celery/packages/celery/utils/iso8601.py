"""Times as text."""

from __future__ import annotations

from umbel.contrib.celery.utils.iso8601 import (
    parse_iso8601,
)

__all__ = [
    "parse_iso8601",
]
