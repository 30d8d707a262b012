"""The broker and the result store that an app holds."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from umbel import portal
from umbel.backends import open_broker, open_store
from umbel.ports import Broker, ResultStore

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Connections"]


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
        self._refresh()
        if self._broker is None:
            with self._lock:
                if self._broker is None:
                    conf = self._app.conf
                    broker = open_broker(self._app.broker_url, conf.broker_transport_options)
                    self._broker = (self._broker_key(), broker)
        return self._broker[1]

    def store(self) -> ResultStore | None:
        self._refresh()
        if self._store is None:
            url = self._app.result_url
            if url is None:
                return None
            with self._lock:
                if self._store is None:
                    store = open_store(url, self._app.conf.result_backend_transport_options)
                    self._store = (self._store_key(), store)
        return self._store[1]

    def _broker_key(self) -> Any:
        return self._app.broker_url, repr(self._app.conf.broker_transport_options)

    def _store_key(self) -> Any:
        return self._app.result_url, repr(self._app.conf.result_backend_transport_options)

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
