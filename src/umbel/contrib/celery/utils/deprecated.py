"""``celery.utils.deprecated``."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable as AnyCallable
from typing import Any

__all__ = ["CDeprecationWarning", "CPendingDeprecationWarning", "Callable", "Property", "warn"]


class CDeprecationWarning(DeprecationWarning):
    """Something is going to be removed."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Something is going to be deprecated."""


def warn(
    description: str | None = None,
    deprecation: str | None = None,
    removal: str | None = None,
    alternative: str | None = None,
    stacklevel: int = 2,
) -> None:
    """Warn the caller. With `deprecation` it is a pending one."""
    more = f" {alternative}" if alternative else ""
    text = f"{description} is deprecated and scheduled for removal in version {removal}.{more}"
    kind: type[Warning] = CDeprecationWarning
    if deprecation is not None:
        kind = CPendingDeprecationWarning
        text = f"{description} is scheduled for deprecation in version {deprecation} and removal in version v{removal}.{more}"
    warnings.warn(kind(text), stacklevel=stacklevel)


def Callable(
    deprecation: str | None = None,
    removal: str | None = None,
    alternative: str | None = None,
    description: str | None = None,
) -> AnyCallable[[AnyCallable[..., Any]], AnyCallable[..., Any]]:
    """A decorator: calling the function warns."""

    def decorate(fun: AnyCallable[..., Any]) -> AnyCallable[..., Any]:
        name = description or f"{fun.__module__}.{fun.__qualname__.rpartition('<locals>.')[2]}"

        @functools.wraps(fun)
        def call(*args: Any, **kwargs: Any) -> Any:
            warn(name, deprecation, removal, alternative, stacklevel=3)
            return fun(*args, **kwargs)

        return call

    return decorate


class _Deprecated:
    def __init__(self, told: dict[str, Any], **functions: Any) -> None:
        self.told, self.functions = told, functions
        self.__doc__ = functions["fget"].__doc__
        self.name = functions["fget"].__name__

    def _function(self, which: str, verb: str) -> Any:
        function = self.functions.get(which)
        if function is None:
            raise AttributeError(f"cannot {verb} attribute")
        warn(self.name, **self.told, stacklevel=4)
        return function

    def __get__(self, obj: Any, type: Any = None) -> Any:
        return self if obj is None else self._function("fget", "get")(obj)

    def __set__(self, obj: Any, value: Any) -> None:
        self._function("fset", "set")(obj, value)

    def __delete__(self, obj: Any) -> None:
        self._function("fdel", "delete")(obj)

    def setter(self, fset: AnyCallable[..., Any]) -> _Deprecated:
        """The same with a setter."""
        return _Deprecated(self.told, **{**self.functions, "fset": fset})

    def deleter(self, fdel: AnyCallable[..., Any]) -> _Deprecated:
        """The same with a deleter."""
        return _Deprecated(self.told, **{**self.functions, "fdel": fdel})


def Property(
    deprecation: str | None = None,
    removal: str | None = None,
    alternative: str | None = None,
    description: str | None = None,
) -> AnyCallable[[AnyCallable[..., Any]], Any]:
    """A decorator like ``property``: using the attribute warns."""
    told = {"deprecation": deprecation, "removal": removal, "alternative": alternative}
    return lambda fun: _Deprecated(told, fget=fun)
