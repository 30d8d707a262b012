"""The outbox: what was committed is sent, whoever dies and whatever is away; and it arrives once."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.django.project import Project, eventually
from tests.servers import RedisServer, free_port

TASKS = """
from pathlib import Path
from umbel import shared_task

@shared_task
def note(word):
    with open(Path(__file__).parent / "notes", "a") as file:
        file.write(word + "\\n")
"""


@pytest.fixture
def redis(tmp_path: pathlib.Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder, port=free_port(), aof=True) as server:
        yield server


@pytest.fixture
def project(tmp_path: pathlib.Path, redis: RedisServer) -> Project:
    project = Project(tmp_path / "site")
    project.write("orders/tasks.py", TASKS)
    project.add_settings(
        f"UMBEL = {{'broker_url': {redis.url()!r}, 'result_backend': {redis.url()!r}, 'outbox': True, 'broker_send_timeout': 1}}\n"
    )
    project.manage("migrate", "-v", "0")
    return project


def notes(project: Project) -> list[str]:
    path = project.folder / "orders/notes"
    return path.read_text().split() if path.exists() else []


def boxed(project: Project) -> int:
    said = project.python(
        "from umbel.contrib.django.models import OutboxMessage\nprint(OutboxMessage.objects.count())"
    )
    return int(said.stdout)


@contextmanager
def armed(project: Project, point: str) -> Iterator[None]:
    """The first process that passes this point is killed there."""
    folder = project.folder / "points"
    folder.mkdir()
    (folder / f"{point}.armed").write_text("kill 1")
    project.env["UMBEL_FAULT_POINTS"] = str(folder)
    yield
    del project.env["UMBEL_FAULT_POINTS"]


CALL = """
from django.db import transaction
from orders.tasks import note
with transaction.atomic():
    note.delay("one")
    note.apply_async(("two",), priority=5)
    note.apply_async(("later",), countdown=0.5)
"""


def test_what_is_committed_is_sent_at_once_and_leaves_the_box(project: Project, redis: RedisServer) -> None:
    project.python(CALL)
    assert redis.command("LLEN", "celery") != 0
    assert boxed(project) == 0
    with project.worker():
        eventually(lambda: len(notes(project)) == 3, "three notes")
    assert sorted(notes(project)) == ["later", "one", "two"]


def test_what_is_rolled_back_leaves_nothing(project: Project, redis: RedisServer) -> None:
    project.python(CALL + "    transaction.set_rollback(True)\n")
    assert boxed(project) == 0
    assert redis.command("KEYS", "celery*") == []


@pytest.mark.parametrize("point", ["outbox.committed", "outbox.sent"])
def test_a_process_that_dies_around_the_sending_loses_and_repeats_nothing(
    project: Project, redis: RedisServer, point: str
) -> None:
    with armed(project, point):
        assert project.python(CALL, check=False).returncode == -signal.SIGKILL
    assert boxed(project) == 3
    with project.worker():
        eventually(lambda: boxed(project) == 0, "an empty box")
        eventually(lambda: len(notes(project)) >= 3, "three notes")
        project.python("from orders.tasks import note\nnote.delay('last').get(timeout=60)")
    assert sorted(notes(project)) == ["last", "later", "one", "two"]


def test_two_workers_empty_one_box_and_nothing_comes_twice(project: Project, redis: RedisServer) -> None:
    many = CALL.replace('note.delay("one")', "[note.delay(f'n{n}') for n in range(200)]")
    with armed(project, "outbox.committed"):
        assert project.python(many, check=False).returncode == -signal.SIGKILL
    with project.worker("-n", "a@%h"), project.worker("-n", "b@%h"):
        eventually(lambda: boxed(project) == 0, "an empty box")
        eventually(lambda: len(notes(project)) >= 202, "all notes")
        project.python("from orders.tasks import note\nnote.delay('last').get(timeout=60)")
    found = notes(project)
    assert len(found) == len(set(found)) == 203


def test_while_redis_is_away_calls_wait_in_the_box(project: Project, redis: RedisServer) -> None:
    with project.worker() as worker:
        redis.stop()
        project.python(CALL + "\nfor n in range(20):\n    note.delay(f'outside-{n}')\n")
        assert boxed(project) == 23
        redis.start()
        eventually(lambda: len(notes(project)) == 23, "all notes")
        eventually(lambda: boxed(project) == 0, "an empty box")
        assert "Traceback" not in worker.output()


def test_a_call_that_cannot_be_sent_stays_with_its_reason_and_holds_up_no_other(
    project: Project, redis: RedisServer
) -> None:
    with armed(project, "outbox.committed"):
        assert project.python(CALL, check=False).returncode == -signal.SIGKILL
    project.python(
        "from umbel.contrib.django.models import OutboxMessage\n"
        "row = OutboxMessage.objects.first()\nrow.frame = b'not a frame'\nrow.save()\n"
    )
    with project.worker() as worker:
        eventually(lambda: len(notes(project)) == 2, "two notes")
        worker.wait_for("cannot be sent")
        said = project.python(
            "from umbel.contrib.django.models import OutboxMessage\n"
            "row = OutboxMessage.objects.get()\nprint(row.tries, bool(row.problem))"
        )
    assert said.stdout.split() == ["1", "True"]


def test_the_same_task_id_again_is_another_call(project: Project, redis: RedisServer) -> None:
    project.python(
        """
        from django.db import transaction
        from orders.tasks import note
        for word in ("inside", "again"):
            with transaction.atomic():
                note.apply_async((word,), task_id="nightly")
            note.apply_async((f"out-{word}",), task_id="nightly")
        """
    )
    with project.worker("-c", "1"):
        eventually(lambda: len(notes(project)) >= 4, "four notes")
    assert sorted(notes(project)) == ["again", "inside", "out-again", "out-inside"]


def test_what_is_sent_directly_is_not_remembered_for_long(project: Project, redis: RedisServer) -> None:
    project.python("from orders.tasks import note\nnote.delay('direct')")
    keys = redis.command("KEYS", "*dedupe*")
    assert isinstance(keys, list)
    assert len(keys) == 1
    left = redis.command("PTTL", keys[0])
    assert isinstance(left, int)
    assert 0 < left <= 600_000


def test_a_coroutine_in_a_process_that_has_no_connection_yet_uses_the_box(
    project: Project, redis: RedisServer
) -> None:
    redis.stop()
    project.python("import asyncio\nfrom orders.tasks import note\nasyncio.run(note.adelay('one'))")
    assert boxed(project) == 1


def test_while_redis_is_known_to_be_away_nobody_is_waited_for(project: Project, redis: RedisServer) -> None:
    redis.stop()
    said = project.python(
        """
        from django.db import connection, transaction
        from umbel.contrib.django.models import OutboxMessage
        from orders.tasks import note
        note.delay("outside")
        with transaction.atomic():
            note.delay("inside")
            print(len(connection.run_on_commit))
        print([(row.not_before - row.stored_at).total_seconds() for row in OutboxMessage.objects.all()])
        """
    )
    assert said.stdout.splitlines() == ["0", "[0.0, 0.0]"]


def test_a_long_id_fits(project: Project, redis: RedisServer) -> None:
    said = project.python(
        """
        from django.db import transaction
        from umbel.contrib.django.models import OutboxMessage
        from orders.tasks import note
        with transaction.atomic():
            print(note.apply_async(("one",), task_id="t" * 300).id)
            row = OutboxMessage.objects.get()
            print(len(row.dedupe_key) <= 255, len(row.task_id))
        """
    )
    assert said.stdout.split() == ["t" * 300, "True", "255"]


def test_the_transaction_of_another_database_does_not_bypass_the_box(
    project: Project, redis: RedisServer
) -> None:
    project.add_settings(
        "DATABASES['other'] = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE_DIR / 'other.sqlite3'}\n"
    )
    redis.stop()
    project.python(
        """
        from django.db import connections, transaction
        from orders.tasks import note
        with transaction.atomic(using="other"):
            note.delay("committed")
        with transaction.atomic(using="other"), transaction.atomic():
            note.delay("stored")
        with transaction.atomic(using="other"):
            note.delay("rolled back")
            transaction.set_rollback(True, using="other")
        """
    )
    assert boxed(project) == 2


def test_without_autocommit_the_call_is_a_row_of_the_transaction(
    project: Project, redis: RedisServer
) -> None:
    project.python(
        """
        from django.db import transaction
        from orders.tasks import note
        transaction.set_autocommit(False)
        note.delay("rolled back")
        transaction.rollback()
        note.delay("one")
        transaction.commit()
        """
    )
    assert boxed(project) == 1
    with project.worker():
        eventually(lambda: notes(project) == ["one"], "the note")


def test_a_missing_table_is_found_by_the_check_and_told_of_by_the_call(
    project: Project, redis: RedisServer
) -> None:
    project.manage("migrate", "umbel", "0001", "-v", "0")
    done = project.manage("check", "--database", "default", check=False)
    assert "(umbel.E004)" in done.stderr
    assert "umbel_outbox" in done.stderr
    done = project.python(CALL, check=False)
    assert "BrokerUnavailable" in done.stderr
    assert "run manage.py migrate" in done.stderr
