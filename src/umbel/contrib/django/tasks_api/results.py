"""Django's results out of what Umbel keeps: a record, a message that waits, or a run that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from umbel.context import Request
from umbel.contrib.django.tasks_api.library import Task, TaskError, TaskResult, TaskResultStatus
from umbel.core.account import Account
from umbel.core.outcome import FAILURE, PENDING, RECEIVED, RETRY, REVOKED, SUCCESS, Failure, ResultMeta

__all__ = ["Call", "as_called", "aware", "fill", "moment", "note_of", "of_record", "of_run", "of_waiting"]

_STATUSES = {
    PENDING: TaskResultStatus.READY,
    RECEIVED: TaskResultStatus.READY,
    RETRY: TaskResultStatus.READY,
    SUCCESS: TaskResultStatus.SUCCESSFUL,
    FAILURE: TaskResultStatus.FAILED,
    REVOKED: TaskResultStatus.FAILED,
}
"""All other states are of a run that goes on."""


class Call(NamedTuple):
    """What a result repeats of its call."""

    task: Task[..., Any]
    id: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


def note_of(task: Task[..., Any]) -> dict[str, Any]:
    """What the account of a call of `task` must hold, so that its results can name the task as it was called."""
    return {
        "backend": task.backend,
        "queue": task.queue_name,
        "priority": task.priority,
        "run_after": None if task.run_after is None else aware(task.run_after).isoformat(),
    }


def as_called(task: Task[..., Any], note: Mapping[str, Any]) -> Task[..., Any]:
    """The declared `task` with what `note` says. Unlike ``using`` it checks nothing: a call may be older than the settings."""
    changes = {
        "backend": note.get("backend", task.backend),
        "queue_name": note.get("queue", task.queue_name),
        "priority": note.get("priority", task.priority),
        "run_after": moment(note.get("run_after")),
    }
    copy = object.__new__(type(task))
    for each in fields(task):
        object.__setattr__(copy, each.name, changes.get(each.name, getattr(task, each.name)))
    return copy


def of_record(call: Call, meta: ResultMeta, account: Account) -> TaskResult[..., Any]:
    """The result that a stored record describes."""
    result = _result(call, account, _STATUSES.get(meta.status, TaskResultStatus.RUNNING))
    if result.status == TaskResultStatus.SUCCESSFUL:
        fill(result, _return_value=meta.result)
    if result.is_finished:
        fill(result, finished_at=moment(meta.date_done))
    if result.status == TaskResultStatus.FAILED and (
        not account.attempts or account.attempts[-1].error is None
    ):
        result.errors.append(_error_of(meta))  # it was ended from outside, and not by a run
    return result


def of_waiting(call: Call, account: Account, dead: str | None) -> TaskResult[..., Any]:
    """The result of a call that has no record, only a message; `dead`: why it is a dead letter."""
    result = _result(call, account, TaskResultStatus.READY if dead is None else TaskResultStatus.FAILED)
    if dead is not None:
        result.errors.append(TaskError(exception_class_path="umbel.errors.TaskError", traceback=f"{dead}\n"))
    return result


def of_run(task: Task[..., Any], request: Request) -> TaskResult[..., Any]:
    """The result as the run that goes on sees it."""
    account = request.account or Account()
    call = Call(as_called(task, account.note), request.id or "", request.args or (), request.kwargs or {})
    return _result(call, account, TaskResultStatus.RUNNING)


def _result(call: Call, account: Account, status: TaskResultStatus) -> TaskResult[..., Any]:
    attempts = account.attempts
    begun = [attempt.began for attempt in attempts if attempt.began is not None]
    return TaskResult(
        task=call.task,
        id=call.id,
        status=status,
        enqueued_at=moment(account.sent),
        started_at=moment(begun[0]) if begun else None,
        finished_at=None,
        last_attempted_at=moment(begun[-1]) if begun else None,
        args=list(call.args),
        kwargs=dict(call.kwargs),
        backend=account.note.get("backend", call.task.backend),
        errors=[
            TaskError(exception_class_path=attempt.error, traceback=attempt.traceback)
            for attempt in attempts
            if attempt.error is not None
        ],
        worker_ids=[attempt.worker or "unknown" for attempt in attempts],
    )


def _error_of(meta: ResultMeta) -> TaskError:
    failure = meta.result
    if not isinstance(failure, Failure):
        return TaskError(exception_class_path="umbel.errors.TaskError", traceback="")
    said = ", ".join(map(str, failure.exc_message))
    # Celery's names for what Umbel raises are for Celery's clients.
    module = (
        "umbel.errors"
        if failure.exc_module.partition(".")[0] in ("celery", "billiard", "kombu")
        else failure.exc_module
    )
    return TaskError(
        exception_class_path=f"{module}.{failure.exc_type}",
        traceback=meta.traceback or f"{module}.{failure.exc_type}: {said}\n",
    )


def fill(result: TaskResult[..., Any], **values: Any) -> None:
    """Set fields of a result, which is frozen for everybody else."""
    for name, value in values.items():
        object.__setattr__(result, name, value)


def aware(time: datetime) -> datetime:
    """`time` with its zone; a naive one (``USE_TZ`` is off) is of the zone of the settings."""
    return timezone.make_aware(time, timezone.get_default_timezone()) if timezone.is_naive(time) else time


def moment(text: str | None) -> datetime | None:
    """The time that `text` says in ISO 8601, as ``timezone.now()`` would give it; None for what is none."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    time = time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return time if settings.USE_TZ else timezone.make_naive(time, timezone.get_default_timezone())
