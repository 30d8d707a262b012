"""Messages and results in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from umbel.codecs.failures import exception_from_failure
from umbel.codecs.reprs import safe_repr
from umbel.contrib.django.admin.queue import Known
from umbel.core.frame import DELIVERIES_HEADER, HISTORY_HEADER
from umbel.core.outcome import Failure, ResultMeta
from umbel.ports import Shelf, Shelved

__all__ = ["SHELF_NAMES", "Entry", "Field", "entry_of", "error_line", "fields_of", "history_of", "when_iso"]

SHELF_NAMES: dict[Shelf, Any] = {
    "waiting": _("Waiting"),
    "scheduled": _("Scheduled"),
    "held": _("Held by workers"),
    "parked": _("Parked"),
    "dead": _("Dead letters"),
}


class Field(NamedTuple):
    """A line of a task's page."""

    label: Any
    value: Any
    code: bool = False
    """In the type of code."""
    url: str = ""


class Entry(NamedTuple):
    """A message in a list."""

    value: str
    """What its checkbox says: the key where it has one, else the task id."""
    task_id: str
    task: str
    queue: str
    arguments: str
    when: str
    deliveries: int
    reason: str
    priority: int
    url: str


def entry_of(message: Shelved, path: str) -> Entry:
    """`message` as a line. `path`: the URL of the list."""
    query = {"shelf": message.shelf, "key": message.key} if message.key else {}
    url = f"{path}{quote(message.task_id or '-')}/" + (f"?{urlencode(query)}" if query else "")
    return Entry(
        value=message.key or message.task_id,
        task_id=message.task_id,
        task=message.task,
        queue=message.queue,
        arguments=_arguments(message),
        when=_due(message) or when(message.since),
        deliveries=_deliveries(message),
        reason=message.reason,
        priority=message.frame.priority if message.frame is not None else 0,
        url=url,
    )


def _arguments(message: Shelved) -> str:
    """As whoever sent it wanted them shown: secrets may be left out there, so the body is not opened."""
    if message.frame is None:
        return ""
    headers = message.frame.headers
    shown = [str(headers.get(name) or "") for name in ("argsrepr", "kwargsrepr")]
    return " ".join(part for part in shown if part not in ("", "()", "[]", "{}"))


def _deliveries(message: Shelved) -> int:
    before = None if message.frame is None else message.frame.headers.get(DELIVERIES_HEADER)
    return message.deliveries + (before if isinstance(before, int) else 0)


def when(seconds: float | None) -> str:
    """A time of the store's, in the time zone and the language of the reader; '' when it is not known."""
    return "" if seconds is None else _in_words(datetime.fromtimestamp(seconds, UTC))


def _in_words(moment: datetime) -> str:
    local = timezone.localtime(moment)
    return f"{date_format(local, 'SHORT_DATE_FORMAT')} {local:%H:%M:%S}"


def _due(message: Shelved) -> str:
    return when(None if message.due_in is None else time.time() + message.due_in)


def when_iso(text: Any) -> str:
    """A time in a message or a record; what is none is shown as it is."""
    if not isinstance(text, str):
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return _in_words(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


# ------------------------------------------------------------------------------------------ a task's page


def fields_of(known: Known) -> list[Field]:
    """What a task's page says, in order; what is not known is left out."""
    lines = [*_of_message(known), *_of_result(known)]
    return [line for line in lines if line.value not in (None, "")]


def _of_message(known: Known) -> Iterator[Field]:
    message, where = known.message, known.where
    if message is None:
        if where is not None:
            yield Field(_("Where"), SHELF_NAMES[where.shelf])
            yield Field(_("Queue"), where.queue)
            yield Field(_("Reason"), where.reason)
        return
    yield Field(_("Task"), message.task, code=True)
    yield Field(_("Where"), SHELF_NAMES[message.shelf])
    yield Field(_("Queue"), message.queue)
    yield Field(_("Reason"), message.reason)
    yield Field(_("There since"), when(message.since))
    yield Field(_("Due") if message.shelf == "scheduled" else _("Held until"), _due(message))
    yield Field(_("Deliveries"), _deliveries(message) or None)
    frame = message.frame
    if frame is None:
        yield Field(_("Not readable as a message"), repr(message.raw[:500]), code=True)
        return
    headers = frame.headers
    yield Field(_("Positional arguments"), headers.get("argsrepr"), code=True)
    yield Field(_("Keyword arguments"), headers.get("kwargsrepr"), code=True)
    yield Field(_("Priority"), frame.priority)
    yield Field(_("Retries"), headers.get("retries") or 0)
    yield Field(_("Not before"), when_iso(headers.get("eta")))
    yield Field(_("Expires"), when_iso(headers.get("expires")))
    limits = headers.get("timelimit")
    if isinstance(limits, list | tuple) and any(limits):
        yield Field(_("Time limits (hard, soft), s"), ", ".join("-" if n is None else str(n) for n in limits))
    yield _call(_("Sent by task"), headers.get("parent_id"), message.task_id)
    yield _call(_("First of its tree"), headers.get("root_id"), message.task_id)
    yield Field(_("Sent from"), headers.get("origin"))
    yield Field(_("Content"), f"{frame.content_type}, {len(frame.body)} bytes")


def _of_result(known: Known) -> Iterator[Field]:
    meta = known.result
    if known.problem:
        yield Field(_("Result"), known.problem)
    if meta is None:
        return
    yield Field(_("State"), meta.status, code=True)
    if known.message is None:
        yield Field(_("Task"), meta.name, code=True)
        yield Field(_("Queue"), meta.queue)
        yield Field(_("Positional arguments"), _shown(meta.args), code=True)
        yield Field(_("Keyword arguments"), _shown(meta.kwargs), code=True)
        yield Field(_("Retries"), meta.retries)
        yield _call(_("Sent by task"), meta.parent_id, meta.task_id)
    yield Field(
        _("Ended") if meta.status in ("SUCCESS", "FAILURE", "REVOKED") else _("Noted"),
        when_iso(meta.date_done),
    )
    yield Field(_("Worker"), meta.worker)
    if isinstance(meta.result, Failure):
        yield Field(_("Error"), error_line(meta), code=True)
    elif meta.status == "SUCCESS" or meta.result is not None:
        yield Field(
            _("Returned") if meta.status == "SUCCESS" else _("Says"), safe_repr(meta.result), code=True
        )


def _shown(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else safe_repr(value)


def _call(label: Any, task_id: Any, own_id: str) -> Field:
    """A link to another call."""
    if not isinstance(task_id, str) or not task_id or task_id == own_id:
        return Field(label, None)
    return Field(label, task_id, url=reverse("admin:umbel_message_change", args=[quote(task_id)]))


def error_line(meta: ResultMeta) -> str:
    """The error of a failed call on one line, or ''."""
    if not isinstance(meta.result, Failure):
        return ""
    error = exception_from_failure(meta.result)
    return f"{meta.result.exc_type}: {error}"


def history_of(message: Shelved | None) -> list[dict[str, Any]]:
    """What befell earlier deliveries: ``at``, ``worker`` and ``what`` of each."""
    told = (
        message.frame.headers.get(HISTORY_HEADER)
        if message is not None and message.frame is not None
        else None
    )
    if not isinstance(told, list):
        return []
    return [{**entry, "at": when_iso(entry.get("at"))} for entry in told if isinstance(entry, dict)]
