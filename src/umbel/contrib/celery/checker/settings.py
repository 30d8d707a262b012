"""Settings that Umbel does not obey, or understands in another way."""

from __future__ import annotations

import ast
import difflib
import re
from collections import defaultdict
from typing import Any

from umbel.backends import known_schemes, open_broker
from umbel.cli.base import COMMANDS
from umbel.cli.worker import celerys_options
from umbel.contrib.celery.checker.project import Given, Project
from umbel.contrib.celery.checker.rules import ACTING_ANYWAY, INERT_SETTINGS
from umbel.contrib.celery.checker.source import UNKNOWN
from umbel.contrib.celery.config import CeleryConfig
from umbel.errors import ConfigurationError
from umbel.settings import OLD_NAMES, RECOGNISED, SETTINGS

__all__ = ["check_settings", "has_beat", "is_inert"]

_SCHEME = re.compile(r"([A-Za-z][\w+.\-]*)://")
_WORD = re.compile(r"[A-Za-z][\w+.\-]*")
_SERIALIZERS = (
    "task_serializer",
    "result_serializer",
    "event_serializer",
    "accept_content",
    "result_accept_content",
)
_PICKLES = frozenset({"pickle", "application/x-python-serialize"})
_NO_RESULTS = frozenset({"", "disabled"})
_INERT = frozenset(setting.name for setting in RECOGNISED) - ACTING_ANYWAY
_CLOSE = 0.85


def is_inert(name: str) -> bool:
    """Whether a setting is recognised, and nothing acts on it."""
    return name in _INERT


def has_beat() -> bool:
    """Whether this version sends periodic tasks."""
    return "beat" in COMMANDS


def check_settings(project: Project) -> None:
    """Judge each, then what they say together."""
    together: dict[tuple[Any, str], dict[str, tuple[Any, int]]] = defaultdict(dict)
    places: dict[str, set[Any]] = defaultdict(set)
    for given in project.given:
        given.source.celery = True
        name = _resolve(given)
        if name is None:
            _unknown(given)
            continue
        value = given.source.value(given.value)
        _judge(given, name, value)
        together[given.source, given.place][name] = (value, given.line)
        places[name].add((given.source, given.place))
    for (source, place), values in together.items():
        elsewhere = {name for name, where in places.items() if where != {(source, place)}}
        _contradictions(source, values, elsewhere)
    if "task_acks_late" not in places:
        _early_acks(project)


# -- names


def _resolve(given: Given) -> str | None:
    """Today's name of a setting, or None. Says so where the name is an old one."""
    name = given.name
    if given.namespace:
        short = name.removeprefix(given.namespace + "_").lower()
        if short in SETTINGS or name not in OLD_NAMES:
            name = short
    if name in SETTINGS:
        return name
    new = OLD_NAMES.get(name.upper())
    if new is not None:
        given.source.say("setting-old-name", given.line, name=given.name, new=_written_as(given, new))
    return new


def _written_as(given: Given, name: str) -> str:
    return f"{given.namespace}_{name.upper()}" if given.namespace else name


def _unknown(given: Given) -> None:
    short = given.name.removeprefix(given.namespace + "_") if given.namespace else given.name
    close = difflib.get_close_matches(short.lower(), SETTINGS, n=1, cutoff=_CLOSE)
    if not close:
        old = difflib.get_close_matches(given.name.upper(), OLD_NAMES, n=1, cutoff=_CLOSE)
        close = [OLD_NAMES[name] for name in old]
    if close:
        suggestion = _written_as(given, close[0])
        given.source.say("setting-misspelt", given.line, name=given.name, suggestion=suggestion)
    else:
        given.source.say("setting-unknown", given.line, name=given.name)


# -- values


def _judge(given: Given, name: str, value: Any) -> None:
    source, line = given.source, given.line
    if name in ("broker_url", "broker_read_url", "broker_write_url"):
        _servers(given, "broker")
    elif name == "result_backend":
        _servers(given, "result-backend")
    elif name == "worker_pool":
        if _pool(given):
            return
    elif name in _SERIALIZERS:
        _serializer(given)
    elif name in ("broker_transport_options", "result_backend_transport_options"):
        _transport(given, name, value)
    elif name in ("beat_schedule", "beat_scheduler"):
        _beat(given, value)
        return
    if value is not UNKNOWN and not _acceptable(given, name, value):
        return
    if not is_inert(name) or (value is not UNKNOWN and value == SETTINGS[name].default):
        return
    rule, advice = INERT_SETTINGS.get(name, ("setting-inert", ""))
    source.say(rule, line, name=given.name, advice=advice)


def _servers(given: Given, rule: str) -> None:
    """The schemes of the URLs. Of a URL nothing else is shown: it may hold a password."""
    known = known_schemes()
    for text, line in given.source.texts(given.value):
        for part in text.split(";"):
            match = _SCHEME.match(part) or _WORD.fullmatch(part)
            if match is None:
                continue
            scheme = (match[1] if match.re is _SCHEME else match[0]).lower()
            if rule == "result-backend" and scheme in _NO_RESULTS:
                continue
            if scheme not in known:
                given.source.say(rule, line, scheme=scheme, known=", ".join(known))


def _pool(given: Given) -> bool:
    pools = celerys_options().pools
    wrong = False
    for text, line in given.source.texts(given.value):
        if text.lower() not in pools:
            wrong = True
            given.source.say("pool", line, name=repr(text), known=", ".join(sorted(pools)))
    return wrong


def _serializer(given: Given) -> None:
    for part in ast.walk(given.value) if given.value is not None else ():
        for text, _ in given.source.texts(part):
            if text in _PICKLES:
                given.source.say("pickle", given.line, name=given.name)
            elif text == "auth":
                given.source.say("signed-messages", given.line, name=f"{given.name} = 'auth'")


def _transport(given: Given, name: str, value: Any) -> None:
    node = given.value
    if isinstance(node, ast.Name):
        node = given.source.values.get(node.id)
    for key in node.keys if isinstance(node, ast.Dict) else ():
        if isinstance(key, ast.Constant) and key.value == "visibility_timeout":
            given.source.say("visibility-timeout", getattr(key, "lineno", given.line))
    if name != "broker_transport_options" or not isinstance(value, dict) or not value:
        return
    try:
        open_broker("redis://localhost", value)
    except ConfigurationError as exc:
        if exc.__cause__ is None:  # else the driver is missing, and the options were not looked at
            given.source.say("transport-options", given.line, why=str(exc))
    except (TypeError, ValueError) as exc:
        given.source.say("transport-options", given.line, why=str(exc))


def _beat(given: Given, value: Any) -> None:
    if not has_beat() and value not in ({}, None, ""):
        given.source.say("beat", given.line, name=given.name)


def _acceptable(given: Given, name: str, value: Any) -> bool:
    try:
        CeleryConfig({name: value}, environ={})
    except ConfigurationError as exc:
        given.source.say("setting-value", given.line, why=_plain(exc))
        return False
    except (TypeError, ValueError, RecursionError, OverflowError):
        return True  # nothing that can be said for sure
    return True


def _plain(exc: ConfigurationError) -> str:
    return str(exc).removeprefix("Umbel(...): ").removeprefix("The settings contradict each other: ")


# -- together


def _contradictions(source: Any, values: dict[str, tuple[Any, int]], elsewhere: set[str]) -> None:
    known = {name: value for name, (value, _) in values.items() if value is not UNKNOWN}
    try:
        conf = CeleryConfig(known, environ={})
        conf.check()
    except ConfigurationError as exc:
        why = _plain(exc)
        named = set(re.findall(r"\w+", why)) & set(SETTINGS)
        # What another file or the environment says may settle it.
        unsure = elsewhere | {name for name, (value, _) in values.items() if value is UNKNOWN}
        lines = [line for name, (_, line) in values.items() if name in named]
        if lines and not named & unsure and "contradict" in str(exc):
            source.say("setting-contradiction", max(lines), why=why)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return  # a value of a strange type


def _early_acks(project: Project) -> None:
    """Once, where the app is made."""
    for source in project.sources:
        for node in source.nodes:
            if project.makes_app(source, node if isinstance(node, ast.expr) else None):
                source.say("early-acks", getattr(node, "lineno", 1))
                return
