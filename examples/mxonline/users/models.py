"""Accounts, and the codes that are mailed to their owners."""

import secrets
import string
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class UserManager(BaseUserManager["User"]):
    """Makes accounts. An address is kept in lower case: people do not mind its case, and neither do mail servers."""

    def get_by_natural_key(self, email: str | None) -> "User":
        return self.get(email=(email or "").lower())

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=email.lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractUser):
    """An account. Its name is its e-mail address; it is active once the owner of the address has said so."""

    username = None  # type: ignore[assignment]
    email = models.EmailField(_("e-mail address"), unique=True)
    language = models.CharField(
        _("language"), max_length=10, choices=settings.LANGUAGES, default=settings.LANGUAGE_CODE
    )

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    objects = UserManager()  # type: ignore[assignment, misc]


class EmailVerifyRecordManager(models.Manager["EmailVerifyRecord"]):
    """Makes and finds records."""

    def for_request(self, request: str, email: str, send_type: str) -> "EmailVerifyRecord":
        """The record of a request: the same one, with the same code, however often the request is carried out."""
        record, _created = self.get_or_create(
            request=request,
            defaults={
                "email": email,
                "send_type": send_type,
                "code": new_code(send_type),
                "expiry": timezone.now(),
            },
        )
        return record

    def valid(self, send_type: str, **which: str) -> "EmailVerifyRecord | None":
        """The record that can be used now, if it is what `which` says: the newest of its address, unexpired and unused."""
        record = self.filter(send_type=send_type, **which).last()
        if record and not record.used and record.expiry > timezone.now() and not record.is_replaced():
            return record
        return None


class EmailVerifyRecord(models.Model):
    """One request for a mail with a code."""

    class SendType(models.TextChoices):
        REGISTER = "register", _("registration")
        FORGET = "forget", _("forgotten password")
        UPDATE_EMAIL = "update_email", _("change of address")

    LIFETIMES = {
        SendType.REGISTER: timedelta(days=1),
        SendType.FORGET: timedelta(hours=1),
        SendType.UPDATE_EMAIL: timedelta(minutes=15),
    }
    MOST_GUESSES = 5

    request = models.CharField(max_length=64, unique=True, help_text="id of the task that sends the mail")
    code = models.CharField(max_length=16)
    email = models.EmailField(db_index=True)
    send_type = models.CharField(max_length=12, choices=SendType)
    request_time = models.DateTimeField(auto_now_add=True)
    send_time = models.DateTimeField(null=True, help_text="when the mail server took it; empty: not yet")
    expiry = models.DateTimeField()
    used = models.BooleanField(default=False)
    guesses = models.PositiveSmallIntegerField(default=0)

    objects = EmailVerifyRecordManager()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.get_send_type_display()}: {self.email}"

    def is_replaced(self) -> bool:
        """A newer request of the same kind for the same address: only the newest code is valid."""
        return EmailVerifyRecord.objects.filter(
            email=self.email, send_type=self.send_type, pk__gt=self.pk
        ).exists()

    def start_to_send(self) -> None:
        """The code is valid from now on: the mail may arrive before the mail server has said that it took it."""
        self.expiry = timezone.now() + self.LIFETIMES[self.SendType(self.send_type)]
        self.save(update_fields=["expiry"])

    def sent(self) -> None:
        self.send_time = timezone.now()
        self.save(update_fields=["send_time"])

    def use(self) -> bool:
        """Take the code; False when somebody was quicker. A code works once."""
        return EmailVerifyRecord.objects.filter(pk=self.pk, used=False).update(used=True) == 1

    def guess(self, code: str) -> bool:
        """Whether `code` is the right one. After a few wrong ones, none is."""
        open_for_guesses = EmailVerifyRecord.objects.filter(pk=self.pk, guesses__lt=self.MOST_GUESSES)
        counted = open_for_guesses.update(guesses=models.F("guesses") + 1) == 1
        return counted and secrets.compare_digest(self.code.encode(), code.strip().upper().encode())


def new_code(send_type: str) -> str:
    """16 letters and digits for a link; 4 for a code that is typed, none of them like another one."""
    if send_type == EmailVerifyRecord.SendType.UPDATE_EMAIL:
        return "".join(secrets.choice("23456789ABCDEFGHJKMNPQRSTUVWXYZ") for _ in range(4))
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(16))
