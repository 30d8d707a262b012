"""The mails, in the reader's language."""

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation

from .models import EmailVerifyRecord, User

Type = EmailVerifyRecord.SendType


def compose(record: EmailVerifyRecord, language: str | None) -> EmailMessage | None:
    """The mail for a record, ready to be sent; None when there is nothing to say to this address."""
    account = User.objects.filter(email=record.email).first()
    name = _template(record, account)
    if name is None:
        return None
    context = {"code": record.code, "site": settings.SITE_URL}
    if record.send_type == Type.REGISTER:
        context["link"] = settings.SITE_URL + reverse("users:activate", args=[record.code])
    elif record.send_type == Type.FORGET:
        context["link"] = settings.SITE_URL + reverse("users:reset", args=[record.code])
    with translation.override(language or (account.language if account else settings.LANGUAGE_CODE)):
        return _mail(f"users/mail/{name}.txt", context, record.email, record.request)


def compose_address_changed(old: str, language: str, request: str) -> EmailMessage:
    """What the `old` address of an account is told when it has a new one."""
    with translation.override(language):
        return _mail("users/mail/changed.txt", {"site": settings.SITE_URL}, old, request)


def _mail(template: str, context: dict[str, str], to: str, request: str) -> EmailMessage:
    subject, _, body = render_to_string(template, context).partition("\n")
    headers = {
        # The same whenever it is sent: a mail program that gets it twice shows it once.
        "Message-ID": f"<{request}@{settings.MAIL_DOMAIN}>",
        "Auto-Submitted": "auto-generated",
    }
    return EmailMessage(subject, body.strip() + "\n", to=[to], headers=headers)


def _template(record: EmailVerifyRecord, account: User | None) -> str | None:
    """Pages answer alike whether an address has an account or not. Only the mail, which its owner reads, tells."""
    if record.send_type == Type.REGISTER:
        return "known" if account and account.is_active else "register"
    if record.send_type == Type.UPDATE_EMAIL:
        return "taken" if account else "update_email"
    return "forget" if account else None
