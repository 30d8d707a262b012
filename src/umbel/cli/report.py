"""``umbel report``: what a bug report needs, with nothing in it that is secret."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sqlite3
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import click

from umbel import Umbel
from umbel._version import __version__
from umbel.backends import mask_url
from umbel.cli.base import Command, Globals
from umbel.cli.find_app import import_tasks
from umbel.cli.output import emit_json
from umbel.cli.session import the_app
from umbel.settings import SETTINGS

__all__ = ["masked", "report"]

_DRIVERS = (
    "msgspec",
    "click",
    "apsw",
    "redis",
    "hiredis",
    "uvloop",
    "gevent",
    "msgpack",
    "pyyaml",
    "zstandard",
    "brotli",
    "celery",
    "kombu",
    "django",
)
_SECRET = re.compile(r"key|secret|passw|token|credential|private|signature|_dsn|auth", re.IGNORECASE)
_NOT_SECRET = frozenset({"task_default_routing_key", "global_keyprefix"})
_URL = re.compile(r"[A-Za-z][\w+.-]*://\S+")


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print an object.")
@click.pass_obj
def report(state: Globals, as_json: bool) -> None:
    """Print versions and settings, for bug reports.

    Of the settings, those that differ from the defaults. Passwords in URLs, and whatever is called a key, a
    secret, a password or a token, appear as ***. Opens no connection.

    --json prints an object with versions, app and settings (by name: value, source, effective).
    """
    app = the_app(state, looks=False)
    if state.app:
        import_tasks(app)
    parts: dict[str, dict[str, Any]] = {
        "versions": _versions(),
        "app": _about(app, named=bool(state.app)),
        "settings": _settings(app),
    }
    if as_json:
        emit_json(parts)
        return
    settings = {name: _in_words(form) for name, form in parts["settings"].items()}
    for title, pairs in (parts | {"settings": settings}).items():
        click.echo(click.style(f"[{title}]", bold=True))
        width = max((len(name) for name in pairs), default=0) + 1
        for name, value in pairs.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            click.echo(f"  {name + ':':<{width}} {shown}")
        if not pairs:
            click.echo("  all as by default")
        click.echo()


def _in_words(form: dict[str, Any]) -> str:
    remark = "" if form["effective"] else "; has no effect in Umbel"
    return f"{form['value']!r}  (from {form['source']}{remark})"


def _versions() -> dict[str, str]:
    found = {
        "umbel": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
    }
    for name in _DRIVERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found | {"sqlite (apsw)": _apsw_library(), "sqlite (python)": sqlite3.sqlite_version}


def _apsw_library() -> str:
    try:
        return str(importlib.import_module("apsw").sqlite_lib_version())
    except ImportError:
        return "apsw is not installed"


def _about(app: Umbel, *, named: bool) -> dict[str, Any]:
    results = app.result_url
    return {
        "app": (app.main or "__main__")
        if named
        else "none named (-A): these are the defaults and the environment",
        "broker": mask_url(app.broker_url),
        "results": mask_url(results) if results else "none: set result_backend to keep results",
        "queues": sorted(app.conf.task_queues or [app.conf.task_default_queue], key=str),
        "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
        "cpus": os.cpu_count(),
    }


def _settings(app: Umbel) -> dict[str, dict[str, Any]]:
    """The settings that were given, by name, fit to be shown: their values and where they come from."""
    conf, inert = app.conf, set(app.conf.inert())
    return {
        name: {"value": masked(name, value), "source": conf.source(name), "effective": name not in inert}
        for name, value in sorted(conf.table().items())
    }


def masked(name: str, value: Any) -> Any:
    """`value` of the setting or option `name` without what is secret.

    >>> masked("broker_url", "redis://:s3cret@localhost/0")
    'redis://:***@localhost/0'
    >>> masked("broker_transport_options", {"sentinel_kwargs": {"password": "s3cret"}})
    {'sentinel_kwargs': {'password': '***'}}
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {key: masked(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(name, item) for item in value]
    setting = SETTINGS.get(name)
    is_url = setting is not None and setting.kind == "url"
    if not is_url and name not in _NOT_SECRET and ((setting and setting.secret) or _SECRET.search(name)):
        return "***"
    if not isinstance(value, str):
        return value
    return mask_url(value) if is_url else _URL.sub(lambda match: mask_url(match[0]), value)
