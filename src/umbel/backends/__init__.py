"""Backends by URL. This module is the only one that knows which there are; each is imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

from umbel.core.urls import mask_url
from umbel.errors import ConfigurationError
from umbel.ports import Broker, ResultStore

__all__ = ["known_schemes", "mask_url", "open_broker", "open_store"]

# scheme -> (module, extra that brings its driver)
_MODULES = {
    "memory": ("umbel.backends.memory", None),
    "sqlite": ("umbel.backends.sqlite", None),
    "redis": ("umbel.backends.redis", "redis"),
    "rediss": ("umbel.backends.redis", "redis"),
    "redis+socket": ("umbel.backends.redis", "redis"),
    "unix": ("umbel.backends.redis", "redis"),
    "sentinel": ("umbel.backends.redis", "redis"),
    "django": ("umbel.contrib.django.database", "django"),
    "django-db": ("umbel.contrib.django.database", "django"),
}


def known_schemes() -> list[str]:
    """The URL schemes that ``open_broker`` and ``open_store`` understand."""
    return sorted(_MODULES)


def open_broker(url: str, options: dict[str, Any] | None = None) -> Broker:
    """The broker that `url` names, not yet connected.

    `options` are the ``broker_transport_options``. Raises ``ConfigurationError`` for a scheme that is not
    known, an option that the backend does not have, or a driver that is not installed.
    """
    broker: Broker = _load(url).make_broker(url, options or {})
    return broker


def open_store(url: str, options: dict[str, Any] | None = None) -> ResultStore:
    """The result store that `url` names, not yet connected. Options and errors as for ``open_broker``."""
    store: ResultStore = _load(url).make_store(url, options or {})
    return store


def _load(url: str) -> Any:
    scheme = url.partition("://")[0].lower()
    if scheme not in _MODULES:
        raise ConfigurationError(
            f"The URL {mask_url(url)!r} has the scheme {scheme!r}, which no backend serves. "
            f"Known schemes: {', '.join(known_schemes())}."
        )
    module, extra = _MODULES[scheme]
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        if extra is None or (exc.name or "").startswith("umbel"):
            raise
        raise ConfigurationError(
            f"{scheme}:// needs a driver that is not installed ({exc.name}). Install it with: pip install 'umbel[{extra}]'"
        ) from exc
