"""The tasks of the current app."""

from __future__ import annotations

from umbel.context import Proxy, get_current_app

__all__ = ["tasks"]

tasks = Proxy(lambda: get_current_app().tasks)
