"""Databases for the Django tests: a file, and servers that are started when a test asks for their alias.

A test asks as Django's tests do: ``@pytest.mark.django_db(transaction=True, databases=["postgres"])``. With ``transaction``
it finds empty tables, and workers that it starts see what it does.
"""

from __future__ import annotations

import pathlib
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.core.management import CommandError
from django.test import TransactionTestCase
from tests.servers import MariaServer, PostgresServer, heed_signals

heed_signals()

_flush = TransactionTestCase._fixture_teardown


def _flush_patiently(case: TransactionTestCase) -> None:
    """Empty the tables after a test, in spite of a thread or a worker of the test that is still on its last transaction.

    A database that is locked, or a deadlock, would fail this test and, because pytest-django does not finish its clean-up then,
    every one that follows it in this process.
    """
    for _ in range(9):
        try:
            return _flush(case)
        except CommandError:
            time.sleep(1)
    return _flush(case)


TransactionTestCase._fixture_teardown = _flush_patiently


def _asked_for(items: list[pytest.Item]) -> set[str]:
    """The aliases that tests of this run need."""
    markers = [marker for item in items for marker in item.iter_markers("django_db")]
    return {alias for marker in markers for alias in marker.kwargs.get("databases") or ["default"]}


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Threads that idle may still be connected to them, and they go with their servers and their folder."""
    return True


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> Iterator[None]:
    """pytest-django makes the databases after this."""
    asked_for = _asked_for(request.session.items)
    with ExitStack() as servers:
        if "postgres" in asked_for:
            servers.enter_context(PostgresServer(settings.POSTGRES_FOLDER))
        if "mariadb" in asked_for:
            servers.enter_context(MariaServer(settings.MARIADB_FOLDER))
        yield


def pytest_unconfigure(config: pytest.Config) -> None:
    """The controller of a run, or its only process, removes the folder that the settings made."""
    folder = pathlib.Path(settings.DATABASES["default"]["NAME"]).parent
    if not hasattr(config, "workerinput") and folder.name.startswith("umbel-django-"):
        shutil.rmtree(folder, ignore_errors=True)
