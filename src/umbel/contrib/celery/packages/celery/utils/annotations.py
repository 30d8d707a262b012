"""Annotations of functions."""

from __future__ import annotations

from umbel.contrib.celery.utils.annotations import (
    annotation_is_class,
    annotation_issubclass,
    get_optional_arg,
    is_none_type,
)

__all__ = [
    "annotation_is_class",
    "annotation_issubclass",
    "get_optional_arg",
    "is_none_type",
]
