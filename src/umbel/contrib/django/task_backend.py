"""``TASKS = {"default": {"BACKEND": "umbel.contrib.django.TaskBackend"}}``: the tasks of ``django.tasks``, run by Umbel's workers.

A call travels as every other call of Umbel's does, under the path of its function. What a result of Django's tells beyond
Umbel's own (each attempt, its worker, its error) is in the account of the call (``umbel.core.account``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from umbel import portal, records
from umbel.app import Umbel
from umbel.codecs.protocol import decode_call
from umbel.codecs.results import decode_result, encode_result
from umbel.contrib.django.project import get_app
from umbel.contrib.django.tasks_api import options as task_options
from umbel.contrib.django.tasks_api import results
from umbel.contrib.django.tasks_api.declared import TaskWithOptions, declare, declared
from umbel.contrib.django.tasks_api.library import (
    LIBRARY,
    BaseTaskBackend,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    normalize_json,
    task_enqueued,
)
from umbel.contrib.django.tasks_api.queues import queue_of
from umbel.contrib.django.tasks_api.running import result_in_place
from umbel.contrib.django.transactions import alias_of, waits_for_commit, when_sent
from umbel.core.account import ACCOUNT_HEADER, Account
from umbel.core.outcome import PENDING, ResultMeta
from umbel.errors import BrokerUnavailable, MessageError, OperationalError, UmbelError
from umbel.ids import new_id
from umbel.ports import Located, Record
from umbel.routing import consumed_queues

__all__ = ["TaskBackend"]

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger("umbel.django.tasks")


class TaskBackend(BaseTaskBackend):
    """The backend of ``django.tasks`` that sends to Umbel.

    ``OPTIONS`` are options of Umbel's tasks (``umbel.options.TaskOptions``) for all tasks of the backend. An instance opens
    nothing: the connections are those of the project's app, which all threads share and which are opened when first used.
    """

    task_class = TaskWithOptions

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, dict(params))
        self._on_commit: bool | None = params.get("ENQUEUE_ON_COMMIT")

    def validate_task(self, task: Task[..., Any]) -> None:
        """Raise InvalidTask when `task` cannot be sent. Each task is shown to this when it is made; see ``declare``."""
        super().validate_task(task)
        declare(task)

    def close(self) -> None:
        """Do nothing: each thread has an instance, and the connections are the app's, which other threads use."""

    # -- sending

    def enqueue(self, task: Task[P, R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult[P, R]:
        """Send a call of `task`: at once, or when the transaction that it is made in has been committed.

        Raises InvalidTask, TypeError or ValueError when an argument is not of JSON or the function does not take them,
        ImproperlyConfigured when ``OPTIONS`` are wrong, and BrokerUnavailable as ``Task.delay`` of Umbel does.
        """
        self.validate_task(task)
        self._check_options()
        app = get_app()
        now = timezone.now()
        result: TaskResult[P, R] = TaskResult(
            task=task,
            id=new_id(),
            status=TaskResultStatus.READY,
            enqueued_at=now,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=_travelled(list(args)),
            kwargs=_travelled(dict(kwargs)),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        if app.conf.task_always_eager:
            self._run_in_place(app, result)
            return result
        account = Account(sent=results.aware(now).astimezone(UTC).isoformat(), note=results.note_of(task))
        self._send(app, result, account)
        when_sent(app, self._on_commit, partial(self._tell, result))
        return result

    def _tell(self, result: TaskResult[..., Any]) -> None:
        task_enqueued.send_robust(sender=type(self), task_result=result)

    def _send(self, app: Umbel, result: TaskResult[..., Any], account: Account) -> None:
        """Send the call, and before it store a record that it waits: looking for its message could take long."""
        queue, store = alias_of(app.broker_url), alias_of(app.result_url or "")
        task = app.tasks[result.task.module_path]
        ignored = app.conf.task_ignore_result if task.ignore_result is None else task.ignore_result
        if ignored or not app.has_store:
            self._call(app, result, account)
        elif queue is None:
            with _recorded_before_it_is_sent(app, _record(app, result, account), self._on_commit):
                self._call(app, result, account)
        elif store == queue and waits_for_commit(self._on_commit):
            with transaction.atomic(using=queue):
                # The message first: it begins with a write. SQLite refuses one that follows a look at once, without
                # waiting, when somebody else has written meanwhile.
                self._call(app, result, account)
                app.store.put_now([_record(app, result, account)])
        else:
            # A record in another store could come later than one of the worker's.
            self._call(app, result, account)

    def _call(self, app: Umbel, result: TaskResult[..., Any], account: Account | None = None) -> None:
        task = result.task
        options: dict[str, Any] = {
            "task_id": result.id,
            "queue": queue_of(app, task.queue_name),
            "priority": task.priority,
        }
        known = declared(task.module_path)
        if known is not None and known.backend != self.alias:
            options |= task_options.call_options(self.options)
        if task.run_after is not None:
            options["eta"] = results.aware(task.run_after)
        if self._on_commit is not None:
            options["on_commit"] = self._on_commit
        if account is not None:
            options["headers"] = {ACCOUNT_HEADER: account.written()}
        app.client.call(app.tasks[task.module_path], result.args, result.kwargs, options)

    def _run_in_place(self, app: Umbel, result: TaskResult[..., Any]) -> None:
        self._tell(result)
        token = result_in_place.set(result)
        try:
            self._call(app, result)
        except SystemExit:
            if not result.is_finished:
                raise
        finally:
            result_in_place.reset(token)

    # -- results

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """The result of a call that was sent with this backend's alias, whether or not it has begun.

        Raises TaskResultDoesNotExist for an id that nobody sent, and for a result that has expired
        (``result_expires``), TaskResultMismatch when its task is gone, and NoResultStore when no results are kept.
        """
        app, result_id = get_app(), str(result_id)
        found = self._recorded(app, result_id)
        if found is None:
            located = portal.run(records.find(app, result_id))
            found = self._waiting(app, result_id, located) if located is not None else None
        if found is None:
            found = self._recorded(app, result_id)  # it has ended between the two questions
        if found is None or found.backend != self.alias:
            raise TaskResultDoesNotExist(
                f"There is no result {result_id!r} of the backend {self.alias!r}: nobody has sent it, or it has expired."
            )
        return found

    def _recorded(self, app: Umbel, result_id: str) -> TaskResult[..., Any] | None:
        payload = app.store.get_now([result_id]).get(result_id)
        if payload is None:
            return None
        conf = app.conf
        accept = conf.result_accept_content
        meta = decode_result(
            payload, conf.result_serializer, conf.accept_content if accept is None else accept
        )
        account = Account.parse(meta.account)
        if account is None or meta.name is None:
            return None
        task = _task(meta.name, result_id, account)
        return results.of_record(
            results.Call(task, result_id, meta.args or (), meta.kwargs or {}), meta, account
        )

    def _waiting(self, app: Umbel, result_id: str, located: Located) -> TaskResult[..., Any] | None:
        frame = located.frame
        account = None if frame is None else Account.read(frame.headers)
        if frame is None or account is None:
            return None
        try:
            envelope = decode_call(frame, app.conf.accept_content)
        except MessageError:
            return None
        call = results.Call(
            _task(envelope.task, result_id, account), result_id, envelope.args, envelope.kwargs
        )
        return results.of_waiting(call, account, located.reason if located.shelf == "dead" else None)

    # -- checks

    def _check_options(self) -> None:
        try:
            task_options.check(self.options, f"OPTIONS of TASKS[{self.alias!r}]")
        except (TypeError, UmbelError) as exc:
            raise ImproperlyConfigured(str(exc)) from exc

    def check(self, **_: Any) -> list[CheckMessage]:
        """What is wrong with this entry of ``TASKS``; see ``manage.py check``."""
        found: list[CheckMessage] = []
        try:
            self._check_options()
        except ImproperlyConfigured as exc:
            found.append(
                Error(
                    str(exc),
                    hint="They are options of tasks; see docs/guides/django-tasks.md.",
                    id="umbel.E010",
                )
            )
        if LIBRARY == "django_tasks" and not apps.is_installed("django_tasks"):
            found.append(
                Warning(
                    "django-tasks is not in INSTALLED_APPS: nothing checks TASKS.",
                    hint='INSTALLED_APPS += ["django_tasks"].',
                    id="umbel.W010",
                )
            )
        try:
            found += self._check_app(get_app())
        except UmbelError as exc:
            found.append(Error(str(exc), id="umbel.E001"))
        return found

    def _check_app(self, app: Umbel) -> list[CheckMessage]:
        found: list[CheckMessage] = []
        if not app.has_store:
            found.append(
                Warning(
                    f"TASKS[{self.alias!r}]: no results are kept, so get_result() and refresh() fail.",
                    hint='Set result_backend: UMBEL = {"result_backend": "redis://localhost:6379/1"}, or "django-db".',
                    id="umbel.W011",
                )
            )
        consumed = consumed_queues(app.conf)
        lonely = sorted(name for name in self.queues if queue_of(app, name) not in consumed)
        if lonely and app.conf.task_queues:
            found.append(
                Warning(
                    f"TASKS[{self.alias!r}] has queues that are not in task_queues: {', '.join(lonely)}. A worker consumes "
                    "them only when it is told to (-Q).",
                    hint="Add them to task_queues.",
                    id="umbel.W012",
                )
            )
        return found


# ------------------------------------------------------------------------------------------------- arguments


def _travelled(value: Any) -> Any:
    """`value` as it comes out of JSON. Raises TypeError or ValueError when it cannot go in."""
    return json.loads(json.dumps(normalize_json(value)))


def _task(path: str, result_id: str, account: Account) -> Task[..., Any]:
    try:
        task = declared(path)
    except ImportError as exc:
        raise TaskResultMismatch(
            f"The result {result_id!r} is of {path!r}, which cannot be imported: {exc}."
        ) from exc
    if task is None:
        raise TaskResultMismatch(f"The result {result_id!r} is of {path!r}, which is no task any more.")
    return results.as_called(task, account.note)


# --------------------------------------------------------------------------------------------------- records


def _record(app: Umbel, result: TaskResult[..., Any], account: Account) -> Record:
    meta = ResultMeta(
        task_id=result.id,
        status=PENDING,
        name=result.task.module_path,
        args=result.args,
        kwargs=result.kwargs,
        queue=queue_of(app, result.task.queue_name),
        account=account.written(),
    )
    ttl: float | None = app.conf.result_expires
    run_after = result.task.run_after
    if ttl is not None and run_after is not None:
        ttl += max(0.0, (results.aware(run_after) - datetime.now(UTC)).total_seconds())
    payload = encode_result(meta, app.conf.result_serializer, app.conf.result_compression)
    return Record(task_id=result.id, state=PENDING, payload=payload, ttl=ttl)


@contextmanager
def _recorded_before_it_is_sent(app: Umbel, record: Record, on_commit: bool | None) -> Iterator[None]:
    """Store `record` just before the call that is made inside is sent; not at all, or not for long, when that is refused."""
    refused = False

    def put() -> None:
        if refused:
            return
        try:
            app.store.put_now([record])
        except OperationalError as exc:
            # The message itself is found, if not as quickly.
            logger.warning("That %s waits could not be recorded: %s", record.task_id, exc)

    when_sent(app, on_commit, put)
    try:
        yield
    except BrokerUnavailable as exc:
        refused = not exc.in_doubt
        if refused:
            _forget(app, record.task_id)
        raise
    except (UmbelError, TypeError, ValueError):
        refused = True
        _forget(app, record.task_id)
        raise


def _forget(app: Umbel, task_id: str) -> None:
    try:
        portal.run(records.forget(app, [task_id]))
    except OperationalError as exc:
        logger.warning("The record of %s, which was not sent, could not be deleted: %s", task_id, exc)
