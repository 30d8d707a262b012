"""What is left of the caller's transaction when a call in it fails: with ``django://``, a call is part of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError

from umbel.backends import open_broker
from umbel.contrib.django.models import Message, Queue, Revoked
from umbel.errors import BrokerUnavailable
from umbel.testing.conformance.harness import LONG, task


def database(alias: str) -> pytest.MarkDecorator:
    return pytest.mark.django_db(transaction=True, databases=[alias], available_apps=["umbel.contrib.django"])


def hide_messages(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("ALTER TABLE umbel_message RENAME TO elsewhere")


def names(alias: str) -> list[str]:
    return list(Queue.objects.using(alias).order_by("name").values_list("name", flat=True))


@database("postgres")
def test_who_catches_the_error_cannot_go_on_in_a_transaction_that_is_lost() -> None:
    broker = open_broker("django://postgres")
    with transaction.atomic(using="postgres"):
        Queue.objects.using("postgres").create(name="before")
        hide_messages("postgres")
        with pytest.raises(BrokerUnavailable, match=r"tables are missing .* can only be rolled back now"):
            broker.send_now([task("one")])
        with pytest.raises(TransactionManagementError):
            names("postgres")
    assert names("postgres") == []
    broker.send_now([task("two")])
    assert Message.objects.using("postgres").count() == 1


@database("postgres")
def test_a_savepoint_of_its_own_lets_the_rest_of_the_transaction_stand() -> None:
    broker = open_broker("django://postgres")
    with transaction.atomic(using="postgres"):
        Queue.objects.using("postgres").create(name="before")
        with pytest.raises(BrokerUnavailable), transaction.atomic(using="postgres"):
            hide_messages("postgres")
            broker.send_now([task("one")])
        Queue.objects.using("postgres").create(name="after")
    assert names("postgres") == ["after", "before"]


@database("postgres")
def test_without_autocommit_a_rollback_makes_the_connection_usable_again() -> None:
    broker = open_broker("django://postgres")
    transaction.set_autocommit(False, using="postgres")
    try:
        hide_messages("postgres")
        with pytest.raises(BrokerUnavailable):
            broker.send_now([task("one")])
        with pytest.raises(TransactionManagementError):
            names("postgres")
        transaction.rollback(using="postgres")
        broker.send_now([task("two")])
        transaction.commit(using="postgres")
    finally:
        transaction.set_autocommit(True, using="postgres")
    assert Message.objects.using("postgres").count() == 1


@database("mariadb")
def test_after_a_deadlock_nothing_more_is_committed() -> None:
    """MariaDB has rolled back what came before, and would commit what comes after."""
    broker = open_broker("django://mariadb")
    keyed = task("one", dedupe_key="key", dedupe_window=LONG)
    holds_key = threading.Event()
    mine = Queue.objects.using("mariadb")

    def other() -> None:
        with transaction.atomic(using="mariadb"):
            # The transaction that has written more is not the one to be rolled back.
            Revoked.objects.using("mariadb").bulk_create(Revoked(task_id=str(n), until=1) for n in range(500))
            broker.send_now([keyed])
            holds_key.set()
            mine.filter(name="before").delete()

    thread = threading.Thread(target=closing("mariadb", other))
    with transaction.atomic(using="mariadb"):
        mine.create(name="before")
        thread.start()
        assert holds_key.wait(30)
        with pytest.raises(BrokerUnavailable, match="can only be rolled back now"):
            broker.send_now([keyed])
        with pytest.raises(TransactionManagementError):
            mine.create(name="after")
    thread.join()
    assert names("mariadb") == []


def closing(alias: str, work: Callable[[], None]) -> Callable[[], None]:
    """For a thread, which has a connection of its own."""

    def closed() -> Any:
        try:
            work()
        finally:
            connections[alias].close()

    return closed


@database("default")
def test_sqlite_undoes_the_statement_alone() -> None:
    broker = open_broker("django://default")
    with transaction.atomic():
        Queue.objects.create(name="before")
        hide_messages("default")
        with pytest.raises(BrokerUnavailable) as caught:
            broker.send_now([task("one")])
        assert "rolled back" not in str(caught.value)
        with connections["default"].cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO umbel_message")
        broker.send_now([task("two")])
    assert names("default") == ["before"]
    assert Message.objects.count() == 1
