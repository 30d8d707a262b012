"""Objects."""

from __future__ import annotations

from umbel.contrib.celery.utils.objects import (
    Bunch,
    FallbackContext,
    getitem_property,
    mro_lookup,
)

__all__ = [
    "Bunch",
    "FallbackContext",
    "getitem_property",
    "mro_lookup",
]
