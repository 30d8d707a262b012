"""``celery.local``: objects that stand for others."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from umbel.context import Proxy as BaseProxy

__all__ = ["PromiseProxy", "Proxy", "class_property", "maybe_evaluate", "try_import"]


class Proxy(BaseProxy):
    """Stands for what ``local(*args, **kwargs)`` returns, at each use; or for the attribute `name` of a ``Local``."""

    __slots__ = ("_about", "_values")

    def __init__(
        self,
        local: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        __doc__: str | None = None,
    ) -> None:
        def lookup() -> Any:
            if hasattr(local, "__release_local__"):
                try:
                    return getattr(local, name or "")
                except AttributeError:
                    raise RuntimeError(f"no object bound to {name}") from None
            return local(*(args or ()), **(kwargs or {}))

        super().__init__(lookup)
        object.__setattr__(self, "_about", (name, __doc__))
        object.__setattr__(self, "_values", [])

    @property
    def __name__(self) -> str:
        name = object.__getattribute__(self, "_about")[0]
        return name or self._get_current_object().__name__  # type: ignore[no-any-return]

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return object.__getattribute__(self, "_about")[1] or self._get_current_object().__doc__

    @property
    def __module__(self) -> Any:  # type: ignore[override]
        return self._get_current_object().__module__

    def __iter__(self) -> Iterator[Any]:
        return iter(self._get_current_object())

    def __len__(self) -> int:
        return len(self._get_current_object())

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._get_current_object()[key]

    def __contains__(self, item: object) -> bool:
        return item in self._get_current_object()

    def __enter__(self) -> Any:
        return self._get_current_object().__enter__()

    def __exit__(self, *exc_info: Any) -> Any:
        return self._get_current_object().__exit__(*exc_info)

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()


class PromiseProxy(Proxy):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A proxy that looks once, when it is first used."""

    __slots__ = ()

    def _get_current_object(self) -> Any:
        values = object.__getattribute__(self, "_values")
        if not values:
            values.append(super()._get_current_object())
        return values[0]

    def __evaluated__(self) -> bool:
        """Whether it has looked."""
        return bool(object.__getattribute__(self, "_values"))

    def __maybe_evaluate__(self) -> Any:
        """What it stands for."""
        return self._get_current_object()

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `fun` now."""
        return fun(*args, **kwargs)


def _forward(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(operator, name)
    return lambda self, *args: function(self._get_current_object(), *args)


def _reflect(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(operator, name)
    return lambda self, other: function(other, self._get_current_object())


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift")
for _name in _BINARY:
    setattr(Proxy, f"__{_name}__", _forward(f"__{_name}__"))
    setattr(Proxy, f"__r{_name}__", _reflect(f"__{_name}__"))
for _name in ("lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "index"):
    setattr(Proxy, f"__{_name}__", _forward(f"__{_name}__"))
for _type in (int, float, complex):
    setattr(Proxy, f"__{_type.__name__}__", lambda self, _type=_type: _type(self._get_current_object()))


def maybe_evaluate(obj: Any) -> Any:
    """What a ``PromiseProxy`` stands for; anything else as it is."""
    return obj.__maybe_evaluate__() if type(obj) is PromiseProxy else obj


def try_import(module: str, default: Any = None) -> ModuleType | Any:
    """A module, or `default` when there is none of that name."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return default


class class_property:
    """A decorator like ``property``, for the class itself."""

    def __init__(self, getter: Any = None, setter: Any = None) -> None:
        self._getter, self._setter = _function(getter), _function(setter)

    def __get__(self, obj: Any, type: Any = None) -> Any:
        return self._getter(obj.__class__ if type is None else type)

    def __set__(self, obj: Any, value: Any) -> Any:
        if obj is None:
            return self
        return self._setter(obj.__class__, value)

    def setter(self, setter: Any) -> class_property:
        """The same with a setter."""
        return type(self)(self._getter, setter)


def _function(method: Any) -> Any:
    return method.__func__ if isinstance(method, classmethod) else method
