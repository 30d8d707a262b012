"""What only the database broker does: transactions of the caller's, errors with a remedy, forks, locks, and quick waking."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from django.db import connection as default_connection
from django.db import connections, transaction
from tests.django.chaos_site import environment

from umbel.backends import open_broker, open_store
from umbel.contrib.django.database.statements import folder_of, statements_of
from umbel.contrib.django.models import Message, Result
from umbel.errors import BrokerUnavailable, ConfigurationError, EncodeError, StoreUnavailable
from umbel.ports import Ack, Broker, Delivery, Outgoing, ResultStore, Signal
from umbel.testing.conformance.harness import LONG, PATIENCE, bodies, drain, in_forked_child, record, task
from worker.harness import Site

ALIASES = ["default", "postgres", "mariadb"]


def database(alias: str) -> Any:
    mark = pytest.mark.django_db(transaction=True, databases=[alias], available_apps=["umbel.contrib.django"])
    return pytest.param(alias, marks=mark)


ON_POSTGRES = pytest.mark.django_db(
    transaction=True, databases=["postgres"], available_apps=["umbel.contrib.django"]
)


@pytest.fixture(params=[database(alias) for alias in ALIASES])
def alias(request: pytest.FixtureRequest) -> str:
    """Of each database in turn, empty."""
    request.getfixturevalue("transactional_db")
    name: str = request.param
    return name


@pytest.fixture
def broker(alias: str) -> Iterator[Broker]:
    made = open_broker(f"django://{alias}")
    yield made
    asyncio.run(made.close())


@pytest.fixture
def store(alias: str) -> Iterator[ResultStore]:
    made = open_store(f"django://{alias}")
    yield made
    asyncio.run(made.close())


def waiting(alias: str) -> list[str]:
    return list(Message.objects.using(alias).order_by("id").values_list("task_id", flat=True))


def elsewhere(look: Callable[[], Any]) -> Any:
    """What another thread sees, which has a connection of its own."""
    answers: list[Any] = []

    def work() -> None:
        try:
            answers.append(look())
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return answers[0]


# -- the caller's transaction


def test_a_message_is_part_of_the_callers_transaction(alias: str, broker: Broker) -> None:
    with transaction.atomic(using=alias):
        broker.send_now([task("one")])
        assert waiting(alias) == ["one"]
        if alias != "default":  # SQLite has one writer, and who reads beside it may have to wait
            assert elsewhere(lambda: waiting(alias)) == []
    assert elsewhere(lambda: waiting(alias)) == ["one"]


def test_a_rollback_leaves_nothing_behind(alias: str, broker: Broker) -> None:
    class Stop(Exception):
        pass

    keyed = task("keyed", dedupe_key="key", dedupe_window=LONG)
    with pytest.raises(Stop), transaction.atomic(using=alias):
        broker.send_now([task("one"), keyed])
        raise Stop
    assert waiting(alias) == []
    broker.send_now([keyed])
    assert waiting(alias) == ["keyed"], "the key was rolled back, too"


def test_a_savepoint_takes_its_messages_with_it(alias: str, broker: Broker) -> None:
    class Stop(Exception):
        pass

    with transaction.atomic(using=alias):
        broker.send_now([task("outer")])
        with pytest.raises(Stop), transaction.atomic(using=alias):
            broker.send_now([task("inner")])
            raise Stop
    assert waiting(alias) == ["outer"]


def test_a_commit_wakes_those_who_wait(alias: str, broker: Broker) -> None:
    """Not the INSERT: what is looked for then is not there yet."""
    came: list[Delivery] = []

    def wait() -> None:
        async def scenario() -> None:
            await broker.open()
            came.extend(await broker.reserve(["q"], limit=1, lease=LONG, wait=30))

        asyncio.run(scenario())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)  # let it wait; being early would only make the test easier
    with transaction.atomic(using=alias):
        broker.send_now([task("one")])
        time.sleep(0.3)
        assert not came
    thread.join(25)
    assert [delivery.frame.task_id for delivery in came if delivery.frame] == ["one"]


@pytest.fixture
def postgres_ear(transactional_db: None) -> Iterator[Any]:
    """A session that listens as workers do."""
    where = connections["postgres"].settings_dict
    names = {"host": "HOST", "port": "PORT", "user": "USER", "dbname": "NAME"}
    with psycopg.connect(autocommit=True, **{key: where[name] for key, name in names.items()}) as session:
        session.execute("LISTEN umbel")
        yield session


def is_told_of_messages(ear: Any) -> bool:
    return any(said.payload == "mq" for said in ear.notifies(timeout=PATIENCE))


@ON_POSTGRES
def test_a_send_tells_those_who_wait_even_where_something_waits_already(postgres_ear: Any) -> None:
    """That may be taken before the commit, and then nobody else would look for what was stored beside it."""
    broker = open_broker("django://postgres")
    broker.send_now([task("first")])
    assert is_told_of_messages(postgres_ear)

    async def take() -> list[str]:
        await broker.open()
        taken = await drain(broker, 1)
        await broker.close()
        return bodies(taken)

    with connections["postgres"].cursor() as cursor:
        cursor.execute("BEGIN")  # a statement that takes long to commit
        broker.send_now([task("second")])
        assert asyncio.run(take()) == ["first"]
        cursor.execute("COMMIT")
    assert is_told_of_messages(postgres_ear)


@ON_POSTGRES
def test_an_outcome_tells_those_who_wait_even_where_something_waits_already(postgres_ear: Any) -> None:
    broker = open_broker("django://postgres")
    broker.send_now([task("first")])
    assert is_told_of_messages(postgres_ear)

    async def take() -> None:
        await broker.open()
        [held] = await drain(broker, 1)
        await broker.send([task("second")])
        assert is_told_of_messages(postgres_ear)
        await broker.settle([Ack(receipt=held.receipt, then=(task("third"),))])
        await broker.close()

    asyncio.run(take())
    assert is_told_of_messages(postgres_ear)


def test_outside_of_a_transaction_it_is_there_at_once(alias: str, broker: Broker) -> None:
    broker.send_now([task("one")])
    assert elsewhere(lambda: waiting(alias)) == ["one"]


def test_a_connection_without_autocommit_is_a_transaction(alias: str, broker: Broker) -> None:
    transaction.set_autocommit(False, using=alias)
    try:
        broker.send_now([task("one")])
        transaction.rollback(using=alias)
        broker.send_now([task("two")])
        transaction.commit(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)
    assert waiting(alias) == ["two"]


def test_on_an_event_loop_it_is_sent_on_a_thread(alias: str, broker: Broker) -> None:
    """Where Django refuses to use its connection."""

    async def scenario() -> None:
        broker.send_now([task("one")])
        assert len(await drain(broker, 1)) == 1
        await broker.close()

    asyncio.run(scenario())


def test_an_outcome_and_the_end_of_its_message_are_one_transaction(
    alias: str, broker: Broker, store: ResultStore
) -> None:
    assert broker.adopt(store)
    broken = task("next")
    broken.frame.headers["object"] = object()

    async def scenario() -> None:
        await broker.open()
        await broker.send([task("one")])
        [held] = await drain(broker, 1)
        with pytest.raises(TypeError):
            await broker.settle([Ack(receipt=held.receipt, record=record("one"), then=(broken,))])
        await broker.settle([Ack(receipt=held.receipt, record=record("one"), then=(task("next"),))])

    asyncio.run(scenario())
    assert waiting(alias) == ["next"]
    assert list(Result.objects.using(alias).values_list("task_id", "state")) == [("one", "SUCCESS")]


PROGRAM = """
import os, signal, sys, django
django.setup()
from django.db import transaction
from umbel.backends import open_broker
from umbel.testing.conformance.harness import task
with transaction.atomic(using=sys.argv[1]):
    open_broker(f"django://{sys.argv[1]}").send_now([task("one")])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_inside_its_transaction_leaves_nothing_behind(
    alias: str, broker: Broker, tmp_path: pathlib.Path
) -> None:
    env = {**os.environ, **environment(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM, alias], env=env)
    assert done.returncode == -signal.SIGKILL
    broker.send_now([task("two")])
    assert waiting(alias) == ["two"]


# -- signals


@pytest.mark.parametrize("alias", [database("postgres"), database("mariadb")], indirect=True)
def test_a_signal_that_is_committed_after_a_later_one_is_heard(alias: str, broker: Broker) -> None:
    """A number is given at the INSERT, and what has the smaller one may be seen last."""
    connections[alias].ensure_connection()
    raw: Any = connections[alias].connection  # Django's own may not be used on an event loop
    heard: list[str] = []

    async def listen() -> None:
        async for each in broker.signals():
            heard.extend(each.ids)

    async def publish_until_heard(name: str) -> None:
        """Again and again: it may not listen yet."""
        async with asyncio.timeout(PATIENCE):
            while name not in heard:
                await broker.publish(Signal(kind="revoke", ids=[name]))
                await asyncio.sleep(0.05)

    async def scenario() -> None:
        await broker.open()
        await broker.publish(Signal(kind="revoke", ids=["before"]))
        with raw.cursor() as cursor:
            cursor.execute("BEGIN")
            late = msgspec.msgpack.encode(Signal(kind="revoke", ids=["late"]))
            cursor.execute(statements_of(connections[alias].vendor)["publish"], {"signal": late})
            listening = asyncio.create_task(listen())
            await publish_until_heard("usual")
            cursor.execute("COMMIT")
        await publish_until_heard("last")
        listening.cancel()
        await asyncio.wait([listening])
        await broker.close()

    asyncio.run(scenario())
    assert [heard.count(name) for name in ("before", "late")] == [0, 1], heard


# -- forks


def test_a_child_of_a_fork_has_a_connection_of_its_own(alias: str, broker: Broker) -> None:
    broker.send_now([task("before")])

    def child() -> bytes:
        broker.send_now([task("child")])
        return b""

    in_forked_child(child)
    broker.send_now([task("after")])
    assert waiting(alias) == ["before", "child", "after"]


# -- bad input


def test_an_unknown_alias_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'reports'.*Known: default, mariadb, postgres"):
        open_broker("django://reports")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("django://default?lock_timeout=soon", "lock_timeout .* 'soon'; expected a number of seconds"),
        ("django://default?wait=3", "no option named 'wait'. It has: lock_timeout, stuck_timeout"),
    ],
)
def test_wrong_options_are_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        open_store(url)


def test_no_alias_means_the_default_database() -> None:
    assert open_broker("django://").url == "django://default"


def test_missing_tables_say_how_they_are_made(alias: str, broker: Broker, store: ResultStore) -> None:
    with connections[alias].schema_editor() as editor:
        editor.alter_db_table(Message, "umbel_message", "elsewhere")
        editor.alter_db_table(Result, "umbel_result", "elsewhere_too")
    how = "manage.py migrate" + ("" if alias == "default" else f" --database={alias}")
    words = f"Umbel's tables are missing in database '{alias}' .*: run {how}\\. Nothing was written\\."
    try:
        with pytest.raises(BrokerUnavailable, match=words):
            broker.send_now([task("one")])
        with pytest.raises(StoreUnavailable, match=words):
            store.get_now(["one"])
        with pytest.raises(BrokerUnavailable, match=words):
            asyncio.run(broker.open())
    finally:
        with connections[alias].schema_editor() as editor:
            editor.alter_db_table(Message, "elsewhere", "umbel_message")
            editor.alter_db_table(Result, "elsewhere_too", "umbel_result")
    broker.send_now([task("one")])
    assert waiting(alias) == ["one"]


@pytest.mark.parametrize("what", ["queue", "id"])
def test_a_name_that_is_too_long_is_refused(alias: str, broker: Broker, what: str) -> None:
    out: Outgoing = task("x" * 256) if what == "id" else task("one", "x" * 256)
    with pytest.raises(
        EncodeError, match=r"has 256 characters; a database holds up to 255 .* Nothing was sent"
    ):
        broker.send_now([task("good"), out])
    assert waiting(alias) == []


def test_names_may_be_as_long_as_that(alias: str, broker: Broker) -> None:
    long = [task("ä" * 255, "ö" * 255, dedupe_key="k" * 5000, dedupe_window=LONG)]
    broker.send_now(long)
    broker.send_now(long)
    assert waiting(alias) == ["ä" * 255]


def test_a_server_that_is_not_there(django_db_blocker: Any) -> None:
    """Said within the time that is given, and not in doubt: nothing was sent."""
    broker = open_broker("django://postgres")
    settings = connections.settings["postgres"]
    usual = settings["HOST"]
    with django_db_blocker.unblock():
        connections["postgres"].close()
        settings["HOST"] = "/nowhere"
        try:
            with pytest.raises(BrokerUnavailable, match="'postgres' cannot be reached") as caught:
                broker.send_now([task("one")], timeout=5)
            assert not caught.value.in_doubt
        finally:
            settings["HOST"] = usual


# -- SQLite's one writer


@pytest.mark.django_db(transaction=True, available_apps=["umbel.contrib.django"])
def test_a_lock_that_somebody_keeps_is_waited_for_and_then_named() -> None:
    broker = open_broker("django://default?lock_timeout=0.5")
    locked, done = threading.Event(), threading.Event()

    def keep() -> None:
        with transaction.atomic():
            Message.objects.count()
            locked.set()
            done.wait(30)
        default_connection.close()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        assert locked.wait(30)
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=r"locked by another transaction .*nothing was written"):
            broker.send_now([task("one")], timeout=10)
        with pytest.raises(BrokerUnavailable, match=r"locked by another transaction"):
            broker.send_now([task("one")], timeout=0.1)
        assert time.monotonic() - begun < 10
    finally:
        done.set()
        thread.join()
    broker.send_now([task("two")])
    assert waiting("default") == ["two"]
    with default_connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        assert cursor.fetchone() == (5000,), "the caller's own patience is as it was"


# -- without a busy loop


@pytest.mark.serial
def test_an_idle_worker_keeps_no_processor_busy(alias: str, tmp_path: pathlib.Path) -> None:
    """How quickly it is woken is in docs/performance.md: a test has no business with a clock."""
    site = Site(tmp_path, f"django://{alias}", environment=environment(tmp_path / "path"))
    with site.worker(app="chaos.jobs", concurrency=1) as worker:
        site.call("chaos.jobs.work", 1).get(timeout=30)
        time.sleep(2)  # the looks grow rare
        before, seconds = _cpu(worker.node_pid), 3.0
        time.sleep(seconds)
        used = (_cpu(worker.node_pid) - before) / seconds
    site.close()
    assert used < (0.15 if alias == "mariadb" else 0.05)


def _cpu(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- the statements


def test_the_same_statements_are_there_for_every_database() -> None:
    sqlite, postgres, mysql = (statements_of(vendor) for vendor in ("sqlite", "postgresql", "mysql"))
    in_steps = (sqlite.keys() & mysql.keys()) - postgres.keys()
    assert sqlite.keys() - mysql.keys() == {"boot", "forget_boot", "set_boot", "version", "results_since"}
    assert mysql.keys() - sqlite.keys() == {"clock", "result_numbers"}
    assert postgres.keys() - sqlite.keys() - mysql.keys() == {
        *("bring_back", "claim", "settle", "put_results", "listen", "echo")
    }
    assert in_steps == {
        *("due", "lapsed", "put_back", "first_waiting", "hold", "remove", "release", "set_aside"),
        *("forget_key", "remember_key", "records", "unrecord", "record"),
    }


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql", "mysql"])
def test_every_statement_says_what_it_does(vendor: str) -> None:
    for file in folder_of(vendor).iterdir():
        if file.name.endswith(".sql"):
            assert file.read_text(encoding="utf-8").startswith("-- "), file.name
