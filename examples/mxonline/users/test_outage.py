"""A mail server that is away for a minute, on a clock that the test moves."""

from unittest import mock

from django.core import mail
from django.core.mail import EmailMessage

from umbel.contrib.django.testing import TestCase

from .tasks import send_register_email


class OutageTests(TestCase):
    def test_the_mail_is_sent_when_the_server_is_back(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post("/register/", {"email": "ada@example.com", "password": "a long enough one"})
        self.tasks.assert_sent(send_register_email, "ada@example.com", "register")

        with mock.patch.object(EmailMessage, "send", side_effect=ConnectionRefusedError):
            self.tasks.advance(60)
        assert {run.ending for run in self.tasks.ran} == {"retry"}
        assert mail.outbox == []

        self.tasks.advance(60)
        assert self.tasks.ran[-1].ending == "success"
        assert len(mail.outbox) == 1
