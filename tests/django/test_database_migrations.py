"""``manage.py migrate`` where it is not one transaction: MariaDB, as MySQL, keeps what was done before it broke off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from umbel.contrib.django.models import Message

pytestmark = pytest.mark.django_db(
    transaction=True, databases=["mariadb"], available_apps=["umbel.contrib.django"]
)
BEFORE = "0002_outbox"


@pytest.fixture(autouse=True)
def as_it_was(transactional_db: None) -> Iterator[None]:
    yield
    migrate()


def migrate(*names: str) -> None:
    """To the migrations of these names, the latest if there are none."""
    executor = MigrationExecutor(connections["mariadb"])
    targets = [("umbel", name) for name in names] or executor.loader.graph.leaf_nodes("umbel")
    executor.migrate(targets)


def execute(statement: str) -> None:
    with connections["mariadb"].cursor() as cursor:
        cursor.execute(statement)


def indexes() -> dict[str, list[str]]:
    connection = connections["mariadb"]
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, Message._meta.db_table)
    return {name: about["columns"] for name, about in found.items() if about["index"]}


def test_forwards_and_backwards_and_forwards_again() -> None:
    there = indexes()
    migrate(BEFORE)
    assert indexes().keys() >= {"umbel_message_waiting", "umbel_message_dead"}
    assert not indexes().keys() & {"umbel_message_turn", "umbel_message_due", "umbel_message_lease"}
    migrate()
    assert indexes() == there


def test_a_migration_that_broke_off_half_way_can_be_repeated() -> None:
    there = indexes()
    migrate(BEFORE)
    execute("CREATE INDEX umbel_message_turn ON umbel_message (shelf, queue, turn, id)")
    execute("DROP INDEX umbel_message_waiting ON umbel_message")
    migrate()
    assert indexes() == there
