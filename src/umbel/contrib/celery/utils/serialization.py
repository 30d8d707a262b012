"""``celery.utils.serialization``: exceptions that can be pickled, values that can be JSON."""

from __future__ import annotations

import base64
import itertools
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import cache
from inspect import getmro
from numbers import Real
from typing import Any

__all__ = [
    "STRTOBOOL_DEFAULT_TABLE",
    "UnpickleableExceptionWrapper",
    "b64decode",
    "b64encode",
    "create_exception_cls",
    "ensure_serializable",
    "find_pickleable_exception",
    "get_pickleable_etype",
    "get_pickleable_exception",
    "get_pickled_exception",
    "itermro",
    "jsonify",
    "raise_with_context",
    "reraise",
    "strtobool",
    "subclass_exception",
    "unwanted_base_classes",
]

unwanted_base_classes = (Exception, BaseException, object)
STRTOBOOL_DEFAULT_TABLE = {
    "false": False,
    "no": False,
    "0": False,
    "off": False,
    "true": True,
    "yes": True,
    "1": True,
    "on": True,
}


def subclass_exception(name: str, parent: type[BaseException], module: str) -> type[BaseException]:
    """A new class of exceptions."""
    return type(name, (parent,), {"__module__": module})


def itermro(cls: type, stop: tuple[type, ...]) -> Iterator[type]:
    """A class and those above it, down to the first of `stop`."""
    return itertools.takewhile(lambda base: base not in stop, getmro(cls))


def _survives(exc: BaseException, loads: Callable[..., Any], dumps: Callable[..., Any]) -> bool:
    try:
        loads(dumps(exc))
    except Exception:  # noqa: BLE001 - whatever it raises, it cannot be pickled
        return False
    return True


def find_pickleable_exception(
    exc: BaseException, loads: Callable[..., Any] = pickle.loads, dumps: Callable[..., Any] = pickle.dumps
) -> BaseException | None:
    """An exception of the nearest class of `exc` that can be pickled, below Exception; None when there is none."""
    args = getattr(exc, "args", ())
    for cls in itermro(type(exc), unwanted_base_classes):
        try:
            candidate = cls(*args)
        except Exception:  # noqa: BLE001 - a class that wants other arguments is passed over
            continue
        if _survives(candidate, loads, dumps):
            return candidate  # type: ignore[no-any-return]
    return None


def get_pickleable_etype(
    cls: type, loads: Callable[..., Any] = pickle.loads, dumps: Callable[..., Any] = pickle.dumps
) -> type:
    """The nearest class that can be pickled."""
    return next((base for base in getmro(cls) if _survives(base, loads, dumps)), Exception)  # type: ignore[arg-type]


@cache
def create_exception_cls(
    name: str, module: str, parent: type[BaseException] = Exception
) -> type[BaseException]:
    """A class of exceptions for one that is not here."""
    return subclass_exception(name, parent, module)


class UnpickleableExceptionWrapper(Exception):
    """Stands for an exception that cannot be pickled."""

    def __init__(
        self, exc_module: str, exc_cls_name: str, exc_args: Iterable[Any], text: str | None = None
    ) -> None:
        safe = ensure_serializable(exc_args, pickle.dumps)
        self.exc_module, self.exc_cls_name, self.exc_args, self.text = exc_module, exc_cls_name, safe, text
        super().__init__(exc_module, exc_cls_name, safe, text)

    def restore(self) -> BaseException:
        """An exception with the name of the one that it stands for."""
        return create_exception_cls(self.exc_cls_name, self.exc_module)(*self.exc_args)

    @classmethod
    def from_exception(cls, exc: BaseException) -> UnpickleableExceptionWrapper:
        """One that stands for `exc`."""
        return cls(type(exc).__module__, type(exc).__name__, getattr(exc, "args", ()), repr(exc))

    def __str__(self) -> str:
        return self.text or f"{self.exc_module}.{self.exc_cls_name}{self.exc_args!r}"


def ensure_serializable(items: Iterable[Any], encoder: Callable[[Any], Any]) -> tuple[Any, ...]:
    """`items`; those that `encoder` cannot write as their ``repr()``."""
    safe = []
    for item in items:
        try:
            encoder(item)
        except Exception:  # noqa: BLE001 - whatever it raises, it cannot be written
            safe.append(repr(item))
        else:
            safe.append(item)
    return tuple(safe)


def get_pickleable_exception(exc: BaseException) -> BaseException:
    """`exc` itself, one of a class above its own, or one that stands for it: whichever can be pickled first."""
    if _survives(exc, pickle.loads, pickle.dumps):
        return exc
    return find_pickleable_exception(exc) or UnpickleableExceptionWrapper.from_exception(exc)


def get_pickled_exception(exc: Any) -> Any:
    """The way back."""
    return exc.restore() if isinstance(exc, UnpickleableExceptionWrapper) else exc


def b64encode(s: str | bytes) -> str:
    """Base64 of bytes, or of a text in UTF-8."""
    return base64.b64encode(s.encode() if isinstance(s, str) else s).decode()


def b64decode(s: str | bytes) -> bytes:
    """The bytes."""
    return base64.b64decode(s)


def strtobool(term: Any, table: Mapping[str, Any] | None = None) -> Any:
    """What yes, no, true, false, on, off, 1 and 0 mean. What is no string is returned as it is."""
    if not isinstance(term, str):
        return term
    try:
        return (STRTOBOOL_DEFAULT_TABLE if table is None else table)[term.lower()]
    except KeyError:
        raise TypeError(f"Cannot coerce {term!r} to type bool") from None


def jsonify(
    obj: Any,
    builtin_types: tuple[type, ...] = (Real, str),
    key: Any = None,
    keyfilter: Callable[[Any], Any] | None = None,
    unknown_type_filter: Callable[[Any], Any] | None = None,
) -> Any:
    """`obj` made of what JSON has: lists for tuples, texts for times. `key` is named in errors."""

    def inside(value: Any, key: Any) -> Any:
        return jsonify(value, builtin_types, key, keyfilter, unknown_type_filter)

    if obj is None or isinstance(obj, builtin_types):
        return obj
    if isinstance(obj, tuple | list):
        return [inside(item, key) for item in obj]
    if isinstance(obj, dict):
        return {k: inside(v, k) for k, v in obj.items() if not keyfilter or keyfilter(k)}
    if isinstance(obj, datetime):
        text = obj.isoformat(timespec="milliseconds" if obj.microsecond else "seconds")
        return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
    if isinstance(obj, date | time):
        return obj.isoformat()
    if isinstance(obj, timedelta):
        return str(obj)
    if unknown_type_filter is None:
        raise ValueError(f"Unsupported type: {type(obj)!r} {obj!r} (parent: {key})")
    return unknown_type_filter(obj)


def raise_with_context(exc: BaseException) -> None:
    """Raise `exc` with the exception that is being handled as its cause."""
    handled = sys.exc_info()[1]
    if handled is None:
        raise exc
    if handled is exc:
        raise
    raise exc from handled


def reraise(tp: Any, value: BaseException, tb: Any = None) -> None:
    """Raise `value` with that traceback."""
    raise value if tb is None or value.__traceback__ is tb else value.with_traceback(tb)
