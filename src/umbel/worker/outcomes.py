"""Records of outcomes, encoded: the one place where a run's ending becomes bytes for the result store."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from umbel.codecs.failures import failure_from_exception
from umbel.codecs.reprs import safe_repr
from umbel.codecs.results import encode_result
from umbel.context import Request
from umbel.core.account import Account
from umbel.core.envelope import Envelope
from umbel.core.outcome import FAILURE, PENDING, RETRY, STARTED, SUCCESS, ResultMeta
from umbel.errors import EncodeError, Ignore, Retry
from umbel.worker.ipc import text

if TYPE_CHECKING:
    from umbel.app import Umbel

Encoded = tuple[bytes, float | None]
"""A payload and how many seconds it is kept."""


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


class Records:
    """Encodes the outcomes of one app, in its serializer and with its times to live."""

    def __init__(self, app: Umbel, hostname: str, clock: Callable[[], datetime] = utc_now) -> None:
        conf = app.conf
        self._serializer: str = conf.result_serializer
        self._compression: str | None = conf.result_compression
        self._ttl: float | None = conf.result_expires
        self._failure_ttl: float | None = (
            conf.result_failure_expires if conf.result_failure_expires is not None else conf.result_expires
        )
        self._extended: bool = conf.result_extended
        self._hostname = hostname
        self._clock = clock

    def success(self, envelope: Envelope, value: Any, request: Request) -> Encoded:
        """The call has returned `value`. Raises EncodeError when the serializer cannot hold it."""
        return self._encode(self._meta(envelope, SUCCESS, value, request)), self._ttl

    def failure(self, envelope: Envelope, exc: BaseException, request: Request | None = None) -> Encoded:
        """The call has failed."""
        return self._encode(self._error(envelope, FAILURE, exc, request)), self._failure_ttl

    def ended(
        self, envelope: Envelope, state: str, exc: BaseException, account: Account | None = None
    ) -> Encoded:
        """The call was ended from outside: revoked, expired, lost."""
        return self._encode(self._error(envelope, state, exc, None, account)), self._failure_ttl

    def retry(self, envelope: Envelope, retry: Retry, request: Request) -> Encoded:
        """The call will be tried again."""
        return self._encode(self._error(envelope, RETRY, retry.exc or retry, request)), self._ttl

    def started(self, envelope: Envelope, account: Account | None = None) -> Encoded:
        """The call runs."""
        meta = self._meta(envelope, STARTED, {"pid": os.getpid(), "hostname": self._hostname}, None, account)
        return self._encode(meta), self._ttl

    def waiting(self, envelope: Envelope, account: Account) -> Encoded:
        """The call waits for another run, and `account` says what became of the last."""
        return self._encode(self._meta(envelope, PENDING, None, None, account)), self._ttl

    def state(self, task_id: str, state: str, value: Any) -> Encoded:
        """A state that a task sets for another call."""
        value = failure_from_exception(value) if isinstance(value, BaseException) else value
        return self._encode(ResultMeta(task_id=task_id, status=state, result=value)), self._ttl

    def own_state(self, envelope: Envelope, state: str, value: Any, account: Account | None) -> Encoded:
        """A state that the task sets itself."""
        if account is None:
            return self.state(envelope.id, state, value)
        value = failure_from_exception(value) if isinstance(value, BaseException) else value
        return self._encode(self._meta(envelope, state, value, None, account)), self._ttl

    def failure_of(self, task_id: str, exc: BaseException) -> Encoded:
        """The failure of a call of which nothing but the id can be read."""
        failure = failure_from_exception(exc)
        meta = ResultMeta(
            task_id=task_id, status=FAILURE, result=failure, date_done=self._clock().isoformat(), children=[]
        )
        return self._encode(meta), self._failure_ttl

    def _error(
        self,
        envelope: Envelope,
        state: str,
        exc: BaseException,
        request: Request | None,
        account: Account | None = None,
    ) -> ResultMeta:
        failure = failure_from_exception(exc)
        meta = self._meta(envelope, state, failure, request, account)
        meta.traceback = failure.traceback
        return meta

    def _meta(
        self,
        envelope: Envelope,
        state: str,
        value: Any,
        request: Request | None,
        account: Account | None = None,
    ) -> ResultMeta:
        if account is None and request is not None:
            account = request.account
        # Celery's own quirk: a retried message has its own id for a parent, and so have its results.
        meta = ResultMeta(
            task_id=envelope.id,
            status=state,
            result=value,
            children=[child.as_tuple() for child in request.children] if request is not None else [],
            date_done=self._clock().isoformat(),
            parent_id=envelope.parent_id,
            group_id=envelope.group_id,
        )
        if account is not None:
            meta.account = account.written()
        if self._extended or account is not None:
            meta.name = envelope.task
            meta.args = list(envelope.args)
            meta.kwargs = envelope.kwargs
            meta.worker = self._hostname
            meta.retries = envelope.retries
            meta.queue = envelope.queue
            meta.stamps = envelope.stamps or None
        return meta

    def _encode(self, meta: ResultMeta) -> bytes:
        try:
            return encode_result(meta, serializer=self._serializer, compression=self._compression)
        except EncodeError:
            if meta.name is None:
                raise
            # Perhaps it is only the arguments, which may have come in a serializer that can hold more.
            meta.args = [safe_repr(value) for value in meta.args or ()]
            meta.kwargs = {name: safe_repr(value) for name, value in (meta.kwargs or {}).items()}
            return encode_result(meta, serializer=self._serializer, compression=self._compression)


def error_line(exc: BaseException) -> str:
    """`exc` on one line: its class and what it says."""
    return text("".join(traceback.format_exception_only(exc)).strip())


def traceback_text(exc: BaseException) -> str:
    """The traceback of `exc` and its causes, from the task's own frame on."""
    return text("".join(traceback.format_exception(exc)))


def close_account(account: Account, exc: BaseException | None) -> None:
    """Write into `account` that the run which goes on has ended now: well, or with `exc`; a retry is what caused it."""
    if isinstance(exc, Retry):
        exc = exc.exc or exc
    if exc is None or isinstance(exc, Ignore):
        account.end(utc_now().isoformat())
        return
    account.end(utc_now().isoformat(), class_path(exc), traceback_text(exc))


def class_path(exc: BaseException) -> str:
    """Where the class of `exc` is imported from."""
    cls = type(exc)
    return f"{cls.__module__}.{cls.__qualname__}"
