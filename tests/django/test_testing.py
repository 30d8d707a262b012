"""The tools for tests of Django projects: commit and rollback, tasks inside of transactions, a worker, the clock."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import TestCase

from umbel import shared_task
from umbel.contrib.django import ref, testing
from umbel.testing import TaskRecorder


@shared_task(name="tests.greet")
def greet(user_id: int) -> str:
    return f"hello {User.objects.get(pk=user_id).username}"


@shared_task(name="tests.promote", bind=True, max_retries=2)
def promote(self: Any, user: User, fail: bool = False) -> None:
    """Writes in a transaction, and sends from inside of it."""
    with transaction.atomic():
        user.is_staff = True
        user.save()
        greet.delay(user.pk)
        if fail:
            raise self.retry(countdown=60)


@shared_task(name="tests.rename")
async def rename(user: User, name: str) -> int:
    """Asynchronous: Django goes to the database in a thread of its choice."""
    user.username = name
    await user.asave()
    await greet.adelay(user.pk)
    return await User.objects.acount()


class RecordedTests(testing.TasksMixin, TestCase):
    def test_a_call_waits_for_the_commit(self) -> None:
        greet.delay(1)
        self.tasks.assert_not_sent()
        with pytest.raises(
            AssertionError, match="this thread is in a transaction, and calls wait for its end"
        ):
            self.tasks.assert_sent(greet)
        with self.captureOnCommitCallbacks(execute=True):
            greet.delay(2)
            self.tasks.assert_not_sent()
        self.tasks.assert_sent(greet, 2)
        assert len(self.tasks.sent) == 1

    def test_a_rollback_sends_nothing(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                greet.delay(1)
                raise ZeroDivisionError
            greet.delay(2)
        assert [call.args for call in self.tasks.sent] == [(2,)]

    def test_tasks_see_the_data_of_the_test_and_send_what_they_commit(self) -> None:
        user = User.objects.create(username="ada")
        with self.captureOnCommitCallbacks(execute=True):
            promote.delay(ref(user))
        assert [ran.task for ran in self.tasks.run()] == ["tests.promote", "tests.greet"]
        assert self.tasks.ran[-1].result == "hello ada"
        user.refresh_from_db()
        assert user.is_staff

    def test_what_a_task_rolls_back_is_not_sent(self) -> None:
        user = User.objects.create(username="ada")
        with self.captureOnCommitCallbacks(execute=True):
            promote.delay(ref(user), fail=True)
        assert [ran.ending for ran in self.tasks.run()] == ["retry"]
        user.refresh_from_db()
        assert not user.is_staff
        self.tasks.assert_not_sent(greet)
        ended = self.tasks.advance(120, propagate=False)
        assert [ran.ending for ran in ended] == ["retry", "failure"]

    def test_asynchronous_tasks_too(self) -> None:
        user = User.objects.create(username="ada")
        with self.captureOnCommitCallbacks(execute=True):
            rename.delay(ref(user), "grace")
        assert [ran.result for ran in self.tasks.run()] == [1, "hello grace"]

    def test_no_worker_in_a_transaction(self) -> None:
        with pytest.raises(RuntimeError, match="Use TransactionTestCase"), self.tasks.worker():
            pass


class InlineTests(testing.TestCase):
    tasks_mode = "inline"

    def test_it_runs_with_the_commit(self) -> None:
        user = User.objects.create(username="ada")
        with self.captureOnCommitCallbacks(execute=True):
            result = promote.delay(ref(user))
            assert not result.ready()
        assert result.successful()
        assert [ran.task for ran in self.tasks.ran] == ["tests.promote", "tests.greet"]
        user.refresh_from_db()
        assert user.is_staff


class WorkerTests(testing.TransactionTestCase):
    def test_a_worker_runs_them(self) -> None:
        user = User.objects.create(username="ada")
        with self.tasks.worker(concurrency=2):
            assert greet.delay(user.pk).get(timeout=20) == "hello ada"
            promote.delay(ref(user)).get(timeout=20)
        user.refresh_from_db()
        assert user.is_staff


@pytest.mark.django_db
def test_with_the_fixtures_of_pytest(
    umbel_tasks: TaskRecorder, django_capture_on_commit_callbacks: Any
) -> None:
    user = User.objects.create(username="ada")
    with django_capture_on_commit_callbacks(execute=True):
        promote.delay(ref(user))
    umbel_tasks.run()
    umbel_tasks.assert_sent(greet, user.pk)
    assert umbel_tasks.ran[-1].result == "hello ada"


@pytest.mark.django_db(transaction=True)
def test_and_a_worker(umbel_worker: TaskRecorder) -> None:
    user = User.objects.create(username="ada")
    assert greet.delay(user.pk).get(timeout=20) == "hello ada"
