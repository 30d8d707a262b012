"""Apps by name, reports, settings without their secrets."""

from __future__ import annotations

from umbel.contrib.celery.helpers import (
    Settings,
    appstr,
    bugreport,
    filter_hidden_settings,
    find_app,
    sanitize_url,
)

__all__ = [
    "Settings",
    "appstr",
    "bugreport",
    "filter_hidden_settings",
    "find_app",
    "sanitize_url",
]
