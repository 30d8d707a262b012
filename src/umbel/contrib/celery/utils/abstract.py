"""``celery.utils.abstract``: what looks like a task, and what looks like a signature."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

__all__ = ["CallableSignature", "CallableTask"]

_TASK = frozenset({"__call__", "delay", "apply_async", "apply"})


class CallableTask(ABC):  # noqa: B024 - what it wants is looked at, not inherited
    """Anything that can be called, and has ``delay``, ``apply_async`` and ``apply``."""

    _wanted: ClassVar[frozenset[str]] = _TASK

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        found = {name for base in other.__mro__ for name in vars(base)}
        return True if "_wanted" in vars(cls) and found >= cls._wanted else NotImplemented


class CallableSignature(CallableTask):
    """That, with ``clone``, ``freeze``, ``set`` and ``link`` as well."""

    _wanted: ClassVar[frozenset[str]] = _TASK | {"clone", "freeze", "set", "link", "link_error"}
