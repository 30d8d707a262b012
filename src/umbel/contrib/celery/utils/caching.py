"""What kombu's ``utils.functional`` gives to Celery's: a cache, and values that are made when they are needed."""

from __future__ import annotations

import functools
import threading
from collections import UserDict
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["LRUCache", "lazy", "maybe_evaluate", "memoize", "mlazy"]


class LRUCache(UserDict[Any, Any]):
    """A dict of at most `limit` entries: what was not asked for the longest makes room. Safe between threads."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.mutex = threading.RLock()
        super().__init__()

    def __getitem__(self, key: Any) -> Any:
        with self.mutex:
            value = self.data[key] = self.data.pop(key)
            return value

    def __setitem__(self, key: Any, value: Any) -> None:
        with self.mutex:
            if self.limit and len(self.data) >= self.limit and key not in self.data:
                del self.data[next(iter(self.data))]
            self.data[key] = value

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take all of these; the oldest make room."""
        with self.mutex:
            self.data.update(*args, **kwargs)
            while self.limit and len(self.data) > self.limit:
                del self.data[next(iter(self.data))]

    def __iter__(self) -> Iterator[Any]:
        with self.mutex:
            return iter(list(self.data))

    def items(self) -> Any:
        """The entries; looking at them does not count as use."""
        with self.mutex:
            return list(self.data.items())

    def values(self) -> Any:
        """The values, in the same way."""
        with self.mutex:
            return list(self.data.values())

    def popitem(self, last: bool = True) -> tuple[Any, Any]:
        """Take out the entry used last, or first."""
        with self.mutex:
            key = next(iter(reversed(self.data)) if last else iter(self.data))
            return key, self.data.pop(key)

    def incr(self, key: Any, delta: int = 1) -> int:
        """Add to a number, which is kept as text, as memcached does."""
        with self.mutex:
            value = int(self.data.pop(key)) + delta
            self[key] = str(value)
            return value

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "mutex"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, mutex=threading.RLock())


def memoize(
    maxsize: int | None = None, keyfun: Callable[..., Any] | None = None, Cache: type[LRUCache] = LRUCache
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: what a function has returned is kept, for the `maxsize` arguments used last."""

    def decorate(function: Callable[..., Any]) -> Any:
        cache = Cache(limit=maxsize)
        lock = threading.Lock()

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            key = keyfun(args, kwargs) if keyfun else (args, tuple(sorted(kwargs.items())))
            try:
                with lock:
                    value = cache[key]
            except KeyError:
                value = function(*args, **kwargs)
                with lock:
                    cache[key] = value
                remembering.misses += 1
            else:
                remembering.hits += 1
            return value

        def clear() -> None:
            cache.clear()
            remembering.hits = remembering.misses = 0

        remembering: Any = call
        remembering.clear = clear
        remembering.hits = remembering.misses = 0
        remembering.original_func = function
        return call

    return decorate


class lazy:
    """A value that a function makes each time it is asked for."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._fun, self._args, self._kwargs = fun, args, kwargs

    def evaluate(self) -> Any:
        """The value."""
        return self._fun(*self._args, **self._kwargs)

    def __call__(self) -> Any:
        return self.evaluate()

    def __str__(self) -> str:
        return str(self())

    def __repr__(self) -> str:
        return repr(self())

    def __eq__(self, other: object) -> bool:
        return bool(self() == other)

    def __hash__(self) -> int:
        return id(self)


class mlazy(lazy):
    """A value that is made once, when it is first asked for."""

    evaluated = False
    _value: Any = None

    def evaluate(self) -> Any:
        """The value."""
        if not self.evaluated:
            self._value, self.evaluated = super().evaluate(), True
        return self._value


def maybe_evaluate(value: Any) -> Any:
    """The value of one that is lazy; any other as it is."""
    return value.evaluate() if isinstance(value, lazy) else value
