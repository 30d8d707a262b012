"""One message for many runs of a task: ``map``, ``starmap`` and ``chunks``, carried out by the built-in tasks of these names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from umbel.flow.canvas import group
from umbel.flow.signature import Item, Sender, Signature, maybe_signature

__all__ = ["chunks", "xmap", "xstarmap"]


class _Repeated(Signature):
    """Of these, ``task`` in the arguments says what to run, and ``it`` with which arguments."""

    repeats = Item("kwargs", "task")
    it = Item("kwargs", "it")

    def __init__(self, task: Any, it: Iterable[Any], app: Sender | None = None, **options: Any) -> None:
        kind = str(self.KIND)
        task = maybe_signature(task, app)
        super().__init__(
            f"celery.{kind}",
            kwargs={"task": task, "it": list(it)},
            options=options,
            immutable=True,
            app=app or task._app,
        )

    KIND = ""

    def _revive(self) -> None:
        self.repeats = maybe_signature(self.repeats, self._app)


class xmap(_Repeated):
    """``task(item)`` for each item, in one call: the value is the list of values."""

    KIND = "map"

    def __repr__(self) -> str:
        return f"[{self.repeats.task}(x) for x in {self.it!r}]"


class xstarmap(_Repeated):
    """``task(*args)`` for each item, in one call: the value is the list of values."""

    KIND = "starmap"

    def __repr__(self) -> str:
        return f"[{self.repeats.task}(*x) for x in {self.it!r}]"


class chunks(_Repeated):
    """Many runs cut into calls of `n` each: ``add.chunks(zip(range(100), range(100)), 10)``. It is sent as a group of starmaps."""

    KIND = "chunks"
    n = Item("kwargs", "n")

    def __init__(
        self, task: Any, it: Iterable[Any], n: int, app: Sender | None = None, **options: Any
    ) -> None:
        super().__init__(task, it, app, **options)
        self.n = n

    def group(self) -> group:
        """A group of calls with `n` runs each."""
        parts = [xstarmap(self.repeats.clone(), part, app=self._app) for part in _cut(self.it, self.n)]
        return group(parts, app=self._app)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send the group."""
        return self.group().apply_async(args, kwargs, **{**self.options, **options})

    def apply(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Run the group here and now."""
        return self.group().apply(args, kwargs, **{**self.options, **options})

    def __call__(self, **options: Any) -> Any:
        """Send the group."""
        return self.apply_async(**options)

    def __repr__(self) -> str:
        return f"{self.repeats.task}.chunks({self.it!r}, {self.n})"


def _cut(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part
