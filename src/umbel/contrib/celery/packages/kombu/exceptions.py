"""Exceptions."""

from __future__ import annotations

from umbel.contrib.celery.kombu_errors import (
    ChannelError,
    ChannelLimitExceeded,
    ConnectionError,
    ConnectionLimitExceeded,
    ContentDisallowed,
    DecodeError,
    EncodeError,
    HttpError,
    InconsistencyError,
    KombuError,
    LimitExceeded,
    MessageStateError,
    NotBoundError,
    OperationalError,
    RecoverableConnectionError,
    ResourceError,
    SerializationError,
    SerializerNotInstalled,
    TimeoutError,
    VersionMismatch,
)

__all__ = [
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
    "OperationalError",
    "RecoverableConnectionError",
    "ResourceError",
    "SerializationError",
    "SerializerNotInstalled",
    "TimeoutError",
    "VersionMismatch",
]
