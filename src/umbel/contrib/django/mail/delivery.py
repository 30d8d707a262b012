"""The task that sends: one connection for a batch, what fails for now is tried again, what is refused is not."""

from __future__ import annotations

import logging
import random
import smtplib
from typing import Any

import django
import msgspec
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string

from umbel.contrib.django.conf import integration_settings
from umbel.contrib.django.mail.forms import Form, message_from, message_id_of
from umbel.core.policy import backoff
from umbel.errors import ConfigurationError, Reject, TaskError
from umbel.shared import shared_task
from umbel.task import Task

__all__ = ["EmailRefused", "real_backend", "send_emails", "shown"]

logger = logging.getLogger("umbel.mail")

OWN_BACKEND = "umbel.contrib.django.mail.EmailBackend"
TIMEOUT = 60.0
"""Seconds that a mail server may take for a step where no setting says it. Without a limit one that hangs holds a slot for ever."""
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 600.0
_SENDING = "SENDING"
_FOR_NOW = range(400, 500)


class EmailRefused(TaskError):
    """The mail server has refused messages for good. The message says which, and why."""


class Progress(msgspec.Struct):
    """How far a batch has come. A worker that takes over from one that died begins here."""

    retries: int = 0
    """The try that it belongs to."""
    next: int = 0
    """The first message that has not been tried."""
    again: list[int] = []
    """Those that were refused for now."""
    refused: list[str] = []
    """Those that were refused for good, and why: of all tries."""
    sent: int = 0
    """Of all tries."""


class _Stop(Exception):
    """The connection is of no use any more; the error behind it says why."""


class _Refused(Exception):
    """The message is refused for good; the error behind it says why."""


@shared_task(bind=True, name="umbel.send_emails", max_retries=None, trail=False)
def send_emails(
    self: Task[..., Any], messages: list[Form], mailer: str = "", earlier: dict[str, Any] | None = None
) -> int:
    """Send `messages` over one connection. Returns how many were sent, by all tries.

    `mailer`: an alias in ``MAILERS``; '': the backend of the setting ``email_backend``. `earlier`: what earlier tries did.
    Raises EmailRefused when the server did not take some of them for good; the others were sent.
    """
    progress = _progress(self, earlier)
    error: BaseException | None = None
    backend = real_backend(mailer)
    try:
        error = _send_all(self, backend, messages, progress)
    finally:
        _close(backend)
    left = [messages[index] for index in progress.again] + messages[progress.next :]
    if left:
        raise _next_try(self, messages, left, mailer, progress, error)
    if progress.refused:
        raise EmailRefused("Refused: " + " ".join(progress.refused))
    return progress.sent


def _progress(task: Task[..., Any], earlier: dict[str, Any] | None) -> Progress:
    """Where to begin: at the front, unless this very try has begun before, and died."""
    retries = task.request.retries
    done = msgspec.convert({**(earlier or {}), "retries": retries}, Progress)
    if task.request.deliveries > 1 and task.app.has_store and task.request.id:
        known = task.app.AsyncResult(task.request.id)
        if known.state == _SENDING:
            found = msgspec.convert(known.result, Progress)
            if found.retries == retries:
                return found
    return done


def _send_all(
    task: Task[..., Any], backend: BaseEmailBackend, messages: list[Form], progress: Progress
) -> BaseException | None:
    """Send what `progress` leaves to be sent, and note it there. Returns the last error after which trying again is worth it."""
    error: BaseException | None = None
    try:
        backend.open()
    except OSError as exc:
        return exc
    remembered = len(messages) > 1 and not task.request.is_eager and task.app.has_store
    while progress.next < len(messages):
        form = messages[progress.next]
        try:
            _send_one(backend, form)
        except _Stop as exc:
            return exc.__cause__
        except (_Refused, ValueError) as exc:  # ValueError: it cannot be written, and waiting does not help
            progress.refused.append(f"{_called(form)}: {_said(exc)}.")
        except Exception as exc:  # noqa: BLE001 - a backend may raise anything; the rest of the batch must not suffer for it
            error = exc
            progress.again.append(progress.next)
        else:
            progress.sent += 1
        progress.next += 1
        if remembered:
            task.update_state(state=_SENDING, meta=msgspec.to_builtins(progress))
    return error


def _send_one(backend: BaseEmailBackend, form: Form) -> None:
    try:
        backend.send_messages([message_from(form)])
    except smtplib.SMTPRecipientsRefused as exc:  # all of them; nobody got it
        if any(code in _FOR_NOW for code, _ in exc.recipients.values()):
            raise
        raise _Refused from exc
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as exc:
        if exc.smtp_code == 421:
            raise _Stop from exc
        if exc.smtp_code in _FOR_NOW:
            raise
        raise _Refused from exc
    except smtplib.SMTPNotSupportedError as exc:
        raise _Refused from exc
    except OSError as exc:
        raise _Stop from exc


def _next_try(
    task: Task[..., Any],
    messages: list[Form],
    left: list[Form],
    mailer: str,
    progress: Progress,
    error: BaseException | None,
) -> BaseException:
    """What to raise so that `left` are sent later; after the last try, so that they lie among the dead letters."""
    why = f"{type(error).__name__}: {_said(error)}" if error is not None else "not tried"
    retries = task.request.retries
    spent = retries >= integration_settings().email_max_retries
    if spent and len(left) == len(messages) and not task.request.called_directly:
        # Only as it is: what was sent in this very try must not go out again when the dead letter is requeued.
        return Reject(
            f"{len(left)} of the messages could not be sent in {retries + 1} tries. The last error: {why}"
        )
    pause = backoff(
        retries,
        factor=_FIRST_PAUSE,
        maximum=_LONGEST_PAUSE,
        jitter=True,
        chance=random.random(),
    )
    logger.warning("%d of %d messages are sent later, in %.0f s: %s", len(left), len(messages), pause, why)
    so_far = {"sent": progress.sent, "refused": progress.refused}
    return task.retry(
        (left, mailer, so_far), {}, error, throw=False, countdown=pause, argsrepr=shown(left), kwargsrepr="{}"
    )


# ------------------------------------------------------------------------------------------------ backends


def real_backend(mailer: str) -> BaseEmailBackend:
    """The backend that sends, not opened yet. Raises ConfigurationError when it is this package's own."""
    backend = _mailer(mailer) if mailer else _backend_of_settings()
    if type(backend).__module__.startswith("umbel.contrib.django.mail"):
        where = f"MAILERS[{mailer!r}]" if mailer else "The setting email_backend"
        raise ConfigurationError(
            f"{where} names {OWN_BACKEND}, which puts messages into the queue: they would go round for ever. Name the "
            "backend that really sends, such as django.core.mail.backends.smtp.EmailBackend."
        )
    if getattr(backend, "timeout", 0) is None:
        backend.timeout = TIMEOUT  # type: ignore[attr-defined]
    return backend


def _backend_of_settings() -> BaseEmailBackend:
    path = integration_settings().email_backend
    try:
        cls = import_string(path)
    except ImportError as exc:
        raise ConfigurationError(
            f"The setting email_backend is {path!r}, which cannot be imported: {exc}"
        ) from exc
    # Django 6.1 makes them by way of MAILERS, and warns of others, unless there is an alias, be it None.
    backend: BaseEmailBackend = cls(alias=None) if django.VERSION >= (6, 1) else cls()
    return backend


def _mailer(alias: str) -> BaseEmailBackend:
    mailers: Any = import_string("django.core.mail.mailers")
    backend: BaseEmailBackend = mailers[alias]
    return backend


def _close(backend: BaseEmailBackend) -> None:
    try:
        backend.close()
    except OSError as exc:
        logger.info("The connection to the mail server did not close well: %s", exc)


# ---------------------------------------------------------------------------------------------- for people


def shown(messages: list[Form]) -> str:
    """What is shown of the arguments: who gets mail, and nothing of what is in it."""
    people = [str(one) for form in messages for one in (*form["to"], *form["cc"], *form["bcc"])]
    more = f" and {len(people) - 3} more" if len(people) > 3 else ""
    count = "1 message" if len(messages) == 1 else f"{len(messages)} messages"
    return f"(<{count} to {', '.join(people[:3])}{more}>)"


def _called(form: Form) -> str:
    people = ", ".join(str(one) for one in (*form["to"], *form["cc"], *form["bcc"]))
    return f"{message_id_of(form)} to {people}"


def _said(error: BaseException) -> str:
    error = error.__cause__ if isinstance(error, _Refused) and error.__cause__ is not None else error
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{who}: {code} {_text(text)}" for who, (code, text) in error.recipients.items())
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return str(error) or type(error).__name__


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
