"""Checking the arguments of a call against the function's signature, where the call is made; and what loads them, where it runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["ArgumentCheck", "ArgumentLoader", "Loading"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class ArgumentCheck:
    """Knows what a function takes. Most calls are decided by counting; the rest by ``inspect``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Of a bound method the first parameter does not count. Raises ValueError when there is no signature to be had."""
        self.signature = inspect.signature(function)
        parameters = list(self.signature.parameters.values())
        positional = [p for p in parameters if p.kind in _POSITIONAL]
        required = [p for p in positional if p.default is p.empty]
        kinds = {p.kind for p in parameters}
        keyword_only = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
        self._least = len(required)
        self.most = len(positional) if inspect.Parameter.VAR_POSITIONAL not in kinds else 1 << 30
        """How many positional arguments it takes."""
        self._counts = not keyword_only
        self._simple = kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        self._places = {p.name: i for i, p in enumerate(positional)}
        self.names = tuple(p.name for p in positional)
        """Names of the positional parameters."""

    def check(self, subject: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError, with the signature of `subject` in it, unless the function can be called so."""
        if not isinstance(args, (list, tuple)):
            raise TypeError(
                f"The arguments of {subject} must be a list or tuple, not {type(args).__name__} {args!r}. Nothing was sent."
            )
        count = len(args)
        if not kwargs:
            if self._counts and self._least <= count <= self.most:
                return
        elif self._simple and self._fits(count, kwargs):
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(
                f"{subject}{_shown(self.signature)} cannot be called like this: {exc}. Nothing was sent."
            ) from None

    def _fits(self, count: int, kwargs: Mapping[str, Any]) -> bool:
        places = self._places
        for name in kwargs:
            if places.get(name, -1) < count:
                return False  # unknown, or given twice
        return count <= self.most and all(name in kwargs for name in self.names[count : self._least])


class Loading(Protocol):
    """Arguments of one run, some of which stand for something that is still to be read."""

    def load(self) -> Arguments:
        """The arguments that the function gets. What it raises, the run has raised."""
        ...

    async def aload(self) -> Arguments:
        """``load`` for asynchronous tasks."""
        ...


ArgumentLoader = Callable[[tuple[Any, ...], dict[str, Any]], Loading | None]
"""Looks at the arguments of a run right before its function is called. None: they are what they are."""


class _Bare(str):
    """An annotation that is text, shown without its quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _shown(signature: inspect.Signature) -> str:
    """`signature` as it is written in the source, without what it returns."""
    parameters = [
        p.replace(annotation=_Bare(p.annotation)) if isinstance(p.annotation, str) else p
        for p in signature.parameters.values()
    ]
    return str(inspect.Signature(parameters))
