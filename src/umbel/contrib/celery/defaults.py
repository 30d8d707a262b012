"""``celery.app.defaults``: the table of settings, in Celery's form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from umbel.contrib.celery.utils.serialization import strtobool
from umbel.settings import OLD_NAMES, SETTINGS, Setting

__all__ = [
    "DEFAULTS",
    "DEFAULT_ACCEPT_CONTENT",
    "DEFAULT_POOL",
    "DEFAULT_PROCESS_LOG_FMT",
    "DEFAULT_SECURITY_DIGEST",
    "DEFAULT_TASK_LOG_FMT",
    "NAMESPACES",
    "OLD_NS",
    "OLD_NS_BEAT",
    "OLD_NS_WORKER",
    "SETTING_KEYS",
    "Option",
    "find",
    "flatten",
    "searchresult",
]

_ALONE = {"accept_content", "result_accept_content", "enable_utc", "imports", "include", "timezone"}
_KINDS = {"duration": "float", "str": "string", "url": "string", "policy": "dict"}
_CELERYS = {"task_acks_late": False, "task_reject_on_worker_lost": None, "worker_hijack_root_logger": True}
OLD_NS = {"celery_{0}"}
OLD_NS_BEAT = {"celerybeat_{0}"}
OLD_NS_WORKER = {"celeryd_{0}"}


class Option:
    """One setting: its default and the type of its values."""

    typemap: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "string": str,
        "int": int,
        "float": float,
        "any": lambda value: value,
        "bool": strtobool,
        "dict": dict,
        "tuple": tuple,
        "list": list,
    }
    alt: Any = None
    deprecate_by: Any = None
    remove_by: Any = None
    old: Any = frozenset()

    def __init__(self, default: Any = None, *args: Any, **kwargs: Any) -> None:
        self.default = default
        self.type: str = "string"
        vars(self).update(kwargs)

    def to_python(self, value: Any) -> Any:
        """`value` as one of that type."""
        return self.typemap[self.type](value)

    def __repr__(self) -> str:
        return f"<Option: type->{self.type} default->{self.default!r}>"


class searchresult(NamedTuple):
    """What ``find()`` returns."""

    namespace: str | None
    key: str
    type: Any


def _option(setting: Setting) -> Option:
    default = _CELERYS.get(setting.name, setting.default)
    return Option(default, type=_KINDS.get(setting.kind, setting.kind), old=frozenset(setting.old))


def _namespaces() -> dict[str, Any]:
    spaces: dict[str, Any] = {}
    for setting in SETTINGS.values():
        space, _, key = setting.name.partition("_")
        if setting.name in _ALONE or not key:
            spaces[setting.name] = _option(setting)
        else:
            spaces.setdefault(space, {})[key] = _option(setting)
    return spaces


def flatten(
    d: Mapping[str, Any], root: str = "", keyfilter: Callable[[str, str, Any], Any] | None = None
) -> Iterator[Any]:
    """Whole names and options of a table in namespaces."""
    for name, value in d.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{root}{name}_", keyfilter)
        else:
            found = keyfilter(root.rstrip("_"), name, value) if keyfilter else None
            yield from found if found is not None else [(f"{root}{name}", value)]


NAMESPACES: dict[str, Any] = _namespaces()
DEFAULTS: dict[str, Any] = {name: option.default for name, option in flatten(NAMESPACES)}
SETTING_KEYS = set(DEFAULTS)
_OLD_SETTING_KEYS = set(OLD_NAMES)
DEFAULT_POOL = "prefork"
DEFAULT_ACCEPT_CONTENT = ("json",)
DEFAULT_PROCESS_LOG_FMT: str = DEFAULTS["worker_log_format"]
DEFAULT_TASK_LOG_FMT: str = DEFAULTS["worker_task_log_format"]
DEFAULT_SECURITY_DIGEST = "sha256"


def find(name: str, namespace: str = "celery") -> searchresult:
    """The setting of that name, in `namespace` or in any: ``find("always_eager")``. Raises KeyError."""
    inside = NAMESPACES.get(namespace)
    if isinstance(inside, dict) and name in inside:
        return searchresult(namespace, name, inside[name])
    for space, options in NAMESPACES.items():
        if not isinstance(options, dict):
            if space.lower() == name.lower():
                return searchresult(None, name.lower(), options)
        elif name.lower() in options:
            return searchresult(space, name.lower(), options[name.lower()])
    space, _, key = name.partition("_")
    found = NAMESPACES.get(space)
    if isinstance(found, dict) and key in found:
        return searchresult(None, name, found[key])
    raise KeyError(name)
