"""The broker and the result store that an app holds."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from umbel import portal
from umbel.ports import Broker, ResultStore

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Connections", "broker_options", "store_options"]

# Settings of Celery that are options of our Redis backends.
_BROKER = {
    "broker_use_ssl": "ssl",
    "broker_connection_timeout": "socket_connect_timeout",
    "broker_pool_limit": "max_connections",
}
_STORE = {
    "redis_backend_use_ssl": "ssl",
    "redis_socket_timeout": "socket_timeout",
    "redis_socket_connect_timeout": "socket_connect_timeout",
    "redis_socket_keepalive": "socket_keepalive",
}
_REDIS = ("redis", "unix:", "sentinel:")


def broker_options(app: Umbel) -> dict[str, Any]:
    """``broker_transport_options``, and what other settings say about the connection."""
    return _options(app, app.broker_url, _BROKER) | dict(app.conf.broker_transport_options)


def store_options(app: Umbel) -> dict[str, Any]:
    """The same for the result store."""
    return _options(app, app.result_url or "", _STORE) | dict(app.conf.result_backend_transport_options)


def _options(app: Umbel, url: str, names: dict[str, str]) -> dict[str, Any]:
    if not url.startswith(_REDIS):
        return {}
    given = {option: setting for setting, option in names.items() if app.conf.source(setting) != "default"}
    return {option: app.conf[setting] for option, setting in given.items()}


class Connections:
    """The broker and the store of an app: opened when first used, anew after a fork and when their URLs change."""

    def __init__(self, app: Umbel) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._version = -1
        self._broker: tuple[Any, Broker] | None = None
        self._store: tuple[Any, ResultStore] | None = None

    def broker(self) -> Broker:
        """The one that the app holds."""
        self._refresh()
        if self._broker is None:
            with self._lock:
                if self._broker is None:
                    self._broker = (self._broker_key(), self._app.new_broker())
        return self._broker[1]

    def store(self) -> ResultStore | None:
        """The one that the app holds; None: no results are kept."""
        self._refresh()
        if self._store is None:
            with self._lock:
                if self._store is None:
                    store = self._app.new_store()
                    if store is None:
                        return None
                    self._store = (self._store_key(), store)
        return self._store[1]

    def _broker_key(self) -> Any:
        return self._app.broker_url, repr(broker_options(self._app))

    def _store_key(self) -> Any:
        return self._app.result_url, repr(store_options(self._app))

    def _refresh(self) -> None:
        if self._pid != os.getpid():
            # The parent's connections: closing them here would end its sessions, so they are only forgotten.
            self._lock = threading.Lock()
            self._forget()
        version = self._app.conf.version
        if self._version == version:
            return
        with self._lock:
            self._version = version
            if self._broker is not None and self._broker[0] != self._broker_key():
                self._broker = None
            if self._store is not None and self._store[0] != self._store_key():
                self._store = None

    def close(self) -> None:
        if self._pid != os.getpid():
            return
        with self._lock:
            opened = [pair[1] for pair in (self._broker, self._store) if pair is not None]
            self._forget()
        for connection in opened:
            portal.run(connection.close())
