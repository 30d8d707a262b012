"""``EmailBackend``: puts messages into the queue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction

from umbel.contrib.django.conf import IntegrationSettings, integration_settings
from umbel.contrib.django.mail.delivery import real_backend, send_emails, shown
from umbel.contrib.django.mail.forms import EmailTooLarge, Form, to_form, weight
from umbel.contrib.django.transactions import alias_of, open_transaction
from umbel.errors import OperationalError

if TYPE_CHECKING:
    from umbel.options import CallOptions

__all__ = ["EmailBackend"]

logger = logging.getLogger("umbel.mail")

_MAILERS = django.VERSION >= (6, 1)


class EmailBackend(BaseEmailBackend):
    """Puts messages into the queue; a worker sends them, through the backend of the setting ``email_backend``.

    `using`: with ``MAILERS`` (Django 6.1), the alias of the mailer that sends them instead. `fail_silently`: a queue that is out
    of reach is no error; nothing was sent then. Other arguments would open a connection here, where there is none:
    ImproperlyConfigured.
    """

    def __init__(
        self,
        fail_silently: bool = False,
        *,
        using: str = "",
        alias: str | None = None,
        _ignore_unknown_kwargs: object = None,
        **options: Any,
    ) -> None:
        base: dict[str, Any] = {"alias": alias} if _MAILERS else {}
        super().__init__(**base)
        self.fail_silently = fail_silently
        self._using = using
        given = sorted(name for name, value in options.items() if value is not None)
        if given:
            raise ImproperlyConfigured(
                f"The mail backend of Umbel was given {', '.join(given)}. It opens no connection: the worker does, by its own "
                "settings, and passwords do not belong into a queue. Set them there, or send this message with a backend "
                "of its own: EmailMessage(connection=...)."
            )
        if alias is not None and not using:
            raise ImproperlyConfigured(
                f"MAILERS[{alias!r}] puts messages into the queue and does not say who sends them. Add the mailer that does, and "
                'name it: "OPTIONS": {"using": "smtp"}.'
            )

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Put `email_messages` into the queue: after the commit, inside a transaction. Returns how many.

        Raises what ``delay()`` raises; ValueError (``BadHeaderError``) for line breaks in headers; and EmailTooLarge.
        """
        settings = integration_settings()
        pairs = [(message, to_form(message)) for message in email_messages if message.recipients()]
        heavy = [pair for pair in pairs if weight(pair[1]) > settings.email_max_bytes]
        if heavy and settings.email_too_large != "direct":
            raise _too_large(heavy[0][1], settings)
        light = [form for _, form in pairs if weight(form) <= settings.email_max_bytes]
        sent = self._enqueue(light, settings)
        if heavy:
            backend = real_backend(self._using)
            backend.fail_silently = self.fail_silently
            sent += backend.send_messages([message for message, _ in heavy]) or 0
        return sent

    def _enqueue(self, forms: list[Form], settings: IntegrationSettings) -> int:
        batches = list(_batches(forms, settings))
        people = shown(forms) if len(batches) == 1 else f"(<one of {len(batches)} batches of messages>)"
        options: CallOptions = {"queue": settings.email_queue, "argsrepr": people, "kwargsrepr": "{}"}
        # One round trip: all of them are in the queue, or none.
        send = partial(send_emails.starmap_async, [(batch, self._using) for batch in batches])
        if not self.fail_silently:
            send(**options)
            return len(forms)
        connection = open_transaction()
        if connection is not None and settings.send_on_commit and not _joins_transactions(settings):
            transaction.on_commit(partial(_quietly, send, {**options, "on_commit": False}), connection.alias)
            return len(forms)
        return len(forms) if _quietly(send, options) else 0


def _joins_transactions(settings: IntegrationSettings) -> bool:
    """Whether a call becomes a row of the caller's transaction, so that nothing can fail after the commit."""
    return settings.outbox or alias_of(send_emails.app.broker_url) is not None


def _quietly(send: Callable[..., object], options: CallOptions) -> bool:
    """Send; a broker that is out of reach is logged, and no error. Returns whether it was sent."""
    try:
        send(**options)
    except OperationalError as exc:
        logger.error("Mail was not put into the queue, and fail_silently is on: %s", exc)
        return False
    return True


def _batches(forms: list[Form], settings: IntegrationSettings) -> Iterator[list[Form]]:
    """As many together as one connection is to send, and as one message of the queue may hold."""
    batch: list[Form] = []
    total = 0
    for form in forms:
        size = weight(form)
        if batch and (len(batch) >= settings.email_batch or total + size > settings.email_max_bytes):
            yield batch
            batch, total = [], 0
        batch.append(form)
        total += size
    if batch:
        yield batch


def _too_large(form: Form, settings: IntegrationSettings) -> EmailTooLarge:
    return EmailTooLarge(
        f"A message of {weight(form) / 1e6:.1f} MB is too large for the queue; email_max_bytes is "
        f"{settings.email_max_bytes / 1e6:.1f} MB. Nothing was sent. Store the file and mail a link, raise email_max_bytes, or "
        'let such messages be sent at once, in the request: UMBEL = {"email_too_large": "direct"}.'
    )
