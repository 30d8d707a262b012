"""``kombu.Message``: a message that was received."""

from __future__ import annotations

from typing import Any

from umbel.codecs import compression
from umbel.contrib.celery.kombu_errors import MessageStateError
from umbel.contrib.celery.serialization import loads
from umbel.errors import UmbelError

__all__ = ["Message"]

_MISSING = object()


class Message:
    """``body`` is raw, ``payload`` what it says. Whoever consumes without ``no_ack`` acknowledges or rejects it."""

    MessageStateError = MessageStateError

    def __init__(self, body: Any = None, delivery_tag: str | None = None, **fields: Any) -> None:
        self.delivery_tag = delivery_tag
        self.channel = fields.get("channel")
        self.content_type: str | None = fields.get("content_type")
        self.content_encoding: str | None = fields.get("content_encoding")
        self.delivery_info: dict[str, Any] = fields.get("delivery_info") or {}
        self.properties: dict[str, Any] = fields.get("properties") or {}
        self.headers: dict[str, Any] = fields.get("headers") or {}
        self.accept = fields.get("accept")
        self.errors: list[Exception] = []
        self._state = "RECEIVED"
        self._decoded: Any = _MISSING
        method = self.headers.get("compression")
        if method:
            try:
                body = compression.decompress(body, method)
            except UmbelError as exc:
                self.errors.append(exc)
        self.body = body

    # -- reading

    def decode(self) -> Any:
        """What the body says. Raises ContentDisallowed and DecodeError."""
        if self._decoded is _MISSING:
            if self.errors:
                raise self.errors[0]
            self._decoded = loads(self.body, self.content_type, self.content_encoding, accept=self.accept)
        return self._decoded

    @property
    def payload(self) -> Any:
        """``decode()``."""
        return self.decode()

    # -- settling

    def ack(self, multiple: bool = False) -> None:
        """It is done with. `multiple`: and so is all that was received before it."""
        if self.channel is not None and self.channel.is_no_ack(self.delivery_info.get("consumer_tag")):
            return
        self._settling().basic_ack(self.delivery_tag, multiple=multiple)
        self._state = "ACK"

    def reject(self, requeue: bool = False) -> None:
        """Put it among the dead letters (``umbel dead``), or back into its queue."""
        self._settling().basic_reject(self.delivery_tag, requeue=requeue)
        self._state = "REQUEUED" if requeue else "REJECTED"

    def requeue(self) -> None:
        """Put it back into its queue, in front."""
        self.reject(requeue=True)

    def _settling(self) -> Any:
        if self.channel is None:
            raise MessageStateError("This message does not have a receiving channel")
        if self.acknowledged:
            raise MessageStateError(f"Message already acknowledged with state: {self._state}")
        return self.channel

    def ack_log_error(self, logger: Any, errors: Any, multiple: bool = False) -> None:
        """``ack()`` that logs `errors`."""
        try:
            self.ack(multiple=multiple)
        except errors as exc:
            logger.critical("Couldn't ack %r, reason:%r", self.delivery_tag, exc, exc_info=True)

    def reject_log_error(self, logger: Any, errors: Any, requeue: bool = False) -> None:
        """``reject()`` that logs `errors`."""
        try:
            self.reject(requeue=requeue)
        except errors as exc:
            logger.critical("Couldn't reject %r, reason: %r", self.delivery_tag, exc, exc_info=True)

    @property
    def acknowledged(self) -> bool:
        """Whether it has been acknowledged, rejected or put back."""
        return self._state != "RECEIVED"

    def __repr__(self) -> str:
        shown = {"state": self._state, "content_type": self.content_type, "delivery_tag": self.delivery_tag}
        return f"<{type(self).__name__} {shown}>"
