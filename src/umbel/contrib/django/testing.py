"""For Django's test cases: ``class RegistrationTests(TasksMixin, TestCase)``.

Inside a ``TestCase`` calls wait for the commit that never comes, as they do for a rollback; Django's own
``captureOnCommitCallbacks(execute=True)`` is the commit::

    def test_registering_sends_a_mail(self):
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post("/register", {"email": "ada@example.org"})
        self.tasks.assert_sent(send_register_email, "ada@example.org")
        self.tasks.run()
        self.assertEqual(len(mail.outbox), 1)

With pytest the fixture ``umbel_tasks`` is the same as ``self.tasks`` (see ``umbel.testing.pytest_plugin``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from django import test

from umbel.contrib.django.project import get_app
from umbel.testing import record_tasks

if TYPE_CHECKING:
    from umbel.testing import TaskRecorder

__all__ = ["TasksMixin", "TestCase", "TransactionTestCase"]


class TasksMixin:
    """Gives each test ``self.tasks``, a ``umbel.testing.TaskRecorder``: what the project's app sends goes there."""

    tasks: TaskRecorder
    tasks_mode: Literal["manual", "inline"] = "manual"
    """``"manual"``: tasks run when the test says ``self.tasks.run()``. ``"inline"``: as soon as they are sent, which in a
    ``TestCase`` is when the callbacks on commit are executed."""

    def setUp(self) -> None:
        recording = record_tasks(get_app(), mode=self.tasks_mode)
        self.tasks = self.enterContext(recording)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]


class TestCase(TasksMixin, test.TestCase):
    """Django's, with ``self.tasks``."""


class TransactionTestCase(TasksMixin, test.TransactionTestCase):
    """Django's, with ``self.tasks``. Here a real worker can be started: ``with self.tasks.worker():``."""
