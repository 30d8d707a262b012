"""``django://`` against the contract, in each kind of database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from umbel.backends import open_broker, open_store
from umbel.contrib.django.models import Message
from umbel.ports import Broker, ResultStore
from umbel.testing.conformance import (
    AdoptionConformance,
    BrokerConformance,
    BrokerProcessConformance,
    ResultStoreConformance,
    ResultStoreProcessConformance,
    UnreadableConformance,
)


def database(alias: str) -> pytest.MarkDecorator:
    return pytest.mark.django_db(transaction=True, databases=[alias], available_apps=["umbel.contrib.django"])


class DatabaseFixtures:
    alias: str

    @pytest.fixture
    def make_broker(self) -> Callable[[], Broker]:
        return lambda: open_broker(f"django://{self.alias}")

    @pytest.fixture
    def make_store(self) -> Callable[[], ResultStore]:
        return lambda: open_store(f"django://{self.alias}")

    @pytest.fixture
    def inject_garbage(self) -> Callable[[str, bytes], None]:
        def inject(queue: str, data: bytes) -> None:
            with ThreadPoolExecutor(1) as thread:  # Django does not let an event loop do this
                thread.submit(store, queue, data).result()

        def store(queue: str, data: bytes) -> None:
            Message.objects.using(self.alias).create(
                queue=queue,
                shelf=0,
                priority=0,
                turn=1,
                due=1,
                since=1,
                task_id="",
                task="",
                reason="",
                frame=data,
            )
            connections[self.alias].close()

        return inject


class BrokerSuite(DatabaseFixtures, BrokerConformance, BrokerProcessConformance, UnreadableConformance):
    pass


class StoreSuite(DatabaseFixtures, ResultStoreConformance, ResultStoreProcessConformance):
    pass


class AdoptionSuite(DatabaseFixtures, AdoptionConformance):
    pass


@database("default")
class TestSQLiteBroker(BrokerSuite):
    alias = "default"


@database("default")
class TestSQLiteStore(StoreSuite):
    alias = "default"


@database("default")
class TestSQLiteAdoption(AdoptionSuite):
    alias = "default"


@database("postgres")
class TestPostgresBroker(BrokerSuite):
    alias = "postgres"


@database("postgres")
class TestPostgresStore(StoreSuite):
    alias = "postgres"


@database("postgres")
class TestPostgresAdoption(AdoptionSuite):
    alias = "postgres"


@database("mariadb")
class TestMariaDBBroker(BrokerSuite):
    alias = "mariadb"


@database("mariadb")
class TestMariaDBStore(StoreSuite):
    alias = "mariadb"


@database("mariadb")
class TestMariaDBAdoption(AdoptionSuite):
    alias = "mariadb"
