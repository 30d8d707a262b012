"""What Django's settings say about Umbel.

========================  ================================================================================
``UMBEL = {...}``         settings of Umbel by their names (``broker_url``), and those of the integration below
``UMBEL_<SETTING>``       the same, one by one
``CELERY_<SETTING>``      as an existing project has them, old names included (``CELERY_ALWAYS_EAGER``)
``BROKER_URL`` and so on  names of Celery 3, ``BROKER_TRANSPORT`` and ``BROKER_HOST`` among them
========================  ================================================================================

Where several say the same, the upper row wins. ``app.config_from_object``, the environment and assignments to ``app.conf``
win over all of them.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from django.conf import settings as django_settings
from django.core.signals import setting_changed

from umbel import context, integration
from umbel.errors import ConfigurationError
from umbel.settings import OLD_NAMES, SETTINGS

__all__ = ["IntegrationSettings", "ProjectSettings", "integration_settings", "project_settings"]


class IntegrationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that only the integration has: keys of ``UMBEL``, or ``UMBEL_<NAME>``."""

    database: str = "default"
    """Alias of the database that holds the queue when no broker is set, and the outbox."""
    send_on_commit: bool = True
    """Calls made inside a transaction are sent when it has been committed. Off: at once."""
    outbox: bool = False
    """Calls made inside a transaction are stored in it, and sent from there."""
    email_backend: str = "django.core.mail.backends.smtp.EmailBackend"
    """What ``umbel.contrib.django.mail.EmailBackend`` sends through."""
    email_queue: str | None = None
    """The queue that mail goes to. None: as the tasks are routed (``umbel.send_emails``)."""
    email_batch: int = 100
    """How many messages of one ``send_messages()`` are sent over one connection."""
    email_max_retries: int = 45
    """Tries after the first, until a mail server is given up and the messages become dead letters. 45 take about six hours."""
    email_max_bytes: int = 10_000_000
    """Text and attachments of one message, and of one batch, that the queue takes."""
    email_too_large: Literal["error", "direct"] = "error"
    """What becomes of larger ones: EmailTooLarge, or they are sent at once, in the caller's process."""


class ProjectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found."""

    umbel: dict[str, Any]
    """Settings of Umbel by name."""
    integration: IntegrationSettings
    sources: dict[str, list[str]]
    """Setting -> the names under which it was found, the one that wins last."""
    contradictions: list[str]
    """Settings that were found with different values."""
    unknown: list[str]
    """Names of Celery's namespace that are no settings. They are ignored: they may belong to an extension of Celery's."""


_INTEGRATION = frozenset(IntegrationSettings.__struct_fields__)
_MISSING: Any = object()


def integration_settings() -> IntegrationSettings:
    """The settings of the integration. Raises ConfigurationError when they are wrong."""
    return project_settings().integration


@functools.cache
def project_settings() -> ProjectSettings:
    """Read Django's settings. Raises ConfigurationError when ``UMBEL`` is no dict or holds what is no setting."""
    found = _Found()
    unknown: list[str] = []
    _read_celery3(found)
    for written in sorted(name for name in dir(django_settings) if name.startswith("CELERY")):
        name = _celery_name(written)
        if name is None:
            unknown.append(written)
        else:
            found.add(name, written, getattr(django_settings, written))
    for written in sorted(name for name in dir(django_settings) if name.startswith("UMBEL_")):
        found.add(
            _own_name(written.removeprefix("UMBEL_"), written), written, getattr(django_settings, written)
        )
    for key, value in _own_dict().items():
        found.add(_own_name(str(key), f"UMBEL[{key!r}]"), f"UMBEL[{key!r}]", value)
    given = {name: value for name, value in found.values.items() if name in _INTEGRATION}
    try:
        integration = msgspec.convert(given, IntegrationSettings)
    except msgspec.ValidationError as exc:
        raise ConfigurationError(f"Django's settings for Umbel are wrong: {exc}.") from exc
    umbel = {name: value for name, value in found.values.items() if name not in _INTEGRATION}
    results = umbel.get("result_backend")
    if str(results).startswith("django") or (results is None and umbel.get("broker_url") is None):
        umbel.setdefault("result_extended", True)  # the admin shows them: name and arguments belong there
    umbel.setdefault("timezone", django_settings.TIME_ZONE)
    return ProjectSettings(
        umbel=umbel,
        integration=integration,
        sources=found.sources,
        contradictions=found.contradictions,
        unknown=unknown,
    )


def _forget(*, setting: str, **_: Any) -> None:
    if setting.startswith(("UMBEL", "CELERY", "BROKER_")) or setting in ("TIME_ZONE", "DATABASES"):
        project_settings.cache_clear()
        if context.state.default is not None:  # override_settings() in a test
            context.state.default.conf.load_framework(integration.settings)


setting_changed.connect(_forget, dispatch_uid="umbel.contrib.django.conf")


class _Found:
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, list[str]] = {}
        self.contradictions: list[str] = []

    def add(self, name: str, written: str, value: Any) -> None:
        earlier = self.values.get(name, _MISSING)
        if earlier is not _MISSING and earlier != value and name not in self.contradictions:
            self.contradictions.append(name)
        self.values[name] = value
        self.sources.setdefault(name, []).append(written)


def _own_dict() -> Mapping[str, Any]:
    given = getattr(django_settings, "UMBEL", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"Django's setting UMBEL must be a dict of settings, not {type(given).__name__}: "
            'UMBEL = {"broker_url": "redis://localhost:6379/0"}.'
        )
    return given


def _own_name(text: str, written: str) -> str:
    name = text.lower()
    if name in _INTEGRATION or name in SETTINGS:
        return name
    if text.upper() in OLD_NAMES:
        return OLD_NAMES[text.upper()]
    close = difflib.get_close_matches(name, [*_INTEGRATION, *SETTINGS], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ConfigurationError(f"Django's setting {written} is no setting of Umbel.{hint}")


def _celery_name(written: str) -> str | None:
    """Today's name of ``CELERY_…``, ``CELERYD_…`` or ``CELERYBEAT_…``; None: it is no setting."""
    short = written.removeprefix("CELERY_").lower()
    return short if short in SETTINGS else OLD_NAMES.get(written)


# ----------------------------------------------------------------------------------------------- Celery 3


_DATABASE_TRANSPORTS = ("django", "kombu.transport.django", "kombu.transport.django.Transport")


def _read_celery3(found: _Found) -> None:
    transport = getattr(django_settings, "BROKER_TRANSPORT", None) or getattr(
        django_settings, "BROKER_BACKEND", None
    )
    if transport is not None and not hasattr(django_settings, "BROKER_URL"):
        url = _url_of_parts(str(transport))
        if url is not None:
            found.add("broker_url", "BROKER_TRANSPORT", url)
    for written in sorted(name for name in dir(django_settings) if name.startswith("BROKER_")):
        if written in OLD_NAMES:
            value = getattr(django_settings, written)
            if OLD_NAMES[written] == "broker_url" and value in ("django://", "django"):
                continue  # kombu's transport over Django's database: the embedded default here
            found.add(OLD_NAMES[written], written, value)


def _url_of_parts(transport: str) -> str | None:
    """The URL that ``BROKER_HOST`` and its sisters stand for; None: the project's database."""
    if transport in _DATABASE_TRANSPORTS:
        return None
    part = functools.partial(getattr, django_settings)
    host, port = part("BROKER_HOST", None) or "localhost", part("BROKER_PORT", None)
    user, password = part("BROKER_USER", None) or "", part("BROKER_PASSWORD", None) or ""
    vhost = str(part("BROKER_VHOST", None) or "").lstrip("/")
    login = (
        f"{quote(user, safe='')}:{quote(password, safe='')}@"
        if password
        else f"{quote(user, safe='')}@"
        if user
        else ""
    )
    return f"{transport}://{login}{host}{f':{port}' if port else ''}/{quote(vhost, safe='')}"
