"""``celery.utils.objects``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["Bunch", "FallbackContext", "getitem_property", "mro_lookup"]


class Bunch:
    """An object with these attributes."""

    def __init__(self, **kwargs: Any) -> None:
        vars(self).update(kwargs)


def mro_lookup(
    cls: type, attr: str, stop: Collection[type] | None = None, monkey_patched: Collection[str] | None = None
) -> type | None:
    """The class, of `cls` and those above it, that defines `attr`; None when that is one of `stop`, or none.

    An attribute of one of `stop` counts when its module is not among `monkey_patched`: somebody has replaced it.
    """
    for node in cls.__mro__:
        if stop and node in stop:
            value = vars(node).get(attr)
            module = getattr(value, "__module__", None)
            replaced = (
                monkey_patched and value is not None and module is not None and module not in monkey_patched
            )
            return node if replaced else None
        if attr in vars(node):
            return node
    return None


class FallbackContext:
    """``with FallbackContext(given, make, …) as it:`` - what was given, or what ``with make(…)`` gives."""

    def __init__(
        self,
        provided: Any,
        fallback: Callable[..., AbstractContextManager[Any]],
        *fb_args: Any,
        **fb_kwargs: Any,
    ) -> None:
        self.provided, self.fallback = provided, fallback
        self.fb_args, self.fb_kwargs = fb_args, fb_kwargs
        self._context: AbstractContextManager[Any] | None = None

    def __enter__(self) -> Any:
        if self.provided is not None:
            return self.provided
        self._context = self.fallback(*self.fb_args, **self.fb_kwargs)
        return self._context.__enter__()

    def __exit__(self, *exc_info: Any) -> bool | None:
        return None if self._context is None else self._context.__exit__(*exc_info)


class getitem_property:
    """An attribute of a class that stands for a key: ``owner = getitem_property("options.owner")``."""

    def __init__(self, keypath: str, doc: str | None = None) -> None:
        *self.path, self.key = keypath.split(".")
        self.__doc__ = doc

    def _holder(self, obj: Any) -> Any:
        for name in self.path:
            obj = obj[name]
        return obj

    def __get__(self, obj: Any, type: Any = None) -> Any:
        return type if obj is None else self._holder(obj).get(self.key)

    def __set__(self, obj: Any, value: Any) -> None:
        self._holder(obj)[self.key] = value
