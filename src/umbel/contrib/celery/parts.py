"""Small modules of ``celery.app``: annotations, autoretry, backends, pools, security, migration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from umbel.backends import known_schemes
from umbel.contrib.celery.backend import Backend
from umbel.contrib.celery.utils.caching import mlazy
from umbel.contrib.celery.utils.functional import firstmethod
from umbel.contrib.celery.utils.imports import instantiate, symbol_by_name
from umbel.errors import CapabilityError, ConfigurationError

__all__ = [
    "MapAnnotation",
    "TaskPool",
    "add_autoretry_behaviour",
    "by_name",
    "by_url",
    "cannot_move",
    "get_available_pool_names",
    "get_implementation",
    "prepare",
    "resolve_all",
    "setup_security",
]

# -------------------------------------------------------------------------------------------- annotations


class MapAnnotation(dict[str, Any]):
    """Attributes for tasks by their names; ``*`` is all of them."""

    def _of(self, name: str) -> dict[str, Any] | None:
        found = self.get(name)
        return dict(found) if isinstance(found, Mapping) else None

    def annotate_any(self) -> dict[str, Any] | None:
        """Those for all tasks."""
        return self._of("*")

    def annotate(self, task: Any) -> dict[str, Any] | None:
        """Those for this one."""
        return self._of(task.name)


def prepare(annotations: Any) -> Any:
    """A list of the setting task_annotations."""
    if annotations is None:
        return ()
    return [
        MapAnnotation(one)
        if isinstance(one, Mapping)
        else mlazy(instantiate, one)
        if isinstance(one, str)
        else one
        for one in (annotations if isinstance(annotations, list | tuple) else (annotations,))
    ]


_for_this = firstmethod("annotate")
_for_any = firstmethod("annotate_any")


def resolve_all(anno: Any, task: Any) -> Iterator[dict[str, Any]]:
    """The attributes that a list of annotations has for a task: its own, then those for all."""
    return (found for found in (_for_this(anno, task), _for_any(anno)) if found)


def add_autoretry_behaviour(task: Any, **options: Any) -> None:
    """Set ``autoretry_for`` and the options that go with it on a task. What obeys them is in the task already."""
    for name, value in options.items():
        setattr(task, name, value)


# ----------------------------------------------------------------------------------------------- backends


def by_name(
    backend: Any = None, loader: Any = None, extension_namespace: str = "celery.result_backends"
) -> Any:
    """The class of result stores of that name. Umbel has one class, whatever the server is."""
    if not isinstance(backend, str | None):
        return backend
    scheme = (backend or "disabled").partition("+")[0]
    if scheme == "disabled" or scheme in known_schemes():
        return Backend
    if "." not in scheme:
        raise ConfigurationError(
            f"There is no result store {backend!r}. There are {', '.join(sorted(known_schemes()))}."
        )
    return symbol_by_name(backend)


def by_url(backend: Any = None, loader: Any = None) -> tuple[Any, Any]:
    """Class and URL of a result store."""
    scheme, found, _ = backend.partition("://") if isinstance(backend, str) else (backend, "", "")
    return by_name(scheme, loader), backend if found else None


# -------------------------------------------------------------------------------------------------- pools

_POOLS = ("prefork", "threads", "asyncio", "solo")


class TaskPool:
    """Stands for a pool of Umbel's, which a worker makes for itself: ``worker --pool``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        raise CapabilityError(
            "Umbel's pools live inside a worker and cannot be made alone. Start a worker with --pool, or use concurrent.futures."
        )


def get_available_pool_names() -> tuple[str, ...]:
    """The names that ``--pool`` takes."""
    return _POOLS


def get_implementation(cls: Any) -> Any:
    """The class of a pool. Those of Umbel cannot be made alone."""
    name = {"processes": "prefork", "thread": "threads"}.get(cls, cls)
    return TaskPool if name in _POOLS else symbol_by_name(cls)


# ----------------------------------------------------------------------------------- what is done otherwise


def setup_security(*args: Any, **options: Any) -> NoReturn:
    """Raise ConfigurationError: signed messages are not in Umbel."""
    raise ConfigurationError(
        "Umbel neither signs messages nor checks signatures. Keep strangers from the broker: a password and TLS (rediss://, "
        "broker_use_ssl), users of Redis with rights of their own (ACL), and accept_content without pickle."
    )


def cannot_move(*args: Any, **options: Any) -> NoReturn:
    """Raise CapabilityError: waiting messages are not moved one by one."""
    raise CapabilityError(
        "Umbel does not move messages that wait. Let a worker consume the old queue too (-Q old,new), or revoke the calls and "
        "send them again with queue=...; dead letters go back with `umbel dead requeue`."
    )
