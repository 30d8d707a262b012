"""``manage.py check``: settings that contradict one another, or are dangerous, with a hint for each.

=========  ========================================================================
umbel.E001  settings of Umbel are wrong, or contradict one another
umbel.E002  the broker or the result store cannot be used as it is set
umbel.E003  the alias of the database is none
umbel.E004  the tables of the queue are missing (``check --database default``)
umbel.W001  one setting is given twice, with different values
umbel.W002  names of Celery's that are no settings
umbel.W003  pickle is accepted: whoever reaches the broker can run code
umbel.W004  tasks run in the request (``task_always_eager``)
umbel.W005  an outbox for a queue that needs none
umbel.W006  the database is in memory, where workers do not see it
umbel.W007  transactions of SQLite that read first and write later fail beside workers
=========  ========================================================================
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.checks import register as register_check
from django.db import connections

from umbel.contrib.django.conf import ProjectSettings, project_settings
from umbel.contrib.django.project import get_app
from umbel.contrib.django.transactions import alias_of
from umbel.errors import ConfigurationError, UmbelError

__all__ = ["check_settings", "check_tables", "register"]


def register() -> None:
    """Make the checks known to Django."""
    register_check(check_settings, "umbel")
    register_check(check_tables, Tags.database)


def check_settings(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """All that can be told without a connection."""
    try:
        found = project_settings()
        app = get_app()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app.conf.check()
    except ConfigurationError as exc:
        return [Error(str(exc), hint="docs/reference/settings.md lists all settings.", id="umbel.E001")]
    return [*_doubtful(found), *_unusable(found)]


def _doubtful(found: ProjectSettings) -> Iterator[CheckMessage]:
    for name in found.contradictions:
        *others, winner = found.sources[name]
        yield Warning(
            f"The setting {name} is given as {', '.join(others)} and as {winner}, with different values. {winner} counts.",
            hint="Keep one of them.",
            id="umbel.W001",
        )
    if found.unknown:
        yield Warning(
            f"These names are no settings, and are ignored: {', '.join(found.unknown)}.",
            hint="Are they misspelt? If they belong to an extension of Celery's, silence this with SILENCED_SYSTEM_CHECKS.",
            id="umbel.W002",
        )
    conf = get_app().conf
    if {"pickle", "application/x-python-serialize"} & {
        *conf.accept_content,
        *(conf.result_accept_content or ()),
    }:
        yield Warning(
            "accept_content holds pickle: whoever can write to the broker can run code in your workers.",
            hint="Use json, and pass primary keys instead of objects.",
            id="umbel.W003",
        )
    if conf.task_always_eager and not settings.DEBUG:
        yield Warning(
            "task_always_eager is on and DEBUG is off: tasks run inside the request, and nothing is queued.",
            hint="Set it in the settings of your tests only.",
            id="umbel.W004",
        )


def _unusable(found: ProjectSettings) -> Iterator[CheckMessage]:
    app, integration = get_app(), found.integration
    aliases = {alias_of(app.broker_url), alias_of(app.result_url or ""), integration.database} - {None}
    missing = sorted(alias for alias in aliases if alias and alias not in connections.settings)
    for alias in missing:
        yield Error(
            f"There is no database {alias!r}. DATABASES has: {', '.join(sorted(connections.settings))}.",
            hint='Name one of them: UMBEL = {"database": "default"}.',
            id="umbel.E003",
        )
    if missing:
        return
    for make, setting in ((app.new_broker, "broker_url"), (app.new_store, "result_backend")):
        try:
            make()
        except UmbelError as exc:
            yield Error(f"{setting}: {exc}", id="umbel.E002")
    queue = alias_of(app.broker_url)
    if queue is None:
        return
    if integration.outbox:
        yield Warning(
            f"There is an outbox, and the queue lies in the database {queue!r} itself: calls are rows of the caller's "
            "transaction already.",
            hint="Remove the setting outbox.",
            id="umbel.W005",
        )
    connection = connections[queue]
    if connection.vendor == "sqlite" and _in_memory(str(connection.settings_dict["NAME"])):
        yield Warning(
            f"The queue lies in the database {queue!r}, which is in memory: workers are other processes and do not see it.",
            hint="Give DATABASES a file, or set broker_url.",
            id="umbel.W006",
        )
    options = connection.settings_dict.get("OPTIONS") or {}
    if connection.vendor == "sqlite" and str(options.get("transaction_mode")).upper() not in _WRITERS:
        yield Warning(
            f"The queue lies in the SQLite database {queue!r}, whose transactions begin as readers: one that reads and then "
            'calls a task, or writes, fails at once ("database is locked") when a worker has written in between.',
            hint=f'DATABASES[{queue!r}]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE"}}; see docs/guides/django.md.',
            id="umbel.W007",
        )


_WRITERS = ("IMMEDIATE", "EXCLUSIVE")


def _in_memory(name: str) -> bool:
    if name.startswith("file:memorydb_"):
        return False  # Django's runner of tests has put this in the place of a file
    return name == ":memory:" or "mode=memory" in name


def check_tables(
    app_configs: Any = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Whether the tables are there, in those of `databases` that hold a queue or results."""
    if sys.argv[1:2] == ["migrate"]:
        return []  # it asks first, and would never get to making them
    try:
        app = get_app()
        used = {alias_of(app.broker_url), alias_of(app.result_url or "")}
        settings = project_settings().integration
        if settings.outbox:
            used.add(settings.database)
        used &= set(databases or ())
    except ConfigurationError:
        return []  # check_settings says it
    problems: list[CheckMessage] = []
    for alias in sorted(filter(None, used)):
        expected = {
            model._meta.db_table for model in apps.get_app_config("umbel").get_models() if model._meta.managed
        }
        with connections[alias].cursor() as cursor:
            present = set(connections[alias].introspection.table_names(cursor))
        if missing := sorted(expected - present):
            problems.append(
                Error(
                    f"Tables of the queue are missing in the database {alias!r}: {', '.join(missing)}.",
                    hint=f"Run: manage.py migrate umbel{'' if alias == 'default' else f' --database {alias}'}",
                    id="umbel.E004",
                )
            )
    return problems
