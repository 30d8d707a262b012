"""The settings of an app: where they come from, and the checks that they pass.

Long because reading, checking and combining settings is one subject. Sources, the later ones winning: the defaults, ``add_defaults``, the settings of the web framework, ``config_from_object``, the keywords of ``Umbel(...)``, the environment
(``UMBEL_BROKER_URL`` and so on), and what is assigned to ``app.conf``. Each value is checked where it is given;
contradictions between settings, which may be passing while they are assigned one by one, when they are first used.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta, tzinfo
from types import ModuleType
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec

from umbel.core.envelope import PRIORITY_MAX, PRIORITY_MIN
from umbel.errors import ConfigurationError, UmbelWarning, UnknownSetting
from umbel.settings import ACTING, OLD_NAMES, SETTINGS, Setting

__all__ = ["ENV_PREFIX", "Config"]

ENV_PREFIX = "UMBEL_"
_CONTENT_TYPES = {
    "json": "application/json",
    "msgpack": "application/x-msgpack",
    "pickle": "application/x-python-serialize",
    "yaml": "application/x-yaml",
}
_LAYERS = ("defaults", "framework", "config_from_object", "keyword", "environment", "assignment")
_POLICY_KEYS = ("max_retries", "interval_start", "interval_step", "interval_max")
_EXPECTED = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "duration": "seconds or a timedelta, not negative",
    "str": "a string",
    "list": "a list",
    "dict": "a dict",
    "url": "a URL, or a list of URLs",
    "policy": f"a dict of {', '.join(_POLICY_KEYS)}",
}


class Config:
    """``app.conf``: settings as attributes and as items, checked when they are assigned.

    >>> conf = Config(environ={})
    >>> conf.task_default_queue
    'celery'
    >>> conf["result_expires"] = timedelta(hours=1)
    >>> conf.result_expires
    3600.0
    """

    strict: ClassVar[bool] = True
    """A name that is no setting, or a value that is not of its type, is an error. Off: as in Celery, a name of the program's
    own is kept as it is, and numbers that are written as text, or truth as a number, are understood."""

    def __init__(
        self, keywords: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None
    ) -> None:
        """`keywords` as given to ``Umbel(...)``; `environ`: the environment, ``os.environ`` unless given."""
        set_ = object.__setattr__
        set_(self, "_layers", {layer: {} for layer in _LAYERS})
        set_(self, "_values", {})
        set_(self, "_pending", [])
        set_(self, "_lock", threading.RLock())
        set_(self, "version", 0)
        self._put("keyword", dict(keywords or {}), "Umbel(...)")
        self._put("environment", _from_environ(os.environ if environ is None else environ), "the environment")

    _layers: dict[str, dict[str, Any]]
    _values: dict[str, Any]
    _pending: list[Callable[[], None]]
    _lock: threading.RLock
    version: int
    """Grows with every change: whoever keeps what follows from settings compares it."""

    # -- reading

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)  # copy, pickle and debuggers ask for such names; no setting has one
        if self._pending:
            self._load()
        try:
            return self._values[name]
        except KeyError:
            return self._values[_known(name)]

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except UnknownSetting as exc:
            raise KeyError(str(exc)) from exc

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a setting; `default` when there is no such setting, or when it is None."""
        value = getattr(self, name, None)
        return default if value is None else value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in SETTINGS or name.upper() in OLD_NAMES)

    def __iter__(self) -> Iterator[str]:
        return iter(SETTINGS)

    def __len__(self) -> int:
        return len(SETTINGS)

    def keys(self) -> Iterable[str]:
        """The names of all settings, those that Umbel only recognises included."""
        return SETTINGS.keys()

    def source(self, name: str) -> str:
        """Where the value comes from: "default", "defaults", "framework", "config_from_object", "keyword", "environment" or "assignment"."""
        self._load()
        name = name if name in self._values else _known(name)
        return next((layer for layer in reversed(_LAYERS) if name in self._layers[layer]), "default")

    def table(self, *, with_defaults: bool = False) -> dict[str, Any]:
        """The settings that were given, or all of them, as a plain dict. Secrets are in it."""
        self._load()
        return {n: v for n, v in self._values.items() if with_defaults or self.source(n) != "default"}

    def shown(self) -> dict[str, Any]:
        """The settings that were given, for others to see: JSON can hold them, and secrets are masked."""
        shown = {}
        for name, value in self.table().items():
            plain = isinstance(value, bool | int | float | str | type(None))
            hidden = name in SETTINGS and SETTINGS[name].secret and value
            shown[name] = "***" if hidden else value if plain else repr(value)
        return shown

    def inert(self) -> list[str]:
        """Names of settings that were given but that Umbel recognises without acting on them."""
        acting = {setting.name for setting in ACTING}
        return [name for name in self.table() if name not in acting]

    # -- writing

    def __setattr__(self, name: str, value: Any) -> None:
        self._put("assignment", {name: value}, "app.conf")

    def __setitem__(self, name: str, value: Any) -> None:
        self._put("assignment", {name: value}, "app.conf")

    def update(self, *mappings: Mapping[str, Any], **settings: Any) -> None:
        """Assign several settings. All of them are checked first; one wrong, and none is changed."""
        merged: dict[str, Any] = {}
        for mapping in (*mappings, settings):
            merged.update(mapping)
        self._put("assignment", merged, "app.conf.update()")

    @contextmanager
    def overridden(self, **settings: Any) -> Iterator[None]:
        """Let `settings` be assigned for the length of a block."""
        before = dict(self._layers["assignment"])
        self.update(settings)
        try:
            yield
        finally:
            with self._lock:
                self._layers["assignment"] = before
                self._bump()

    def load_object(self, source: Any, *, namespace: str | None = None, silent: bool = False) -> None:
        """Read settings from a mapping, a module, a class or an object, or from ``"module"`` or ``"module:attr"``.

        With `namespace` ``"CELERY"`` those names count that start with ``CELERY_``. A string is imported when a setting
        is first needed, so that an app may be made while Django's settings module is still loading. With `silent` the module
        need not be there.
        """

        def read() -> None:
            try:
                found = _import_object(source)
            except ConfigurationError as exc:
                if not silent or not isinstance(exc.__cause__, ModuleNotFoundError):
                    raise
            else:
                self._read_object(found, namespace, source)

        if not isinstance(source, str):
            self._read_object(source, namespace)
            return
        with self._lock:
            self._pending.append(read)
            self._bump()

    def add_defaults(self, source: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Add to the defaults: everything else wins over them. A function is asked when a setting is next needed."""
        if not callable(source):
            self._put("defaults", dict(source), "add_defaults()")
            return
        with self._lock:
            self._pending.append(lambda: self._put("defaults", dict(source()), "add_defaults()"))
            self._bump()

    def load_framework(self, source: Callable[[], Mapping[str, Any]]) -> None:
        """Read settings that a web framework holds (see ``umbel.integration``). `source` is asked when a setting is next
        needed; everything else wins over what it answers. Called again, it replaces what was read before."""

        def read() -> None:
            self._layers["framework"] = {}
            self._put("framework", dict(source()), "the framework's settings")

        with self._lock:
            self._pending.append(read)
            self._bump()

    def _read_object(self, source: Any, namespace: str | None, label: str = "") -> None:
        label = label or getattr(source, "__name__", type(source).__name__)
        self._put("config_from_object", _select(source, namespace), f"config_from_object({label!r})")

    def _load(self) -> None:
        with self._lock:
            while self._pending:
                read = self._pending[0]
                read()
                # Taken off only now: a module that failed to import fails again at the next use, as loudly.
                self._pending.remove(read)

    def _put(self, layer: str, given: dict[str, Any], where: str) -> None:
        checked: dict[str, Any] = {}
        names: dict[str, str] = {}
        for written, value in given.items():
            if not self.strict and written not in SETTINGS and written.upper() not in OLD_NAMES:
                checked[written] = value
                continue
            name = _translated(written, where)
            if not self.strict:
                value = _understood(SETTINGS[name], value)
            if name in names and checked[name] != _checked(SETTINGS[name], value, written, where):
                raise ConfigurationError(
                    f"{where} sets {names[name]} and {written}, which are one setting, to different values. Keep {name}."
                )
            names[name] = written
            checked[name] = _checked(SETTINGS[name], value, written, where)
        with self._lock:
            self._layers[layer].update(checked)
            self._bump()

    def _bump(self) -> None:
        values = {setting.name: _fresh(setting.default) for setting in SETTINGS.values()}
        for layer in _LAYERS:
            values.update(self._layers[layer])
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "version", self.version + 1)

    # -- contradictions

    def check(self) -> None:
        """Raise ConfigurationError that lists every contradiction between settings, if there are any."""
        self._load()
        problems = list(_contradictions(self._values))
        if problems:
            raise ConfigurationError("The settings contradict each other: " + " ".join(problems))


# ---------------------------------------------------------------------------------------------------- names


def _known(name: str) -> str:
    """Today's name for `name`, or UnknownSetting."""
    if name in SETTINGS:
        return name
    new = OLD_NAMES.get(name.upper())
    if new is None:
        raise UnknownSetting(f"There is no setting {name!r}.{_suggest(name)}")
    return new


def _translated(name: str, where: str) -> str:
    new = _known(name)
    if new != name:
        warnings.warn(
            f"{where}: the setting {name} is called {new} today. It is understood; please rename it.",
            UmbelWarning,
            stacklevel=4,
        )
    return new


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), SETTINGS, n=1, cutoff=0.6)
    if not close:
        old = difflib.get_close_matches(name.upper(), OLD_NAMES, n=1, cutoff=0.8)
        close = [OLD_NAMES[old[0]]] if old else []
    return f" Did you mean {close[0]!r}?" if close else ""


# --------------------------------------------------------------------------------------------------- values


def _checked(setting: Setting, value: Any, written: str, where: str) -> Any:
    """`value` in the form that it is kept in, or ConfigurationError."""
    if value is None:
        if setting.default is None or setting.optional or setting.kind == "any":
            return None
    elif (plain := _COERCE[setting.kind](value)) is not _WRONG:
        if setting.choices and plain not in setting.choices:
            expected = "one of " + ", ".join(map(str, setting.choices))
            raise ConfigurationError(f"{where}: {written} must be {expected}, not {value!r}.")
        _special(setting.name, plain, where)
        return plain
    shown = "None" if value is None else f"{type(value).__name__} {'***' if setting.secret else repr(value)}"
    raise ConfigurationError(f"{where}: {written} must be {_EXPECTED[setting.kind]}, not {shown}.")


_WRONG: Any = object()


def _understood(setting: Setting, value: Any) -> Any:
    """What Celery would have made of `value`; as it is when that is nothing."""
    kind = "int" if setting.name == "worker_concurrency" and value != "auto" else setting.kind
    if kind == "bool" and isinstance(value, int | float):
        return bool(value)
    if kind == "list" and isinstance(value, str):
        return [value]
    if kind == "str" and isinstance(value, tzinfo):
        return str(value)
    if kind in ("int", "float", "duration") and isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    return int(value) if kind == "int" and isinstance(value, float) and value.is_integer() else value


def _duration(value: Any) -> Any:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return float(seconds) if _is_number(seconds) and seconds >= 0 else _WRONG


def _url(value: Any) -> Any:
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        return _WRONG
    return ";".join(parts) if all(isinstance(part, str) and part for part in parts) else _WRONG


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# What each kind makes of a value: the form in which it is kept, or _WRONG.
_COERCE: dict[str, Callable[[Any], Any]] = {
    "any": lambda v: v,
    "bool": lambda v: v if isinstance(v, bool) else _WRONG,
    "int": lambda v: v if isinstance(v, int) and _is_number(v) else _WRONG,
    "float": lambda v: v if _is_number(v) else _WRONG,
    "duration": _duration,
    "str": lambda v: v if isinstance(v, str) else _WRONG,
    "list": lambda v: list(v) if isinstance(v, list | tuple | set | frozenset) else _WRONG,
    "dict": lambda v: dict(v) if isinstance(v, Mapping) else _WRONG,
    "url": _url,
    "policy": lambda v: dict(v) if _is_policy(v) else _WRONG,
}


def _is_policy(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        (isinstance(v, int | float) and not isinstance(v, bool) and v >= 0)
        or (v is None and k == "max_retries")
        for k, v in value.items()
        if k in _POLICY_KEYS
    )


def _special(name: str, value: Any, where: str) -> None:
    """What a type alone does not say."""
    if name == "timezone":
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as exc:
            raise ConfigurationError(
                f"{where}: timezone must be a name such as Europe/Oslo, not {value!r}."
            ) from exc
    elif name == "task_default_priority" and not PRIORITY_MIN <= value <= PRIORITY_MAX:
        raise ConfigurationError(
            f"{where}: task_default_priority must lie between {PRIORITY_MIN} and {PRIORITY_MAX}, not {value}."
        )
    elif name == "worker_concurrency" and value != "auto" and not (isinstance(value, int) and value >= 1):
        raise ConfigurationError(f"{where}: worker_concurrency must be 'auto' or at least 1, not {value!r}.")
    elif name in ("task_max_deliveries", "worker_lease") and float(value) < 1:
        raise ConfigurationError(f"{where}: {name} must be at least 1, not {value!r}.")


def _fresh(default: Any) -> Any:
    # app.conf.task_publish_retry_policy["max_retries"] = 1 must not change the default of every app.
    return default.copy() if isinstance(default, dict | list) else default


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    soft, hard = values["task_soft_time_limit"], values["task_time_limit"]
    if soft is not None and hard is not None and soft > hard:
        yield f"task_soft_time_limit ({soft:g}) is longer than task_time_limit ({hard:g}), so it could never be reached."
    for serializer, accepts in (
        ("task_serializer", "accept_content"),
        ("result_serializer", "result_accept_content"),
    ):
        accepted = values[accepts] if values[accepts] is not None else values["accept_content"]
        wanted = values[serializer]
        if not {wanted, _CONTENT_TYPES.get(wanted)} & {*accepted, *map(_CONTENT_TYPES.get, accepted)} - {
            None
        }:
            yield (
                f"{serializer} is {wanted!r}, but {accepts} is {accepted}: workers with these settings "
                f"would refuse what this app writes. Add {wanted!r} to {accepts}."
            )
    queues = values["task_queues"]
    if queues and not values["task_create_missing_queues"]:
        names = [q if isinstance(q, str) else getattr(q, "name", None) for q in queues]
        if values["task_default_queue"] not in names:
            yield (
                f"task_default_queue is {values['task_default_queue']!r}, which is not in task_queues ({names}), "
                "and task_create_missing_queues is off."
            )


# -------------------------------------------------------------------------------------------------- sources


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    """What ``UMBEL_<SETTING>`` says. A name that is no setting may belong to others; one that nearly is gets a warning."""
    found = {}
    for variable, text in environ.items():
        if not variable.startswith(ENV_PREFIX):
            continue
        name = variable.removeprefix(ENV_PREFIX).lower()
        if name in SETTINGS:
            found[name] = _parsed(SETTINGS[name], text)
        elif close := difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.85):
            warnings.warn(
                f"The environment variable {variable} is not a setting and is ignored. "
                f"Did you mean {ENV_PREFIX}{close[0].upper()}?",
                UmbelWarning,
                stacklevel=4,
            )
    return found


def _parsed(setting: Setting, text: str) -> Any:
    """A value written as text: JSON where the type wants it, and the plain forms that people write."""
    word = text.strip().lower()
    if word in ("", "none", "null"):
        return None
    if setting.kind in ("str", "url"):
        return text
    if setting.kind == "bool":
        return {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }.get(word, text)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return [part.strip() for part in text.split(",")] if setting.kind == "list" else text


def _import_object(path: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        loaded: Any = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            loaded = getattr(loaded, part)
    except (ImportError, AttributeError) as exc:
        if not attribute and "." in module:
            # "package.module.Class", which Celery takes too.
            return _import_object(":".join(module.rsplit(".", 1)))
        raise ConfigurationError(f"config_from_object({path!r}): {exc}.") from exc
    return loaded


_PREFIXES = (
    *{f"{setting.name.partition('_')[0]}_" for setting in SETTINGS.values()},
    "celeryd_",
    "celerybeat_",
    "CELERY",
    "BROKER_",
)


def _select(source: Any, namespace: str | None) -> dict[str, Any]:
    """Those entries of `source` that are meant to be settings."""
    if isinstance(source, Mapping):
        pairs = dict(source)
    else:
        pairs = {name: getattr(source, name) for name in dir(source) if not name.startswith("_")}
    if namespace:
        prefix = namespace.rstrip("_") + "_"
        return {_strip(n, prefix): v for n, v in pairs.items() if n.startswith(prefix)}
    if isinstance(source, Mapping):
        return pairs
    return {n: v for n, v in pairs.items() if _meant(n, v)}


def _strip(name: str, prefix: str) -> str:
    short = name.removeprefix(prefix).lower()
    # CELERY_ALWAYS_EAGER is an old name, not the setting "always_eager" in the namespace CELERY.
    return short if short in SETTINGS or name not in OLD_NAMES else name


def _meant(name: str, value: Any) -> bool:
    """Whether a module's attribute is meant as a setting, known or misspelt, and not one of its own names."""
    if name in SETTINGS or name in OLD_NAMES:
        return True
    alien = isinstance(value, ModuleType | type) or inspect.isroutine(value)
    return not alien and name.startswith(_PREFIXES)
