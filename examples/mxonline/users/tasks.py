"""What MxOnline does outside of requests: it sends mails, and clears up."""

import logging
import uuid
from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from umbel import shared_task

from .mails import compose, compose_address_changed
from .models import EmailVerifyRecord

logger = logging.getLogger(__name__)


AGAIN_WHILE_AWAY: dict[str, Any] = {
    "autoretry_for": (SMTPException, OSError, OperationalError),
    "retry_backoff": settings.MAIL_RETRY_BACKOFF,
    "retry_backoff_max": 600,
    "max_retries": 50,
}


@shared_task(bind=True, **AGAIN_WHILE_AWAY)
def send_register_email(
    self: Any, email: str, send_type: str = "register", language: str | None = None
) -> str:
    """Mail a link or a code to `email`; returns what became of it.

    `language`: of the mail; without one, that of the account, or else the site's.

    It can run twice, after a crash or a retry, and does no harm: its record is found by the task's id, which stays the same.
    So there is one code, and a mail that has been sent is not sent again.
    """
    if _too_many(email):  # before there is a record, which would replace a code that has been mailed
        logger.warning("%s has had %d mails in an hour: no more for now", email, settings.MAILS_PER_HOUR)
        return "too many"
    record = EmailVerifyRecord.objects.for_request(self.request.id or uuid.uuid4().hex, email, send_type)
    if record.send_time:
        return "sent already"
    if record.is_replaced():
        return "replaced by a newer request"
    message = compose(record, language)
    if message is None:
        return "no account"
    record.start_to_send()
    try:
        message.send()
    except SMTPRecipientsRefused as refused:
        if any(code < 500 for code, _reason in refused.recipients.values()):
            raise  # for now, as it says: try again
        logger.warning("%s does not exist: %s", email, refused.recipients)
        return "refused"
    record.sent()
    return "sent"


@shared_task(bind=True, **AGAIN_WHILE_AWAY)
def send_address_changed(self: Any, old: str, language: str) -> None:
    """Tell the address that an account had: whoever else has changed it does not do so in silence."""
    try:
        compose_address_changed(old, language, self.request.id or uuid.uuid4().hex).send()
    except SMTPRecipientsRefused as refused:
        if any(code < 500 for code, _reason in refused.recipients.values()):
            raise
        logger.warning("%s does not exist: %s", old, refused.recipients)


def _too_many(email: str) -> bool:
    an_hour_ago = timezone.now() - timedelta(hours=1)
    sent = EmailVerifyRecord.objects.filter(email=email, send_time__gt=an_hour_ago)
    return sent.count() >= settings.MAILS_PER_HOUR


@shared_task
def delete_expired_codes() -> int:
    """Delete the records of codes that expired more than a day ago; returns how many there were.

    Not sooner: a task that is still being tried again must find its record.
    """
    deleted, _ = EmailVerifyRecord.objects.filter(
        expiry__lt=timezone.now() - timedelta(days=1), request_time__lt=timezone.now() - timedelta(days=1)
    ).delete()
    return deleted
