"""What the pages and the tasks of accounts do, without a worker or a mail server."""

import re
import threading
from datetime import timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any
from unittest import mock

from django.core import mail
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from umbel.contrib.django.testing import TestCase

from . import throttle
from .models import EmailVerifyRecord, User
from .tasks import delete_expired_codes, send_register_email

ADA = "ada@example.com"
PASSWORD = "a long enough one"


class AccountTestCase(TestCase):
    tasks_mode = "inline"

    def setUp(self) -> None:
        super().setUp()
        cache.clear()

    def post(self, path: str, data: dict[str, str] | None = None, **options: Any) -> Any:
        """What a page answers; what it has sent runs when its transaction is committed."""
        with self.captureOnCommitCallbacks(execute=True):
            return self.client.post(path, data, **options)

    def link(self) -> str:
        """The path of the link in the newest mail."""
        found = re.search(r"http://127\.0\.0\.1:8000(/\S+)", str(mail.outbox[-1].body))
        assert found, mail.outbox[-1].body
        return found[1]

    def code(self) -> str:
        """The code in the newest mail."""
        found = re.search(r"^([A-Z0-9]{4})$", str(mail.outbox[-1].body), re.MULTILINE)
        assert found, mail.outbox[-1].body
        return found[1]

    def register(self, email: str = ADA, password: str = PASSWORD, **headers: Any) -> Any:
        return self.post("/register/", {"email": email, "password": password}, **headers)

    def shown(self, response: Any) -> str:
        return re.sub(r'csrfmiddlewaretoken" value="\w+"', "", response.content.decode())


class RegisterTests(AccountTestCase):
    def test_register_and_activate(self) -> None:
        response = self.post("/register/", {"email": "Ada@Example.com", "password": PASSWORD}, follow=True)
        self.assertContains(response, "Mail sent, please check")
        assert not User.objects.get(email=ADA).is_active
        assert not self.client.login(email=ADA, password=PASSWORD)
        assert mail.outbox[0].to == [ADA]
        link = self.link()
        self.assertContains(self.client.get(link), ADA)
        assert not User.objects.get(email=ADA).is_active, "looking at the page does not activate"
        response = self.post(link, {"password": PASSWORD}, follow=True)
        self.assertContains(response, "Your account is active")
        assert User.objects.get(email=ADA).is_active
        self.assertContains(self.client.get(link), "This link does not work", status_code=404)

    def test_whoever_opens_the_link_must_know_the_password(self) -> None:
        self.register(password="that of somebody else")
        response = self.post(self.link(), {"password": PASSWORD})
        self.assertContains(response, "not the password of the registration")
        assert not User.objects.get(email=ADA).is_active

    def test_an_account_that_is_activated_meanwhile_stays_as_it_is(self) -> None:
        self.register()
        find = User.objects.get_or_create

        def find_then_activate(**which: Any) -> Any:
            found = find(**which)
            User.objects.update(is_active=True)
            return found

        with mock.patch.object(User.objects, "get_or_create", find_then_activate):
            self.register(password="that of somebody else")
        assert self.client.login(email=ADA, password=PASSWORD)

    def test_the_mail_is_in_the_language_of_the_page(self) -> None:
        self.register(headers={"accept-language": "zh-CN,zh;q=0.9"})
        assert mail.outbox[0].subject == "激活您的 MxOnline 账号"
        assert User.objects.get(email=ADA).language == "zh-hans"

    def test_a_page_does_not_tell_who_has_an_account(self) -> None:
        User.objects.create_user(ADA, PASSWORD)
        for path in ("/register/", "/forget/"):
            known = self.post(path, {"email": ADA, "password": "another good one"}, follow=True)
            unknown = self.post(path, {"email": f"{path[1]}@example.com", "password": PASSWORD}, follow=True)
            assert self.shown(known) == self.shown(unknown)
        assert self.client.login(email=ADA, password=PASSWORD), "the password is the old one"
        assert "already have an account" in mail.outbox[0].subject
        assert "/activate/" not in str(mail.outbox[0].body)

    @override_settings(ALLOWED_HOSTS=["*"])
    def test_links_are_made_from_the_sites_own_address(self) -> None:
        self.register(headers={"host": "evil.example"})
        assert "evil" not in str(mail.outbox[0].body)

    def test_weak_passwords_and_wrong_addresses_are_refused(self) -> None:
        self.assertContains(self.register(password="12345"), "too short")
        self.assertContains(self.register(email="nobody"), "valid email address")
        assert mail.outbox == []

    def test_forms_are_protected(self) -> None:
        strict = Client(enforce_csrf_checks=True)
        for path in ("/register/", "/login/", "/forget/", "/language/", "/logout/"):
            assert strict.post(path).status_code == 403


class LoginTests(AccountTestCase):
    def setUp(self) -> None:
        super().setUp()
        User.objects.create_user(ADA, PASSWORD)

    def test_log_in_and_out(self) -> None:
        self.post("/login/", {"username": "ADA@example.com", "password": PASSWORD})
        self.assertContains(self.client.get("/profile/"), ADA)
        self.post("/logout/")
        self.assertRedirects(self.client.get("/profile/"), "/login/?next=/profile/")

    def test_many_wrong_passwords_close_the_door_for_a_while(self) -> None:
        for _ in range(throttle.MOST_FAILURES):
            self.assertContains(self.post("/login/", {"username": ADA, "password": "no"}), "correct")
        response = self.post("/login/", {"username": ADA, "password": PASSWORD})
        self.assertContains(response, "wait five minutes")

    def test_strangers_do_not_lock_the_owner_out(self) -> None:
        for _ in range(throttle.MOST_FAILURES + 1):
            self.post("/login/", {"username": ADA, "password": "no"}, REMOTE_ADDR="192.0.2.66")
        self.post("/login/", {"username": ADA, "password": PASSWORD})
        self.assertContains(self.client.get("/profile/"), ADA)

    def test_the_right_password_clears_the_count(self) -> None:
        for _ in range(2):
            for _ in range(throttle.MOST_FAILURES - 1):
                self.post("/login/", {"username": ADA, "password": "no"})
            self.post("/login/", {"username": ADA, "password": PASSWORD})
            self.assertContains(self.client.get("/profile/"), ADA)
            self.post("/logout/")

    def test_guesses_at_the_same_time_count_each(self) -> None:
        together, allowed = threading.Barrier(4 * throttle.MOST_FAILURES), []
        request = RequestFactory().post("/login/")

        def guess() -> None:
            together.wait()
            allowed.append(throttle.may_try_password(request, ADA))

        threads = [threading.Thread(target=guess) for _ in range(together.parties)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(allowed) == throttle.MOST_FAILURES

    def test_the_language_is_kept_with_the_account(self) -> None:
        self.client.login(email=ADA, password=PASSWORD)
        response = self.post("/language/", {"language": "zh-hans", "next": "/profile/"}, follow=True)
        self.assertContains(response, "个人中心")
        self.post("/forget/", {"email": ADA})
        assert mail.outbox[0].subject == "重置您的 MxOnline 密码"


class ForgottenPasswordTests(AccountTestCase):
    def setUp(self) -> None:
        super().setUp()
        User.objects.create_user(ADA, PASSWORD)

    def test_a_new_password(self) -> None:
        self.post("/forget/", {"email": ADA})
        link = self.link()
        new = {"new_password1": "quite another one", "new_password2": "quite another one"}
        self.assertRedirects(self.post(link, new), "/login/")
        assert self.client.login(email=ADA, password="quite another one")
        assert self.client.get(link).status_code == 404, "it works once"

    def test_nobody_without_an_account_gets_a_mail(self) -> None:
        self.post("/forget/", {"email": "nobody@example.com"})
        assert mail.outbox == []

    def test_only_the_newest_link_works(self) -> None:
        self.post("/forget/", {"email": ADA})
        first = self.link()
        self.post("/forget/", {"email": ADA})
        assert self.client.get(first).status_code == 404
        assert self.client.get(self.link()).status_code == 200

    def test_a_link_expires(self) -> None:
        self.post("/forget/", {"email": ADA})
        EmailVerifyRecord.objects.update(expiry=timezone.now())
        assert self.client.get(self.link()).status_code == 404


class ChangeOfAddressTests(AccountTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.user = User.objects.create_user(ADA, PASSWORD)
        self.client.force_login(self.user)

    def ask(self, email: str = "new@example.com") -> None:
        self.post("/profile/email/", {"email": email, "password": PASSWORD})

    def confirm(self, code: str) -> Any:
        return self.post("/profile/email/confirm/", {"code": code}, follow=True)

    def test_the_code_changes_the_address(self) -> None:
        self.ask()
        assert mail.outbox[0].to == ["new@example.com"]
        self.assertContains(self.confirm(self.code().lower()), "Your address is changed")
        assert User.objects.get().email == "new@example.com"
        assert (mail.outbox[1].to, mail.outbox[1].subject) == (
            [ADA],
            "The address of your account at MxOnline is changed",
        )

    def test_who_does_not_know_the_password_cannot_change_the_address(self) -> None:
        for password in ("", "no"):
            response = self.post("/profile/email/", {"email": "new@example.com", "password": password})
            assert response.status_code == 200
        self.assertContains(response, "This password is wrong")
        assert mail.outbox == []
        for _ in range(throttle.MOST_FAILURES):
            response = self.post("/profile/email/", {"email": "new@example.com", "password": "no"})
        self.assertContains(response, "wait five minutes")

    def test_a_wrong_code_does_not_and_after_a_few_none_does(self) -> None:
        self.ask()
        for _ in range(EmailVerifyRecord.MOST_GUESSES):
            self.assertContains(self.confirm("0000"), "wrong or no longer valid")
        self.assertContains(self.confirm(self.code()), "wrong or no longer valid")
        self.ask()
        self.assertContains(self.confirm(self.code()), "Your address is changed")

    def test_codes_are_limited_for_an_account_and_not_only_for_an_address(self) -> None:
        for n in range(throttle.MOST_CODES):
            self.ask(f"{n}@example.com")
            self.confirm("0000")
        self.ask()
        self.assertContains(self.confirm(self.code()), "wrong or no longer valid")

    def test_an_address_that_is_taken_is_not_told(self) -> None:
        User.objects.create_user("grace@example.com", PASSWORD)
        self.ask("grace@example.com")
        assert "already has an account" in mail.outbox[0].subject
        assert re.search(r"^[A-Z0-9]{4}$", str(mail.outbox[0].body), re.MULTILINE) is None


class TaskTests(AccountTestCase):
    def send(self, request: str, email: str = ADA) -> str:
        result = send_register_email.apply((email,), task_id=request)
        return str(result.get())

    def test_running_twice_sends_one_mail_and_makes_one_code(self) -> None:
        assert self.send("one") == "sent"
        assert self.send("one") == "sent already"
        assert len(mail.outbox) == 1
        assert EmailVerifyRecord.objects.count() == 1

    def test_a_try_that_failed_is_followed_by_one_with_the_same_code_and_message_id(self) -> None:
        sent: list[EmailMessage] = []

        def send(message: EmailMessage, *args: Any, **kwargs: Any) -> int:
            sent.append(message)
            if len(sent) == 1:
                raise ConnectionRefusedError("the mail server is away")
            return 1

        with mock.patch.object(EmailMessage, "send", send):
            assert self.send("one") == "sent"
        assert len(sent) == 2
        assert sent[0].body == sent[1].body
        assert sent[0].message()["Message-ID"] == sent[1].message()["Message-ID"]

    def test_a_try_that_a_newer_request_has_overtaken_sends_nothing(self) -> None:
        EmailVerifyRecord.objects.for_request("old", ADA, "register")
        self.send("new")
        assert self.send("old") == "replaced by a newer request"
        assert len(mail.outbox) == 1

    def test_an_address_that_does_not_exist_is_not_tried_again(self) -> None:
        refusal = SMTPRecipientsRefused({ADA: (550, b"no such user")})
        with (
            mock.patch.object(EmailMessage, "send", side_effect=refusal) as send,
            self.assertLogs("users.tasks", "WARNING"),
        ):
            assert self.send("one") == "refused"
        assert send.call_count == 1

    def test_a_mail_server_that_is_busy_is_tried_again(self) -> None:
        busy = SMTPRecipientsRefused({ADA: (450, b"greylisted")})
        with mock.patch.object(EmailMessage, "send", side_effect=[busy, busy, 1]) as send:
            assert self.send("one") == "sent"
        assert send.call_count == 3

    def test_nobody_gets_too_many_mails(self) -> None:
        User.objects.create_user(ADA, PASSWORD, is_active=False)
        with self.settings(MAILS_PER_HOUR=2), self.assertLogs("users.tasks", "WARNING"):
            assert [self.send(str(n)) for n in range(3)] == ["sent", "sent", "too many"]
        assert self.client.get(self.link()).status_code == 200, "the last code that was mailed still works"

    def test_codes_are_deleted_when_they_have_expired_for_a_day(self) -> None:
        for request, days in (("old", 2), ("new", 0)):
            record = EmailVerifyRecord.objects.for_request(request, ADA, "register")
            then = timezone.now() - timedelta(days=days)
            EmailVerifyRecord.objects.filter(pk=record.pk).update(expiry=then, request_time=then)
        assert delete_expired_codes() == 1
        assert EmailVerifyRecord.objects.get().request == "new"
