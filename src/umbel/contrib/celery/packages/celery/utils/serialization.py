"""Exceptions that can be pickled, values that can be JSON."""

from __future__ import annotations

from umbel.contrib.celery.utils.serialization import (
    STRTOBOOL_DEFAULT_TABLE,
    UnpickleableExceptionWrapper,
    b64decode,
    b64encode,
    create_exception_cls,
    ensure_serializable,
    find_pickleable_exception,
    get_pickleable_etype,
    get_pickleable_exception,
    get_pickled_exception,
    itermro,
    jsonify,
    raise_with_context,
    strtobool,
    subclass_exception,
    unwanted_base_classes,
)

__all__ = [
    "STRTOBOOL_DEFAULT_TABLE",
    "UnpickleableExceptionWrapper",
    "b64decode",
    "b64encode",
    "create_exception_cls",
    "ensure_serializable",
    "find_pickleable_exception",
    "get_pickleable_etype",
    "get_pickleable_exception",
    "get_pickled_exception",
    "itermro",
    "jsonify",
    "raise_with_context",
    "strtobool",
    "subclass_exception",
    "unwanted_base_classes",
]
