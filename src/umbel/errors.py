"""Every exception that Umbel raises, in one tree.

::

    UmbelError
    ├── ConfigurationError            a setting is unknown, contradictory or missing
    │   ├── UnknownSetting
    │   └── NoResultStore             .get() without a result backend
    ├── CallError                     the call itself is wrong; nothing was sent
    │   ├── EncodeError               an argument cannot be written in the serializer asked for
    │   └── NotRegistered             no task of that name in this app
    ├── MessageError                  what arrived cannot become a call; the message is buried with this reason
    │   ├── DecodeError               the bytes are not what their content type says
    │   └── ContentDisallowed         the content type is not among ``accept_content``
    ├── OperationalError              broker or result store out of reach; worth trying again
    │   ├── BrokerUnavailable
    │   ├── StoreUnavailable
    │   └── StoreFull                 disk full, out of memory, read-only
    ├── CapabilityError               this broker or store cannot do that, and says so
    ├── LeaseLost                     a superseded run tried to finish; nothing was written
    ├── TaskError                     how a task ended, as its caller sees it
    │   ├── MaxRetriesExceededError
    │   ├── TaskRevokedError
    │   ├── WorkerLostError           the process running the task died
    │   ├── TimeLimitExceeded         the hard limit
    │   ├── ChordError                a call of the header of a chord failed, so its body is not called
    │   └── IncompleteStream          what follows from a call is not known before it has ended
    ├── TaskPredicate                 raised inside a task to steer its ending
    │   ├── Retry                     try again later
    │   ├── Ignore                    finish without storing a result
    │   └── Reject                    bury the message, or put it back
    └── TimeoutError                  waiting for a result took longer than ``timeout``

    SoftTimeLimitExceeded             raised inside the task at its soft limit; not an UmbelError, so that
                                      ``except UmbelError`` in a task does not swallow it
    UmbelWarning                      a warning, not an error
"""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any

__all__ = [
    "BrokerUnavailable",
    "CallError",
    "CapabilityError",
    "ChordError",
    "ConfigurationError",
    "ContentDisallowed",
    "DecodeError",
    "EncodeError",
    "Ignore",
    "IncompleteStream",
    "LeaseLost",
    "MaxRetriesExceededError",
    "MessageError",
    "NoResultStore",
    "NotRegistered",
    "OperationalError",
    "Reject",
    "Retry",
    "SoftTimeLimitExceeded",
    "StoreFull",
    "StoreUnavailable",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "TimeLimitExceeded",
    "TimeoutError",
    "UmbelError",
    "UmbelWarning",
    "UnknownSetting",
    "WorkerLostError",
]


class UmbelError(Exception):
    """The root of the tree above."""


class ConfigurationError(UmbelError):
    """A setting is contradictory, of the wrong type, or missing. The message names the right one."""


class UnknownSetting(ConfigurationError, AttributeError):
    """No setting has this name. The message suggests the nearest one."""


class NoResultStore(ConfigurationError):
    """A result was asked for, but the app has no result backend."""


class CallError(UmbelError):
    """The call cannot be sent as it is. Nothing was sent."""


class EncodeError(CallError, TypeError):
    """A value cannot be written in the chosen serializer. The message names the value and its type."""


class TaskError(UmbelError):
    """How a task ended, seen from the caller's side."""


class NotRegistered(CallError, TaskError, KeyError):
    """The app has no task of this name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MessageError(UmbelError):
    """A message that arrived cannot become a call."""


class DecodeError(MessageError, ValueError):
    """The bytes are not what their content type or envelope says."""


class ContentDisallowed(MessageError):
    """The message's content type is not accepted here (see ``accept_content``)."""


class OperationalError(UmbelError):
    """The broker or the result store cannot be reached, or refuses for now. Trying again may help."""

    in_doubt: bool = False
    """The request was sent and its answer was lost: it may have been carried out."""
    refused: bool = False
    """What was asked cannot be done as it is, now or later (a key of the server's holds something else than messages). Nothing
    of it was."""


class BrokerUnavailable(OperationalError):
    """The broker cannot be reached. The message names its URL, never its password."""


class StoreUnavailable(OperationalError):
    """The result store cannot be reached. The message names its URL, never its password."""


class StoreFull(OperationalError):
    """The disk or the memory of the store is full, or it is read-only. Nothing was written."""


class CapabilityError(UmbelError):
    """This broker or store cannot do what was asked. The message says which one can."""


class LeaseLost(UmbelError):
    """The lease of a running task ended and another run took over; what this run produced is not written."""


class MaxRetriesExceededError(TaskError):
    """The task asked for one more retry than ``max_retries`` allows."""


class TaskRevokedError(TaskError):
    """The task was revoked (or expired) before it finished."""


class WorkerLostError(TaskError):
    """The process that ran the task died. The message names the signal or the exit code."""


class TimeLimitExceeded(TaskError):
    """The task ran into its hard time limit and its process was killed."""


class ChordError(TaskError):
    """A call of a chord's header has failed. It is the result of the body, which was not called."""


class IncompleteStream(TaskError):
    """What follows from a call was asked for before the call had ended."""


class TaskPredicate(UmbelError):
    """Raised inside a task to say how the run should end. Not an error of the task."""


class Retry(TaskPredicate):
    """The task is sent again. Raised by ``self.retry()``; raise it yourself with a delay in ``when``.

    ``message`` is shown in logs, ``exc`` is the error that made the retry necessary, ``when`` is either
    a number of seconds from now or an aware ``datetime``.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | None = None,
        when: float | datetime | None = None,
        **options: Any,
    ) -> None:
        super().__init__(message, exc, when)
        self.message = message
        self.exc = exc
        self.when = when
        self.options = options

    def __str__(self) -> str:
        if self.message:
            return self.message
        due = (
            f" in {self.when}s"
            if isinstance(self.when, (int, float))
            else f" at {self.when}"
            if self.when
            else ""
        )
        return f"Retry{due}: {self.exc!r}" if self.exc is not None else f"Retry{due}"


class Ignore(TaskPredicate):
    """Finish this run and store no outcome. A state set by ``update_state`` stays."""


class Reject(TaskPredicate):
    """Refuse the message: ``requeue=True`` puts it back, otherwise it goes to the dead letters with ``reason``."""

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue

    def __str__(self) -> str:
        return str(self.reason) if self.reason is not None else "rejected by the task"


class TimeoutError(UmbelError, builtins.TimeoutError):
    """The result did not arrive within ``timeout`` seconds. The task may still run."""


class SoftTimeLimitExceeded(Exception):
    """Raised inside a running task when its soft time limit is reached, so that it can clean up."""


class UmbelWarning(UserWarning):
    """Something works, but not for long or not as it looks: an old name of a setting, two tasks of one name."""
