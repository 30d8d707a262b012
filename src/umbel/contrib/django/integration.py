"""Django's answers to what Umbel asks its framework; see ``umbel.integration``.

Importing this module activates them. Neither that nor making an app touches Django's settings: the module of an app may be
imported while they are still loading.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import django
from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import settings
from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured
from django.db import connections

from umbel import integration
from umbel.contrib.django import conf, hygiene, transactions
from umbel.contrib.django.outbox import Relay
from umbel.errors import ConfigurationError
from umbel.ports import Broker, Outgoing

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.config import Config

__all__ = ["APPLICATION", "DjangoIntegration"]

APPLICATION = "umbel.contrib.django"
"""What stands in ``INSTALLED_APPS``."""


class DjangoIntegration:
    """See ``umbel.integration.Integration``."""

    def settings(self) -> Mapping[str, Any]:
        try:
            return conf.project_settings().umbel
        except ImproperlyConfigured as exc:
            raise ConfigurationError(f"Django's settings cannot be read: {exc}") from exc

    def embedded_url(self) -> str | None:
        try:
            if not apps.is_installed(APPLICATION):
                return None
        except AppRegistryNotReady as exc:
            raise ConfigurationError(
                "The queue lies in Django's database, and Django is still loading its applications. Do not call a task "
                "while a module is imported: call it in a function, or in AppConfig.ready(). In a program of your own, "
                "call django.setup() first."
            ) from exc
        return f"django://{conf.integration_settings().database}"

    def packages(self) -> Iterable[str]:
        return [config.name for config in apps.get_app_configs()]

    def queues(self, conf: Config) -> Iterable[str]:
        return () if (queues := _tasks_api("queues")) is None else queues.queues_of_backends(conf)

    def prepare(self) -> None:
        if not apps.ready:
            django.setup()
        _tasks_api("declared")

    def take_over(self, app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None) -> bool:
        return transactions.take_over(app, batch, options)

    async def atake_over(
        self, app: Umbel, batch: Sequence[Outgoing], options: Mapping[str, Any] | None
    ) -> bool:
        return await transactions.atake_over(app, batch, options)

    @contextmanager
    def around_task(self) -> Iterator[None]:
        hygiene.tidy_connections()
        try:
            yield
        finally:
            hygiene.tidy_connections()
            hygiene.forget_locale()

    def around_coroutine(self) -> AbstractAsyncContextManager[None]:
        return hygiene.thread_of_its_own()

    def around_test_run(self) -> AbstractContextManager[None]:
        return transactions.as_if_committed()

    def run_coroutine(self, coro: Coroutine[Any, Any, Any]) -> Any:
        async def run() -> Any:
            return await coro

        return async_to_sync(run)()

    def in_transaction(self) -> bool:
        return transactions.open_transaction() is not None

    def before_fork(self) -> None:
        connections.close_all()

    def services(self, app: Umbel, broker: Broker) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        settings = conf.integration_settings()
        if not settings.outbox or transactions.alias_of(app.broker_url) is not None:
            return []
        return [Relay(broker, settings.database).run]


def _tasks_api(module: str) -> Any:
    """A module of the backend of ``django.tasks``; None: the settings say nothing of tasks, or there is no such library."""
    if not hasattr(settings, "TASKS") or (
        django.VERSION < (6, 0) and not importlib.util.find_spec("django_tasks")
    ):
        return None
    return importlib.import_module(f"umbel.contrib.django.tasks_api.{module}")


if integration.active() is None:
    integration.activate(DjangoIntegration())
