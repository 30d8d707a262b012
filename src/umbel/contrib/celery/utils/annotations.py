"""``celery.utils.annotations``: questions about the annotations of a function."""

from __future__ import annotations

import types
from inspect import isclass
from typing import Any, Union, get_args, get_origin

__all__ = ["annotation_is_class", "annotation_issubclass", "get_optional_arg", "is_none_type"]


def is_none_type(value: Any) -> bool:
    """Whether it is the class of None."""
    return value is type(None)


def get_optional_arg(annotation: Any) -> Any:
    """``X`` of ``Optional[X]`` or ``X | None``; None for anything else."""
    if get_origin(annotation) in (Union, types.UnionType):
        first, *others = sorted(get_args(annotation), key=is_none_type)
        if len(others) == 1 and is_none_type(others[0]):
            return first
    return None


def annotation_is_class(annotation: Any) -> bool:
    """Whether it is a class that ``isinstance()`` takes."""
    return isclass(annotation) and get_origin(annotation) is None


def annotation_issubclass(annotation: Any, cls: type) -> bool:
    """Whether it is a class below `cls`."""
    return annotation_is_class(annotation) and issubclass(annotation, cls)
