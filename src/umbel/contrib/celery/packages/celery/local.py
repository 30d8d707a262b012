"""Proxies."""

from __future__ import annotations

from umbel.contrib.celery.local import (
    PromiseProxy,
    Proxy,
    class_property,
    maybe_evaluate,
    try_import,
)

__all__ = [
    "PromiseProxy",
    "Proxy",
    "class_property",
    "maybe_evaluate",
    "try_import",
]
