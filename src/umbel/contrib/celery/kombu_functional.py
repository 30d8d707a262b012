"""``kombu.utils``: helpers that programs import from there."""

from __future__ import annotations

import importlib
import inspect
import random
import threading
import time
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property as _cached_property
from functools import wraps
from itertools import count, repeat
from typing import Any

__all__ = [
    "ChannelPromise",
    "LRUCache",
    "TokenBucket",
    "accepts_argument",
    "bytes_to_str",
    "cached_property",
    "default_encode",
    "default_encoding",
    "dictfilter",
    "ensure_bytes",
    "fxrange",
    "fxrangemax",
    "is_list",
    "lazy",
    "maybe_evaluate",
    "maybe_list",
    "memoize",
    "nested",
    "reprcall",
    "reprkwargs",
    "retry_over_time",
    "safe_repr",
    "safe_str",
    "shufflecycle",
    "str_to_bytes",
    "symbol_by_name",
]

# ------------------------------------------------------------------------------------------------- encoding


def str_to_bytes(value: Any) -> Any:
    """Text as bytes; everything else as it is."""
    return value.encode() if isinstance(value, str) else value


def bytes_to_str(value: Any) -> Any:
    """Bytes as text; everything else as it is."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


ensure_bytes = str_to_bytes


def default_encoding(file: Any = None) -> str:
    """UTF-8."""
    return "utf-8"


def default_encode(value: Any) -> Any:
    """`value` as it is."""
    return value


def safe_str(value: Any, errors: str = "replace") -> str:
    """`value` as text, whatever it is."""
    if isinstance(value, bytes):
        return value.decode(errors=errors)
    return value if isinstance(value, str) else safe_repr(value, errors)


def safe_repr(value: Any, errors: str = "replace") -> str:
    """Its repr, or, when that fails, something in its place."""
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001 - whatever a broken __repr__ raises
        return f"<Unrepresentable {type(value)!r}: {type(exc).__name__}>"


# ----------------------------------------------------------------------------------------------- containers


class LRUCache(UserDict[Any, Any]):
    """A dict of at most `limit` entries: of more, the one that was used least recently goes."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.mutex = threading.RLock()
        self.data: Any = OrderedDict()

    def __getitem__(self, key: Any) -> Any:
        with self.mutex:
            value = self.data[key]
            self.data.move_to_end(key)
            return value

    def __setitem__(self, key: Any, value: Any) -> None:
        with self.mutex:
            if key not in self.data and self.limit and len(self.data) >= self.limit:
                self.data.popitem(last=False)
            self.data[key] = value
            self.data.move_to_end(key)

    def popitem(self, last: bool = True) -> tuple[Any, Any]:
        """Remove the entry that was used most recently, or least recently."""
        with self.mutex:
            key, value = self.data.popitem(last)
            return key, value

    def incr(self, key: Any, delta: int = 1) -> int:
        """Add to a number; it is kept as text."""
        with self.mutex:
            number = int(self.data.pop(key)) + delta
            self[key] = str(number)
            return number

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "mutex"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.mutex = threading.RLock()


def is_list(value: Any, scalars: Any = (Mapping, str), iters: Any = (Iterable,)) -> bool:
    """Whether it can be iterated, and is neither text nor a dict."""
    return isinstance(value, iters) and not isinstance(value, scalars or ())


def maybe_list(value: Any, scalars: Any = (Mapping, str)) -> Any:
    """A list of one for what is no list; None stays None."""
    return value if value is None or is_list(value, scalars) else [value]


def dictfilter(d: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The entries whose value is not None."""
    return {key: value for key, value in {**(d or {}), **more}.items() if value is not None}


# ------------------------------------------------------------------------------------------------ functions


class lazy:
    """A call that is made whenever its value is asked for."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._fun, self._args, self._kwargs = fun, args, kwargs

    def evaluate(self) -> Any:
        """The value."""
        return self._fun(*self._args, **self._kwargs)

    __call__ = evaluate

    def __str__(self) -> str:
        return str(self())

    def __repr__(self) -> str:
        return repr(self())

    def __eq__(self, other: object) -> bool:
        return bool(self() == other)

    __hash__ = object.__hash__


class ChannelPromise:
    """A channel that is opened when first called for."""

    def __init__(self, contract: Callable[[], Any]) -> None:
        self._contract = contract

    def __call__(self) -> Any:
        if "_value" not in vars(self):
            self._value = self._contract()
        return self._value


def maybe_evaluate(value: Any) -> Any:
    """The value of what is ``lazy``; everything else as it is."""
    return value.evaluate() if isinstance(value, lazy) else value


def memoize(maxsize: int | None = None, keyfun: Any = None, Cache: Any = LRUCache) -> Any:
    """Decorator: remember what the function returned."""

    def decorate(fun: Callable[..., Any]) -> Any:
        cache, mutex = Cache(limit=maxsize), threading.Lock()

        @wraps(fun)
        def remembered(*args: Any, **kwargs: Any) -> Any:
            key = keyfun(args, kwargs) if keyfun else (args, tuple(sorted(kwargs.items())))
            with mutex:
                if key in cache:
                    remembered.hits += 1  # type: ignore[attr-defined]
                    return cache[key]
            value = fun(*args, **kwargs)
            with mutex:
                remembered.misses += 1  # type: ignore[attr-defined]
                cache[key] = value
            return value

        def clear() -> None:
            cache.clear()
            vars(remembered).update(hits=0, misses=0)

        vars(remembered).update(hits=0, misses=0, clear=clear, original_func=fun)
        return remembered

    return decorate


def reprkwargs(kwargs: Mapping[str, Any], sep: str = ", ", fmt: str = "{0}={1}") -> str:
    """Keyword arguments as in source."""
    return sep.join(fmt.format(name, safe_repr(value)) for name, value in kwargs.items())


def reprcall(name: str, args: Any = (), kwargs: Any = None, sep: str = ", ") -> str:
    """A call as in source."""
    parts = [*map(safe_repr, args or ()), *filter(None, [reprkwargs(kwargs or {}, sep)])]
    return f"{name}({sep.join(parts)})"


def accepts_argument(func: Any, argument_name: str) -> bool:
    """Whether a function has a parameter of this name."""
    spec = inspect.getfullargspec(func)
    return argument_name in spec.args or argument_name in spec.kwonlyargs


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, Any] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    **options: Any,
) -> Any:
    """What ``"module.Name"`` or ``"module:Name"`` names; what is no text as it is. `default`: when it is not there."""
    if not isinstance(name, str):
        return name
    default = options.pop("default", None)
    name = (aliases or {}).get(name) or name
    module, _, attribute = name.rpartition(":" if ":" in name else options.pop("sep", "."))
    if not module:
        module, attribute = (package or attribute), "" if not package else attribute
    try:
        found = (imp or importlib.import_module)(module, package=package)
        return getattr(found, attribute) if attribute else found
    except (ImportError, AttributeError):
        if default is None:
            raise
        return default


class cached_property(_cached_property[Any]):
    """``functools.cached_property``, with setters."""

    def __init__(self, fget: Any = None, fset: Any = None, fdel: Any = None) -> None:
        super().__init__(fget)
        self._set, self._del = fset, fdel

    def __set__(self, instance: Any, value: Any) -> None:
        if self._set is not None:
            value = self._set(instance, value)
        vars(instance)[self.attrname or ""] = value

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is not None and self.attrname in vars(instance):
            return vars(instance)[self.attrname]
        return super().__get__(instance, owner)

    def __delete__(self, instance: Any) -> None:
        value = vars(instance).pop(self.attrname or "", self)
        if self._del is not None and value is not self:
            self._del(instance, value)

    def setter(self, fset: Any) -> cached_property:
        """Decorator: called with what is assigned; what it returns is kept."""
        return type(self)(self.func, fset, self._del)

    def deleter(self, fdel: Any) -> cached_property:
        """Decorator: called with what is deleted."""
        return type(self)(self.func, self._set, fdel)


@contextmanager
def nested(*managers: Any) -> Iterator[list[Any]]:
    """All of these context managers in one."""
    with ExitStack() as stack:
        yield [stack.enter_context(manager) for manager in managers]


# ------------------------------------------------------------------------------------------------- patience


def shufflecycle(it: Iterable[Any]) -> Iterator[Any]:
    """Its elements by chance, without end."""
    items = list(it)
    for _ in repeat(None):
        yield random.choice(items)


def fxrange(
    start: float = 1.0, stop: float | None = None, step: float = 1.0, repeatlast: bool = False
) -> Iterator[float]:
    """``range`` for floats, `stop` included."""
    value = start * 1.0
    while not stop or value <= stop:
        yield value
        value += step
    while repeatlast:
        yield value - step


def fxrangemax(
    start: float = 1.0, stop: float | None = None, step: float = 1.0, max: float = 100.0
) -> Iterator[float]:
    """``fxrange`` that ends when the sum would be `max`."""
    total, value = 0.0, start * 1.0
    while total < max:
        yield value
        value = min(value + step, stop) if stop else value + step
        total += value


def retry_over_time(
    fun: Callable[..., Any],
    catch: Any,
    args: Any = None,
    kwargs: Any = None,
    errback: Callable[..., Any] | None = None,
    max_retries: int | None = None,
    **options: Any,
) -> Any:
    """Call `fun` until it does not raise one of `catch`.

    Between two tries it sleeps `interval_start` (2) seconds, each time `interval_step` (2) more, `interval_max` (30) at most, or
    what ``errback(exc, intervals, retries)`` returns. It gives up after `max_retries`, or after `timeout` seconds.
    """
    step, most = options.pop("interval_step", 2), options.pop("interval_max", 30)
    start, timeout = options.pop("interval_start", 2), options.pop("timeout", None)
    callback = options.pop("callback", None)
    intervals = (min(v, float(most)) for v in fxrange(start, most + start, step, repeatlast=True))
    end = time.monotonic() + timeout if timeout else None
    for retries in count():
        try:
            return fun(*(args or ()), **(kwargs or {}))
        except catch as exc:
            if max_retries is not None and retries >= max_retries:
                raise
            if end is not None and time.monotonic() > end:
                raise
            if callback is not None:
                callback()
            pause = errback(exc, intervals, retries) if errback is not None else next(intervals)
            time.sleep(max(min(float(pause), float(most)), 0.0))
    return None


class TokenBucket:
    """`fill_rate` tokens a second, of which `capacity` can be saved. Not safe in threads."""

    def __init__(self, fill_rate: float, capacity: float = 1) -> None:
        self.capacity = float(capacity)
        self.fill_rate = float(fill_rate)
        self._tokens = float(capacity)
        self.timestamp = time.monotonic()
        self.contents: deque[Any] = deque()

    def add(self, item: Any) -> None:
        """Let something wait with the bucket."""
        self.contents.append(item)

    def pop(self) -> Any:
        """The first that waits."""
        return self.contents.popleft()

    def clear_pending(self) -> None:
        """Nothing waits any more."""
        self.contents.clear()

    def can_consume(self, tokens: float = 1) -> bool:
        """Take `tokens`, if there are so many."""
        enough = tokens <= self._fill()
        if enough:
            self._tokens -= tokens
        return enough

    def expected_time(self, tokens: float = 1) -> float:
        """In how many seconds there will be `tokens`."""
        return max(tokens - self._fill(), 0.0) / self.fill_rate

    def _fill(self) -> float:
        now = time.monotonic()
        self._tokens = min(self.capacity, self._tokens + self.fill_rate * (now - self.timestamp))
        self.timestamp = now
        return self._tokens
