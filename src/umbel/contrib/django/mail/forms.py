"""Messages as plain data, and back: what Django's ``EmailMessage`` and its subclasses hold, without pickle.

Text that is still to be translated is translated here, in the language of the request. Date and Message-ID are given here
too, so that every try to send a message sends the same one, and mail systems can tell a repetition from a second mail.
"""

from __future__ import annotations

import email
import email.policy
from collections.abc import Mapping
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from email.utils import formatdate, make_msgid, parseaddr
from typing import Any

import django
from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.message import BadHeaderError, EmailAlternative, EmailAttachment
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from umbel.errors import CallError

__all__ = ["EmailTooLarge", "message_from", "message_id_of", "to_form", "weight"]

Form = dict[str, Any]

_CONNECTION = "_connection" if django.VERSION >= (6, 1) else "connection"
"""The attribute that holds a message's own connection, which does not travel."""
_SPECIAL = frozenset({"connection", "_connection", "attachments", "alternatives", "extra_headers"})


class EmailTooLarge(CallError):
    """A message is larger than the setting ``email_max_bytes`` allows. Nothing was sent."""


# ------------------------------------------------------------------------------------------------- writing


def to_form(message: EmailMessage) -> Form:
    """`message` as JSON can hold it.

    Raises ``BadHeaderError`` (a ValueError) for line breaks in headers, as sending it would, and TypeError for a message
    whose class no worker could import.
    """
    cls = type(message)
    path = f"{cls.__module__}.{cls.__qualname__}"
    if "<locals>" in path or cls.__module__ == "__main__":
        raise TypeError(
            f"{path} cannot be sent through the queue: the worker could not import the class of the message. Define it in a "
            "module of its own."
        )
    _refuse_line_breaks(message)
    form: Form = {"class": path}
    form.update({name: _plain(value) for name, value in vars(message).items() if name not in _SPECIAL})
    form["extra_headers"] = _stamped(message)
    form["attachments"] = [_attachment_form(attachment) for attachment in message.attachments]
    alternatives = getattr(message, "alternatives", None)
    if alternatives is not None:
        form["alternatives"] = [[_content_form(content), mimetype] for content, mimetype in alternatives]
    return form


def weight(form: Form) -> int:
    """How many bytes of text and attachments a message has, roughly."""
    parts = [form.get("body"), *form["attachments"], *form.get("alternatives", ())]
    return sum(map(_weight, parts))


def _weight(part: Any) -> int:
    if isinstance(part, str | bytes):
        return len(part)
    if isinstance(part, list):
        return sum(map(_weight, part))
    if isinstance(part, dict):
        return weight(part["email"]) if "email" in part else _weight(part.get("mime"))
    return 0


def message_id_of(form: Form) -> str:
    """The Message-ID, by which mail systems know it."""
    headers: Mapping[str, str] = form["extra_headers"]
    return next((str(value) for name, value in headers.items() if name.lower() == "message-id"), "")


def _plain(value: Any) -> Any:
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    return value


def _stamped(message: EmailMessage) -> dict[str, Any]:
    headers: dict[str, Any] = _plain(message.extra_headers)
    present = {name.lower() for name in headers}
    if "date" not in present:
        headers["Date"] = formatdate(localtime=settings.EMAIL_USE_LOCALTIME)
    if "message-id" not in present:
        headers["Message-ID"] = make_msgid(domain=_domain(str(message.from_email)))
    return headers


def _domain(sender: str) -> str:
    """The sender's. Django takes the name of the machine, and asking for that can take seconds."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    try:
        return domain.encode("idna").decode("ascii") or "localhost"
    except UnicodeError:
        return "localhost"


def _refuse_line_breaks(message: EmailMessage) -> None:
    people = (*message.to, *message.cc, *message.bcc, *message.reply_to)
    values = [("Subject", message.subject), ("From", message.from_email), *(("To", one) for one in people)]
    for name, value in (*values, *message.extra_headers.items()):
        if any("\n" in text or "\r" in text for text in (str(name), str(value))):
            raise BadHeaderError(f"Header values can't contain newlines (got {value!r} for header {name!r})")


def _attachment_form(attachment: Any) -> Any:
    if isinstance(attachment, Message):
        return _mime_form(attachment)
    filename, content, mimetype = (*attachment, None, None)[:3]
    return [_plain(filename), _content_form(content), mimetype]


def _content_form(content: Any) -> Any:
    if isinstance(content, EmailMessage):
        return {"email": to_form(content)}
    if isinstance(content, Message):
        return _mime_form(content)
    if isinstance(content, bytearray | memoryview):
        return bytes(content)
    return _plain(content)


def _mime_form(part: Message) -> Form:
    # Python's modern classes and those of old are different to Django, which takes either.
    return {"mime": part.as_bytes(), "modern": isinstance(part, MIMEPart), "base": isinstance(part, MIMEBase)}


# ------------------------------------------------------------------------------------------------- reading


def message_from(form: Form) -> EmailMessage:
    """The message that `form` was made of. Raises ValueError when it is none, or when its class is not here."""
    fields = dict(form)
    path = str(fields.pop("class", ""))
    try:
        cls = import_string(path)
    except ImportError as exc:
        raise ValueError(f"The class of a message, {path!r}, cannot be imported here: {exc}") from exc
    if not (isinstance(cls, type) and issubclass(cls, EmailMessage)):
        raise ValueError(f"{path!r} is not a class of messages.")
    message: EmailMessage = cls.__new__(cls)
    fields["attachments"] = [_attachment_from(item) for item in fields.get("attachments", ())]
    if "alternatives" in fields:
        fields["alternatives"] = [
            EmailAlternative(_content_from(c), kind) for c, kind in fields["alternatives"]
        ]
    vars(message).update({**fields, _CONNECTION: None})
    return message


def _attachment_from(item: Any) -> Any:
    if isinstance(item, dict):
        return _mime_from(item)
    filename, content, mimetype = item
    return EmailAttachment(filename, _content_from(content), mimetype)


def _content_from(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return message_from(content["email"]) if "email" in content else _mime_from(content)


def _mime_from(form: Form) -> Message:
    if form["modern"]:
        return email.message_from_bytes(form["mime"], policy=email.policy.default)
    parsed = email.message_from_bytes(form["mime"])
    if not form["base"]:
        return parsed
    part = MIMEBase(parsed.get_content_maintype(), parsed.get_content_subtype())
    for name in list(part.keys()):
        del part[name]
    for name, value in parsed.items():
        part[name] = value
    part.set_payload(parsed.get_payload())
    return part
