"""``celery.utils.functional``: small helpers for functions and iterables."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections import UserList
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from umbel.contrib.celery.utils.caching import LRUCache, lazy, maybe_evaluate, memoize, mlazy

__all__ = [
    "LRUCache",
    "arity_greater",
    "chunks",
    "dictfilter",
    "evaluate_promises",
    "first",
    "firstmethod",
    "fun_accepts_kwargs",
    "fun_takes_argument",
    "head_from_fun",
    "is_list",
    "is_numeric_value",
    "lazy",
    "lookahead",
    "mattrgetter",
    "maybe",
    "maybe_evaluate",
    "maybe_list",
    "memoize",
    "mlazy",
    "noop",
    "padlist",
    "pass1",
    "regen",
    "seq_concat_item",
    "seq_concat_seq",
    "uniq",
]


def noop(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


def pass1(arg: Any, *args: Any, **kwargs: Any) -> Any:
    """The first argument."""
    return arg


def is_list(
    obj: Any, scalars: tuple[type, ...] = (Mapping, str), iters: tuple[type, ...] = (Iterable,)
) -> bool:
    """Whether it can be looped over and is neither a text nor a mapping."""
    return isinstance(obj, iters) and not isinstance(obj, scalars)


def maybe_list(obj: Any, scalars: tuple[type, ...] = (Mapping, str)) -> Any:
    """`obj` in a list, unless it is one, or None."""
    return obj if obj is None or is_list(obj, scalars) else [obj]


def dictfilter(d: Mapping[str, Any] | None = None, **kw: Any) -> dict[str, Any]:
    """What is not None."""
    return {key: value for key, value in {**(d or {}), **kw}.items() if value is not None}


def evaluate_promises(it: Iterable[Any]) -> Iterator[Any]:
    """Each of `it`, and the values of those that are lazy."""
    return (maybe_evaluate(item) for item in it)


def first(predicate: Callable[[Any], Any] | None, it: Iterable[Any]) -> Any:
    """The first for which `predicate` holds; without one the first that is not None."""
    return next((item for item in it if (item is not None if predicate is None else predicate(item))), None)


def firstmethod(method: str, on_call: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function of a list of objects: what the first of them that returns something from `method` returns."""

    def call(it: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for item in it:
            bound = getattr(maybe_evaluate(item), method, None)
            if bound is None:
                continue
            value = on_call(bound, *args, **kwargs) if on_call else bound(*args, **kwargs)
            if value is not None:
                return value
        return None

    return call


def chunks(it: Iterator[Any], n: int) -> Iterator[list[Any]]:
    """Lists of `n`, the last shorter."""
    while taken := list(itertools.islice(it, n)):
        yield taken


def padlist(container: Sequence[Any], size: int, default: Any = None) -> list[Any]:
    """`size` elements: those of `container`, and as many of `default` as are wanting."""
    return list(container[:size]) + [default] * (size - len(container))


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """A function that returns these attributes of an object; None for those that it does not have."""
    return lambda obj: {name: getattr(obj, name, None) for name in attrs}


def uniq(it: Iterable[Any]) -> Iterator[Any]:
    """Each once, in their order."""
    seen: set[Any] = set()
    return (item for item in it if not (item in seen or seen.add(item)))  # type: ignore[func-returns-value]


def lookahead(it: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Each with the one after it, the last with None."""
    here, after = itertools.tee(it)
    next(after, None)
    return itertools.zip_longest(here, after)


def maybe(typ: Callable[[Any], Any], val: Any) -> Any:
    """``typ(val)``, unless `val` is None."""
    return None if val is None else typ(val)


def is_numeric_value(value: Any) -> bool:
    """Whether it is an int or a float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def seq_concat_item(seq: Any, item: Any) -> Any:
    """`seq` and `item` behind it, as a new sequence of its kind."""
    return seq + (item,) if isinstance(seq, tuple) else seq + [item]  # noqa: RUF005


def seq_concat_seq(a: Any, b: Any) -> Any:
    """`a` and `b`, as a sequence of the kind of the longer one; of `a`'s when they are as long."""
    kind = type(a) if len(a) >= len(b) else type(b)
    return kind(a) + kind(b)


class _regen(UserList[Any], list[Any]):  # type: ignore[misc]
    """A list of what an iterator yields, which is asked for each element once and not before it is needed."""

    def __init__(self, it: Iterable[Any]) -> None:
        self._it = iter(it)
        self._seen: list[Any] = []
        self._then: list[Callable[[Any], Any]] = []

    def map(self, func: Callable[[Any], Any]) -> None:
        """Let `func` stand before each element that is still to come out."""
        self._then.append(func)

    @property
    def data(self) -> list[Any]:  # type: ignore[override]
        """All of it."""
        for _ in self._more():
            pass
        return self._seen

    def _more(self) -> Iterator[Any]:
        for item in self._it:
            self._seen.append(item)
            yield item

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while position < len(self._seen) or next(self._more(), self) is not self:
            value = self._seen[position]
            for func in self._then:
                value = func(value)
            yield value
            position += 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= 0:
            found = next(itertools.islice(self, index, None), self)
            if found is self:
                raise IndexError("list index out of range")
            return found
        return self.data[index]

    def __bool__(self) -> bool:
        return bool(self._seen) or next(self._more(), self) is not self

    def __len__(self) -> int:
        return len(self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join([*map(repr, self._seen), '...'])}]>"

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, _regen) else other)


def regen(it: Iterable[Any]) -> Any:
    """`it`, so that it can be looped over again: lists and tuples as they are, the rest as a list that fills itself."""
    return it if isinstance(it, list | tuple) else _regen(it)


# ---------------------------------------------------------------------------------------------- signatures

_KINDS = inspect.Parameter


def _parameters(fun: Callable[..., Any]) -> tuple[list[str], str | None, str | None]:
    """The names of positional parameters, of ``*args`` and of ``**kwargs``."""
    found = inspect.signature(fun).parameters.values()
    names = [p.name for p in found if p.kind in (_KINDS.POSITIONAL_ONLY, _KINDS.POSITIONAL_OR_KEYWORD)]
    many = next((p.name for p in found if p.kind is _KINDS.VAR_POSITIONAL), None)
    named = next((p.name for p in found if p.kind is _KINDS.VAR_KEYWORD), None)
    return names, many, named


def arity_greater(fun: Callable[..., Any], n: int) -> Any:
    """Whether it takes more than `n` positional arguments."""
    names, many, _ = _parameters(fun)
    return many or len(names) > n


def fun_takes_argument(name: str, fun: Callable[..., Any], position: int | None = None) -> Any:
    """Whether it takes an argument `name`, or so many positional ones."""
    names, many, named = _parameters(fun)
    return named or many or (len(names) >= position if position else name in names)


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Whether it takes keyword arguments of any name."""
    return _parameters(fun)[2] is not None


def head_from_fun(fun: Callable[..., Any], bound: bool = False) -> Callable[..., Any]:
    """A function that takes the arguments which `fun` takes, raises TypeError for others, and does nothing else.

    `bound`: `fun` is a function of a class, called without ``self``.
    """
    named = inspect.isfunction(fun) or inspect.ismethod(fun)
    name = fun.__name__ if named else type(fun).__name__
    function = fun.__func__ if inspect.ismethod(fun) else fun
    signature = inspect.signature(function)
    if bound:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])

    def head(*args: Any, **kwargs: Any) -> int:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{name}() {exc}") from None
        return 1

    if named:
        functools.update_wrapper(head, function)
    vars(head).pop("__wrapped__", None)
    return head
