"""The account of a call: what its records tell of each of its runs, beside the last ending.

Whoever sends a call with the header below asks for it. The account travels in the message, grows with every run, retry and
crash, and is repeated in each record of the call; records then also hold name, arguments, worker and queue, whatever
``result_extended`` says. Other readers of Celery's protocol ignore both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["ACCOUNT_HEADER", "Account", "Attempt"]

ACCOUNT_HEADER = "umbel_account"

_TRACEBACKS = 20
"""Of older attempts only the class of the error is kept: the account is in every message."""
_TRACEBACK_LENGTH = 8_000
"""Characters. Of a longer one the middle is left out."""
_ATTEMPTS = 1_000
_LOST = "umbel.errors.WorkerLostError"


class Attempt(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One run. Times are ISO 8601."""

    worker: str = ""
    """``name@host``; '': nobody lives who could say."""
    began: str | None = None
    ended: str | None = None
    error: str | None = None
    """Dotted path of the exception's class; None: it has not ended, or ended well."""
    traceback: str = ""
    lost: bool = False
    """Its process died, or its worker: nobody reported how it ended."""


class Account(msgspec.Struct, kw_only=True, omit_defaults=True):
    """See the module."""

    sent: str = ""
    """When it was sent, ISO 8601."""
    note: dict[str, Any] = {}
    """Whatever the sender wants to find in the records."""
    attempts: list[Attempt] = []

    @classmethod
    def read(cls, headers: Mapping[str, Any]) -> Account | None:
        """The account among `headers`; None: there is none, or it is not one.

        >>> Account.read({"umbel_account": {"sent": "2030-01-01T00:00:00+00:00"}}).attempts
        []
        """
        return cls.parse(headers.get(ACCOUNT_HEADER))

    @classmethod
    def parse(cls, value: Any) -> Account | None:
        """The account that was written as `value`; None: it is not one."""
        if not isinstance(value, dict):
            return None
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError:
            return None

    def written(self) -> dict[str, Any]:
        """As it stands in headers and records."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def in_headers(self, headers: Mapping[str, Any]) -> dict[str, Any]:
        """`headers` with it."""
        return {**headers, ACCOUNT_HEADER: self.written()}

    def catch_up(self, deliveries: int) -> None:
        """Add the runs that nobody lived to tell of: the message has been delivered `deliveries` times since it was sent or
        retried, the delivery that is going on included. A worker that died may have held it without running it."""
        told = 0
        for attempt in reversed(self.attempts):
            if not attempt.lost:
                break
            told += 1
        for _ in range(min(deliveries, _ATTEMPTS) - 1 - told):
            self._add(
                Attempt(error=_LOST, traceback="The worker that held the call died, or lost it.\n", lost=True)
            )

    def begin(self, worker: str, at: str) -> None:
        """A run begins."""
        self._add(Attempt(worker=worker, began=at))

    def end(self, at: str, error: str | None = None, traceback: str = "", *, lost: bool = False) -> None:
        """The run that began last has ended: well, or with `error`. What is said last holds."""
        if not self.attempts:
            return
        last = self.attempts[-1]
        last.ended, last.error, last.lost = at, error, lost
        last.traceback = _shortened(traceback)

    def _add(self, attempt: Attempt) -> None:
        self.attempts = [*self.attempts[-_ATTEMPTS + 1 :], attempt]
        if len(self.attempts) > _TRACEBACKS:
            self.attempts[-_TRACEBACKS - 1].traceback = ""


def _shortened(text: str) -> str:
    if len(text) <= _TRACEBACK_LENGTH:
        return text
    head, tail = _TRACEBACK_LENGTH // 4, _TRACEBACK_LENGTH * 3 // 4
    return f"{text[:head]}\n... {len(text) - head - tail} characters left out ...\n{text[-tail:]}"
