"""``celery.app.utils``: apps by name, reports, settings without their secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from umbel.app import Umbel
from umbel.cli.find_app import find_app as _find_app
from umbel.contrib.celery.config import CeleryConfig as Settings

__all__ = ["Settings", "appstr", "bugreport", "filter_hidden_settings", "find_app", "sanitize_url"]

_SECRET = re.compile(
    r"api|token|key|secret|pass|signature|database|profanities_list|beat_dburi", re.IGNORECASE
)
_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):([^/\s]+)(?=@)")
_MASK = "********"


def appstr(app: Any) -> str:
    """An app in a few words."""
    return f"{app.main or '__main__'} at {id(app):#x}"


def bugreport(app: Any) -> str:
    """What to write into a bug report."""
    return str(app.bugreport())


def find_app(app: Any, symbol_by_name: Any = None, imp: Any = None) -> Any:
    """The app that ``-A`` would find under this name. An app is returned as it is."""
    return app if isinstance(app, Umbel) else _find_app(app)


def sanitize_url(url: str, mask: str = _MASK) -> str:
    """A URL without its password."""
    return _PASSWORD.sub(rf"\1:{mask}", url)


def filter_hidden_settings(conf: Mapping[Any, Any]) -> dict[Any, Any]:
    """Settings without what is secret by its name, and without the passwords of URLs."""

    def shown(key: Any, value: Any) -> Any:
        if isinstance(value, Mapping):
            return filter_hidden_settings(value)
        if isinstance(key, str) and _SECRET.search(key) and key != "task_default_routing_key":
            return _MASK
        if isinstance(value, str) and "://" in value:
            return sanitize_url(value)
        return value

    return {key: shown(key, value) for key, value in conf.items()}
