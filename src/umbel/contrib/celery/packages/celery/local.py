"""Proxies."""

from __future__ import annotations

from umbel.context import Proxy
from umbel.context import Proxy as PromiseProxy

__all__ = ["PromiseProxy", "Proxy"]
