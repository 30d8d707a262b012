"""``celery.utils.collections``: mappings that look like objects, and the other way round."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from umbel.contrib.celery.utils.limited import BufferMap, LimitedSet, Messagebuffer

__all__ = [
    "AttributeDict",
    "AttributeDictMixin",
    "BufferMap",
    "ChainMap",
    "DictAttribute",
    "LimitedSet",
    "Messagebuffer",
    "OrderedDict",
    "force_mapping",
    "lpmerge",
]


class OrderedDict(collections.OrderedDict[Any, Any]):
    """A dict that keeps its order."""


class AttributeDictMixin:
    """Keys of a mapping as attributes."""

    def __getattr__(self, k: str) -> Any:
        try:
            return self[k]  # type: ignore[index]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {k!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value  # pyright: ignore[reportIndexIssue]


class AttributeDict(dict[str, Any], AttributeDictMixin):
    """A dict whose keys are attributes too."""


class DictAttribute:
    """An object whose attributes are keys too."""

    obj: Any

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    def __getattr__(self, key: str) -> Any:
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __contains__(self, key: str) -> bool:
        return hasattr(self.obj, key)

    def __iter__(self) -> Iterator[str]:
        return iter(dir(self.obj))

    def __len__(self) -> int:
        return len(dir(self.obj))

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute, or `default`."""
        return getattr(self.obj, key, default)

    def setdefault(self, key: str, default: Any = None) -> None:
        """Set an attribute that is not there."""
        if key not in self:
            self[key] = default

    def keys(self) -> list[str]:
        """The names of its attributes."""
        return list(self)

    def values(self) -> list[Any]:
        """Their values."""
        return [getattr(self.obj, key) for key in self]

    def items(self) -> list[tuple[str, Any]]:
        """Both."""
        return [(key, getattr(self.obj, key)) for key in self]


def force_mapping(m: Any) -> Any:
    """`m`, or where it is no mapping a view of its attributes as one."""
    return m if isinstance(m, Mapping) else DictAttribute(m)


def lpmerge(L: dict[Any, Any], R: Mapping[Any, Any]) -> dict[Any, Any]:
    """Take from `R` what is not None into `L`."""
    L.update((key, value) for key, value in R.items() if value is not None)
    return L


class ChainMap(MutableMapping[Any, Any]):
    """Several mappings, of which the first that has a key answers. Changes go to the first."""

    key_t: Callable[[Any], Any] | None = None
    changes: Any
    defaults: list[Any]
    maps: list[Any]

    def __init__(self, *maps: MutableMapping[Any, Any], **kwargs: Any) -> None:
        chain = list(maps or ({},))
        vars(self).update(
            key_t=kwargs.get("key_t"), maps=chain, changes=chain[0], defaults=chain[1:], _observers=[]
        )

    def _key(self, key: Any) -> Any:
        return self.key_t(key) if self.key_t is not None else key

    def __getitem__(self, key: Any) -> Any:
        wanted = self._key(key)
        for mapping in self.maps:
            if wanted in mapping:
                return mapping[wanted]
        return self.__missing__(key)

    def __missing__(self, key: Any) -> Any:
        raise KeyError(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.changes[self._key(key)] = value

    def __delitem__(self, key: Any) -> None:
        try:
            del self.changes[self._key(key)]
        except KeyError:
            raise KeyError(f"Key not found in the first mapping: {key!r}") from None

    def __iter__(self) -> Iterator[Any]:
        return iter(dict.fromkeys(key for mapping in reversed(self.maps) for key in mapping))

    def __len__(self) -> int:
        return len(set().union(*self.maps))

    def __contains__(self, key: object) -> bool:
        wanted = self._key(key)
        return any(wanted in mapping for mapping in self.maps)

    def __bool__(self) -> bool:
        return any(self.maps)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.maps))})"

    def add_defaults(self, d: Any) -> None:
        """Put a mapping before the other defaults."""
        self.defaults.insert(0, force_mapping(d))
        self.maps.insert(1, self.defaults[0])

    def pop(self, key: Any, *default: Any) -> Any:
        """Take a key out of the first mapping."""
        try:
            return self.changes.pop(key, *default)
        except KeyError:
            raise KeyError(f"Key not found in the first mapping: {key!r}") from None

    def clear(self) -> None:
        """Take back all changes."""
        self.changes.clear()

    def setdefault(self, key: Any, default: Any = None) -> None:
        """Set a key that no mapping has."""
        if self._key(key) not in self:
            self[key] = default

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Change many keys; tell those that ``bind_to()`` has named."""
        self.changes.update(*args, **kwargs)
        for callback in vars(self)["_observers"]:
            callback(*args, **kwargs)

    def bind_to(self, callback: Callable[..., Any]) -> None:
        """Call `callback` after each ``update()``, with its arguments."""
        vars(self)["_observers"].append(callback)

    @classmethod
    def fromkeys(cls, iterable: Iterable[Any], *args: Any) -> ChainMap:
        """One with these keys."""
        return cls(dict.fromkeys(iterable, *args))

    def copy(self) -> ChainMap:
        """One with changes of its own."""
        return type(self)(self.maps[0].copy(), *self.maps[1:])
