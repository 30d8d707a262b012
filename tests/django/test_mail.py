"""Mail through the queue, to a real mail server: what arrives, what is tried again, what is not."""

from __future__ import annotations

import email.message
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.mime.image import MIMEImage
from pathlib import Path
from typing import Any

import django
import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.core.mail.message import BadHeaderError
from django.db import transaction
from django.test import override_settings
from django.utils import translation
from django.utils.translation import gettext_lazy
from tests.django.smtp import MailServer, free_port, mail_server

from umbel import portal
from umbel.contrib.django.mail import EmailBackend, EmailRefused, EmailTooLarge
from umbel.contrib.django.mail.forms import message_from, to_form
from umbel.errors import BrokerUnavailable, ConfigurationError, Reject
from umbel.testing import TaskRecorder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
GREEN = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Mail goes into the queue, and from there to the test's server where there is one."""
    port = request.getfixturevalue("server").port if "server" in request.fixturenames else free_port()
    with override_settings(
        EMAIL_BACKEND="umbel.contrib.django.mail.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        EMAIL_TIMEOUT=10,
        DEFAULT_FROM_EMAIL="shop@example.com",
    ):
        yield


def picture() -> Any:
    """An image that the text refers to, as this version of Django takes it."""
    if django.VERSION >= (6, 0):
        part = email.message.MIMEPart()
        part.set_content(GREEN, maintype="image", subtype="png", cid="<logo>")
        return part
    image = MIMEImage(GREEN, "png")
    image.add_header("Content-ID", "<logo>")
    return image


def letter(subject: str, to: str = "ada@example.org") -> EmailMessage:
    return EmailMessage(subject, "the body", to=[to])


# ------------------------------------------------------------------------------------------- what arrives


def test_sending_returns_at_once_and_a_task_sends(server: MailServer, umbel_tasks: TaskRecorder) -> None:
    assert mail.send_mail("Hello", "the body", None, ["ada@example.org"]) == 1
    assert server.received == []
    (sent,) = umbel_tasks.sent
    assert sent.task == "umbel.send_emails"
    (ran,) = umbel_tasks.run()
    assert ran.result == 1
    ((recipients, message),) = server.received
    assert recipients == ["ada@example.org"]
    assert (message["Subject"], message["From"], message["To"]) == (
        "Hello",
        "shop@example.com",
        "ada@example.org",
    )
    assert message.get_content().strip() == "the body"


def test_everything_that_a_message_can_have(server: MailServer, umbel_tasks: TaskRecorder) -> None:
    message = EmailMultiAlternatives(
        "Grüße ☂",
        "plain",
        "Der Laden <shop@example.com>",
        ["Ada <ada@example.org>"],
        bcc=["hidden@example.org"],
        cc=["copy@example.org"],
        reply_to=["answers@example.com"],
        headers={"X-Tenant": "north", "Message-ID": "<mine@example.com>"},
    )
    message.attach_alternative("<p>html</p>", "text/html")
    message.attach("notes.txt", "ünï", "text/plain")
    message.attach("data.bin", GREEN, "application/octet-stream")
    message.attach(picture())
    message.attach("forwarded.eml", letter("inside"), "message/rfc822")
    assert message.send() == 1
    body = umbel_tasks.sent[0].envelope
    assert json.dumps(body.args, default=bytes.hex)  # plain data
    umbel_tasks.run()
    ((recipients, arrived),) = server.received
    assert recipients == ["ada@example.org", "copy@example.org", "hidden@example.org"]
    assert arrived["Subject"] == "Grüße ☂"
    assert arrived["Cc"] == "copy@example.org"
    assert arrived["Bcc"] is None
    assert arrived["Reply-To"] == "answers@example.com"
    assert (arrived["X-Tenant"], arrived["Message-ID"]) == ("north", "<mine@example.com>")
    parts = {part.get_content_type(): part for part in arrived.walk()}
    assert parts["text/html"].get_content().strip() == "<p>html</p>"
    attached = {part.get_filename(): part for part in arrived.iter_attachments()}
    assert attached["notes.txt"].get_content().strip() == "ünï"
    assert attached["data.bin"].get_content() == GREEN
    assert parts["image/png"]["Content-ID"] == "<logo>"
    assert parts["image/png"].get_content() == GREEN
    (inside,) = [part for part in arrived.walk() if part["Subject"] == "inside"]
    assert inside.get_payload().strip() == "the body"


def test_text_is_translated_in_the_language_of_the_request(
    server: MailServer, umbel_tasks: TaskRecorder
) -> None:
    subject = gettext_lazy("Monday")
    with translation.override("de"):
        EmailMessage(subject, gettext_lazy("Tuesday"), to=["ada@example.org"]).send()
    umbel_tasks.run()
    assert server.subjects == ["Montag"]


class Invoice(EmailMultiAlternatives):
    """A class of a project's own, with an attribute and a way to write itself."""

    number = 0

    def message(self, **options: Any) -> Any:
        written = super().message(**options)
        written["X-Invoice"] = str(self.number)
        return written


def test_subclasses_keep_their_class_and_attributes(server: MailServer, umbel_tasks: TaskRecorder) -> None:
    invoice = Invoice("Your invoice", "…", to=["ada@example.org"])
    invoice.number = 7
    invoice.content_subtype = "html"
    invoice.send()
    umbel_tasks.run()
    ((_, arrived),) = server.received
    assert arrived["X-Invoice"] == "7"
    assert arrived.get_content_type() == "text/html"


def test_many_messages_go_over_one_connection(server: MailServer, umbel_tasks: TaskRecorder) -> None:
    messages = [letter(f"number {n}", f"user{n}@example.org") for n in range(5)]
    messages.append(EmailMessage("for nobody", "…"))
    assert get_connection().send_messages(messages) == 5
    assert len(umbel_tasks.sent) == 1
    umbel_tasks.run()
    assert server.subjects == [f"number {n}" for n in range(5)]
    assert server.connections == 1


@override_settings(UMBEL={"email_batch": 2, "email_queue": "post"})
def test_in_batches_and_on_a_queue_of_their_own(server: MailServer, umbel_tasks: TaskRecorder) -> None:
    mail.send_mass_mail([(f"number {n}", "…", None, ["ada@example.org"]) for n in range(5)])
    assert [(call.queue, len(call.args[0])) for call in umbel_tasks.sent] == [
        ("post", 2),
        ("post", 2),
        ("post", 1),
    ]
    umbel_tasks.run()
    assert len(server.received) == 5


def test_only_the_recipients_are_shown(umbel_tasks: TaskRecorder) -> None:
    EmailMessage(
        "Your code is 1234", "secret", to=["a@example.org", "b@example.org"], cc=["c@x.org", "d@x.org"]
    ).send()
    (sent,) = umbel_tasks.sent
    assert sent.envelope.argsrepr == "(<1 message to a@example.org, b@example.org, c@x.org and 1 more>)"
    assert sent.envelope.kwargsrepr == "{}"


@pytest.mark.django_db
def test_it_waits_for_the_commit(umbel_tasks: TaskRecorder, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert letter("Hello").send() == 1
        umbel_tasks.assert_not_sent()
    umbel_tasks.assert_sent("umbel.send_emails")


# ---------------------------------------------------------------------------------------- what goes wrong


def test_a_server_that_is_down_gets_it_later(umbel_tasks: TaskRecorder) -> None:
    letter("Patience").send()
    with override_settings(EMAIL_PORT=free_port()):
        (ran,) = umbel_tasks.run()
    assert ran.ending == "retry"
    assert ran.countdown is not None
    assert 1 <= ran.countdown <= 2
    with mail_server() as server, override_settings(EMAIL_PORT=server.port):
        umbel_tasks.advance(2)
        assert server.subjects == ["Patience"]
    assert umbel_tasks.ran[-1].result == 1


def test_pauses_grow_and_every_try_is_the_same_message(server: MailServer, umbel_tasks: TaskRecorder) -> None:
    seen: list[tuple[str, str]] = []

    def refuse(envelope: Any) -> str:
        parsed = email.message_from_bytes(envelope.content)
        seen.append((parsed["Message-ID"], parsed["Date"]))
        return "451 come back later" if len(seen) < 6 else "250 OK"

    server.answer_data = refuse
    letter("Greylisted").send()
    pauses = [ran.countdown for ran in umbel_tasks.drain() if ran.countdown is not None]
    assert [2**n <= pause <= 2 ** (n + 1) for n, pause in enumerate(pauses)] == [True] * 5
    assert server.subjects == ["Greylisted"]
    assert len(set(seen)) == 1
    assert seen[0][0].endswith("@example.com>")


def test_only_what_is_left_is_sent_again(server: MailServer, umbel_tasks: TaskRecorder) -> None:
    """The connection breaks in the middle of a batch, one recipient is refused for now, and one for good."""
    late = iter(["451 try again", "250 OK"])
    broken = iter([True, False])
    server.answer_recipient = lambda address: (
        next(late)
        if address.startswith("late")
        else "550 unknown"
        if address.startswith("wrong")
        else "250 OK"
    )
    server.answer_data = lambda envelope: (
        "" if envelope.rcpt_tos == ["broken@example.org"] and next(broken) else "250 OK"
    )
    people = ["first", "late", "wrong", "second", "broken", "third"]
    get_connection().send_messages([letter(who, f"{who}@example.org") for who in people])
    (ran,) = umbel_tasks.run()
    assert ran.ending == "retry"
    assert server.subjects == ["first", "second"]
    (ended,) = umbel_tasks.advance(10, propagate=False)
    assert sorted(server.subjects) == ["broken", "first", "late", "second", "third"], "nobody gets one twice"
    assert ended.ending == "failure"
    assert "to wrong@example.org: wrong@example.org: 550 unknown." in ended.error
    with pytest.raises(EmailRefused, match="550 unknown"):
        umbel_tasks.app.AsyncResult(ended.id).get()


@pytest.mark.parametrize("answer", ["550 no such user", "554 spam"])
def test_what_is_refused_for_good_is_not_tried_again(
    server: MailServer, umbel_tasks: TaskRecorder, answer: str
) -> None:
    server.answer_data = lambda envelope: answer
    letter("Spam").send()
    (ran,) = umbel_tasks.run(propagate=False)
    assert (ran.ending, ran.error.partition(":")[0]) == (
        "failure",
        "umbel.contrib.django.mail.delivery.EmailRefused",
    )
    assert answer in ran.error


@override_settings(UMBEL={"email_max_retries": 3})
def test_after_the_last_try_it_lies_among_the_dead_letters(
    server: MailServer, umbel_tasks: TaskRecorder
) -> None:
    server.answer_data = lambda envelope: "451 full"
    letter("Undelivered").send()
    ended = umbel_tasks.drain(propagate=False)
    assert [ran.ending for ran in ended] == ["retry", "retry", "retry", "rejected"]
    assert ended[-1].error.endswith(
        "1 of the messages could not be sent in 4 tries. The last error: SMTPDataError: 451 full"
    )
    with pytest.raises(Reject):
        umbel_tasks.app.AsyncResult(ended[-1].id).get()
    # Once the server is well again:
    broker = umbel_tasks.app.broker
    (dead,) = portal.run(broker.browse("dead"))
    portal.run(broker.requeue("dead", [dead.key]))
    server.answer_data = lambda envelope: "250 OK"
    umbel_tasks.run()
    assert server.subjects == ["Undelivered"]


def test_a_wrong_password_is_nobodys_message(umbel_tasks: TaskRecorder, server: MailServer) -> None:
    """It is refused with 535, but mended in the settings: tried again, not given up."""
    letter("Locked out").send()
    with override_settings(EMAIL_HOST_USER="shop", EMAIL_HOST_PASSWORD="wrong"):
        (ran,) = umbel_tasks.run()
    assert ran.ending == "retry"
    umbel_tasks.drain()
    assert server.subjects == ["Locked out"]


def test_a_worker_that_died_in_the_middle_of_a_batch(server: MailServer, tmp_path: Path) -> None:
    """Real processes: the worker is killed while the third message is on its way; nobody gets one twice."""
    (tmp_path / "mailing.py").write_text(_PROJECT)
    url = f"sqlite:///{tmp_path}/queue.db"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "mailing",
        "MAIL_PORT": str(server.port),
        "UMBEL_BROKER_URL": url,
        "UMBEL_RESULT_BACKEND": url,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
    }
    killed: list[int] = []
    complete = threading.Event()

    def answer(envelope: Any) -> str:
        if len(server.received) == 2 and not killed:
            killed.append(int((tmp_path / "pid").read_text()))
            os.kill(killed[0], signal.SIGKILL)
            return "451 nobody is there to hear it"
        if len(server.received) == 4:
            complete.set()
        return "250 OK"

    server.answer_data = answer
    send = "import django; django.setup(); import mailing; mailing.send()"
    subprocess.run([sys.executable, "-c", send], env=environment, cwd=tmp_path, check=True, timeout=60)
    worker = subprocess.Popen(
        [sys.executable, "-m", "django", "umbel", "worker", "--concurrency", "1"],
        env=environment,
        cwd=tmp_path,
    )
    try:
        assert complete.wait(60)
    finally:
        worker.terminate()
        worker.wait(30)
    assert killed
    assert server.subjects == [f"number {n}" for n in range(5)]


_PROJECT = """
import os

SECRET_KEY = "only for tests"
INSTALLED_APPS = ["umbel.contrib.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
ROOT_URLCONF = "mailing"
urlpatterns = []
EMAIL_BACKEND = "umbel.contrib.django.mail.EmailBackend"
UMBEL = {"email_backend": "mailing.Backend"}
EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = "127.0.0.1", int(os.environ["MAIL_PORT"]), 10


def __getattr__(name):
    if name != "Backend":
        raise AttributeError(name)
    from django.core.mail.backends.smtp import EmailBackend

    class Backend(EmailBackend):
        def open(self):
            with open("pid", "w") as file:
                file.write(str(os.getpid()))
            return super().open()

    return Backend


def send():
    from django.core.mail import EmailMessage, get_connection

    get_connection().send_messages(
        [EmailMessage(f"number {n}", "...", "shop@example.com", ["ada@example.org"]) for n in range(5)]
    )
"""


# --------------------------------------------------------------------------------------------- bad input


def test_line_breaks_in_headers_are_refused_where_they_are_made(umbel_tasks: TaskRecorder) -> None:
    for message in (
        letter("Hello\nBcc: everybody@example.org"),
        letter("Hello", "ada@example.org\r\nX: y"),
        EmailMessage("Hello", "…", to=["ada@example.org"], headers={"X-A": "a\nb"}),
    ):
        with pytest.raises(BadHeaderError, match="can't contain newlines"):
            message.send()
    umbel_tasks.assert_not_sent()


@override_settings(UMBEL={"email_max_bytes": 1000})
def test_a_message_that_is_too_large(server: MailServer, umbel_tasks: TaskRecorder) -> None:
    message = letter("Large")
    message.attach("large.bin", bytes(2000), "application/octet-stream")
    with pytest.raises(
        EmailTooLarge, match=r"Nothing was sent\. Store the file and mail a link, raise email_max_bytes"
    ):
        get_connection().send_messages([letter("Small"), message])
    umbel_tasks.assert_not_sent()
    with override_settings(UMBEL={"email_max_bytes": 1000, "email_too_large": "direct"}):
        assert get_connection().send_messages([letter("Small"), message]) == 2
        assert server.subjects == ["Large"]
        umbel_tasks.run()
    assert server.subjects == ["Large", "Small"]


@override_settings(UMBEL={"email_max_bytes": 1000})
def test_small_ones_are_kept_apart_when_they_are_large_together(umbel_tasks: TaskRecorder) -> None:
    messages = [EmailMessage("Hello", "x" * 400, to=["ada@example.org"]) for _ in range(5)]
    get_connection().send_messages(messages)
    assert [len(call.args[0]) for call in umbel_tasks.sent] == [2, 2, 1]


def test_credentials_do_not_belong_into_the_queue() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"was given password, username\. It opens no connection"):
        mail.send_mail("Hello", "…", None, ["ada@example.org"], auth_user="shop", auth_password="secret")


def test_a_message_with_a_connection_of_its_own_goes_there(umbel_tasks: TaskRecorder) -> None:
    connection = get_connection("django.core.mail.backends.locmem.EmailBackend")
    EmailMessage("Hello", "…", to=["ada@example.org"], connection=connection).send()
    umbel_tasks.assert_not_sent()
    assert [message.subject for message in mail.outbox] == ["Hello"]


def test_a_class_that_no_worker_could_import(umbel_tasks: TaskRecorder) -> None:
    class Local(EmailMessage):
        pass

    with pytest.raises(TypeError, match=r"<locals>\.Local cannot be sent through the queue"):
        Local("Hello", "…", to=["ada@example.org"]).send()


def test_only_classes_of_messages_are_made_from_the_queue() -> None:
    form = {**to_form(letter("Hello")), "class": "subprocess.Popen"}
    with pytest.raises(ValueError, match=r"'subprocess\.Popen' is not a class of messages"):
        message_from(form)
    with pytest.raises(ValueError, match="cannot be imported here"):
        message_from({**form, "class": "no.such.Thing"})


@override_settings(UMBEL={"email_backend": "umbel.contrib.django.mail.EmailBackend"})
def test_a_backend_that_sends_through_itself(umbel_tasks: TaskRecorder) -> None:
    letter("Round and round").send()
    with pytest.raises(ConfigurationError, match="they would go round for ever"):
        umbel_tasks.run()


@override_settings(UMBEL={"email_backend": "no.such.Backend"})
def test_a_backend_that_is_not_there(umbel_tasks: TaskRecorder) -> None:
    letter("Nowhere").send()
    with pytest.raises(
        ConfigurationError, match=r"email_backend is 'no\.such\.Backend', which cannot be imported"
    ):
        umbel_tasks.run()


@pytest.mark.django_db(transaction=True)
def test_a_queue_out_of_reach_at_the_commit(umbel_tasks: TaskRecorder) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with umbel_tasks.app.conf.overridden(broker_url=url, broker_send_timeout=0.5):
        with transaction.atomic():
            assert EmailBackend(fail_silently=True).send_messages([letter("Lost")]) == 1
        with pytest.raises(BrokerUnavailable), transaction.atomic():
            letter("Lost?").send()
    with transaction.atomic():
        EmailBackend(fail_silently=True).send_messages([letter("Sent")])
        umbel_tasks.assert_not_sent()
    umbel_tasks.assert_sent("umbel.send_emails")


def test_a_queue_out_of_reach(umbel_tasks: TaskRecorder) -> None:
    port = free_port()
    with umbel_tasks.app.conf.overridden(broker_url=f"redis://127.0.0.1:{port}/0", broker_send_timeout=0.5):
        with pytest.raises(BrokerUnavailable):
            letter("Lost?").send()
        assert EmailBackend(fail_silently=True).send_messages([letter("Lost")]) == 0


if django.VERSION >= (6, 1):
    from django.core.mail import mailers
    from django.core.mail.exceptions import InvalidMailer

    QUEUED = {"BACKEND": "umbel.contrib.django.mail.EmailBackend", "OPTIONS": {"using": "smtp"}}

    @pytest.fixture
    def mailer_settings(server: MailServer) -> Iterator[dict[str, Any]]:
        smtp = {"OPTIONS": {"host": "127.0.0.1", "port": server.port, "timeout": 10}}
        with override_settings(MAILERS={"default": QUEUED, "smtp": smtp}):
            yield {"default": QUEUED, "smtp": smtp}

    def test_mailers(server: MailServer, umbel_tasks: TaskRecorder, mailer_settings: Any) -> None:
        mail.send_mail("Hello", "the body", None, ["ada@example.org"])
        letter("Hello again").send(using="default")
        letter("At once").send(using="smtp")
        assert server.subjects == ["At once"]
        umbel_tasks.run()
        assert server.subjects == ["At once", "Hello", "Hello again"]

    def test_mailers_that_name_nobody(mailer_settings: dict[str, Any], umbel_tasks: TaskRecorder) -> None:
        mailer_settings["default"] = {"BACKEND": QUEUED["BACKEND"]}
        with (
            override_settings(MAILERS=mailer_settings),
            pytest.raises(ImproperlyConfigured, match="does not say who sends them"),
        ):
            letter("Hello").send()
        loop = {**QUEUED, "OPTIONS": {"using": "default"}}
        with override_settings(MAILERS={"default": loop}):
            letter("Hello").send()
            with pytest.raises(ConfigurationError, match=r"MAILERS\['default'\] names"):
                umbel_tasks.run()
        fast = {**QUEUED, "OPTIONS": {"using": "smtp", "speed": 9}}
        with (
            override_settings(MAILERS={"default": fast}),
            pytest.raises((ImproperlyConfigured, InvalidMailer), match="speed"),
        ):
            mailers["default"]
