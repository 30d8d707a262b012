"""Serializers."""

from __future__ import annotations

from umbel.contrib.celery.kombu_errors import (
    SerializerNotInstalled,
)
from umbel.contrib.celery.serialization import (
    SerializerRegistry,
    disable_insecure_serializers,
    dumps,
    enable_insecure_serializers,
    loads,
    prepare_accept_content,
    raw_encode,
    register,
    registry,
    unregister,
)

__all__ = [
    "SerializerNotInstalled",
    "SerializerRegistry",
    "disable_insecure_serializers",
    "dumps",
    "enable_insecure_serializers",
    "loads",
    "prepare_accept_content",
    "raw_encode",
    "register",
    "registry",
    "unregister",
]
