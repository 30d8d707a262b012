"""``kombu.exceptions``: Umbel's errors under kombu's names, and those that only messaging has."""

from __future__ import annotations

import builtins

from umbel.errors import (
    ConfigurationError,
    ContentDisallowed,
    DecodeError,
    EncodeError,
    OperationalError,
    UmbelError,
)

__all__ = [
    "CHANNEL_ERRORS",
    "CONNECTION_ERRORS",
    "ChannelError",
    "ChannelLimitExceeded",
    "ConnectionError",
    "ConnectionLimitExceeded",
    "ContentDisallowed",
    "DecodeError",
    "EncodeError",
    "HttpError",
    "InconsistencyError",
    "KombuError",
    "LimitExceeded",
    "MessageStateError",
    "NotBoundError",
    "NotEquivalentError",
    "OperationalError",
    "RecoverableConnectionError",
    "ResourceError",
    "SerializationError",
    "SerializerNotInstalled",
    "TimeoutError",
    "Undecodable",
    "Unencodable",
    "VersionMismatch",
]

KombuError = UmbelError
TimeoutError = builtins.TimeoutError


class NotBoundError(UmbelError):
    """An exchange or a queue was used without a channel: ``queue(channel).declare()``."""


class MessageStateError(UmbelError):
    """The message has been acknowledged, rejected or put back already."""


class LimitExceeded(UmbelError):
    """Everything of a pool is in use."""


class ConnectionLimitExceeded(LimitExceeded):
    """All connections of a pool are in use."""


class ChannelLimitExceeded(LimitExceeded):
    """All channels of a pool are in use."""


class ConnectionError(OperationalError):
    """The connection was used after it had been closed."""


RecoverableConnectionError = ConnectionError


class ChannelError(UmbelError):
    """A queue or an exchange is not there, or not as it was asked for."""


ResourceError = ChannelError


class NotEquivalentError(ChannelError):
    """An exchange of this name has been declared with another type."""


class InconsistencyError(ConnectionError):
    """Something is missing on the server that should be there."""


class SerializerNotInstalled(ConfigurationError):
    """No serializer has this name."""


class SerializationError(UmbelError):
    """A body cannot be written or read."""


class Unencodable(EncodeError, SerializationError):
    """A body cannot be written."""


class Undecodable(DecodeError, SerializationError):
    """A body cannot be read."""


class VersionMismatch(UmbelError):
    """Nothing raises it here."""


class HttpError(UmbelError):
    """Nothing raises it here."""


CONNECTION_ERRORS: tuple[type[Exception], ...] = (OperationalError, builtins.ConnectionError)
"""Worth trying again."""
CHANNEL_ERRORS: tuple[type[Exception], ...] = (ChannelError,)
