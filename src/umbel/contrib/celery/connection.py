"""``app.connection_for_write()``: enough of kombu's Connection to check that the broker is there."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from umbel import portal
from umbel.backends import mask_url, open_broker

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Connection"]


class Connection:
    """The way to a broker. Messages are sent by tasks and ``send_task``, not through it."""

    def __init__(self, app: Umbel, url: str | None = None) -> None:
        self._app = app
        self._url = url

    def ensure_connection(self, *unused: Any, **also_unused: Any) -> Self:
        """Raises BrokerUnavailable, which is kombu's OperationalError too, when the broker cannot be reached."""
        broker = self._app.new_broker() if self._url is None else open_broker(self._url, {})

        async def reach() -> None:
            await broker.open()
            try:
                await broker.nodes()
            finally:
                await broker.close()

        portal.run(reach())
        return self

    connect = ensure_connection

    def as_uri(self, include_password: bool = False) -> str:
        """The URL of the broker, without its password unless asked for."""
        url = self._url or self._app.broker_url
        return url if include_password else mask_url(url)

    def release(self) -> None:
        """Nothing is kept open."""

    close = release

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()
