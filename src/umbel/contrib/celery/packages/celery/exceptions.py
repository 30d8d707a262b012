"""Exceptions."""

from __future__ import annotations

from umbel.errors import (
    ChordError,
    Ignore,
    IncompleteStream,
    MaxRetriesExceededError,
    NotRegistered,
    OperationalError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskError,
    TaskPredicate,
    TaskRevokedError,
    TimeLimitExceeded,
    TimeoutError,
    WorkerLostError,
)
from umbel.errors import ConfigurationError as ImproperlyConfigured
from umbel.errors import UmbelError as CeleryError
from umbel.errors import UmbelWarning as CeleryWarning

__all__ = [
    "AlreadyRegistered",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotConfigured",
    "NotRegistered",
    "OperationalError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SecurityError",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
]

BackendError = OperationalError
BackendGetMetaError = OperationalError
BackendStoreError = OperationalError
NotConfigured = CeleryWarning


class QueueNotFound(KeyError):
    """A task was routed to a queue that is not in task_queues. Umbel raises CallError in its place."""


class InvalidTaskError(CeleryError):
    """A message that is no call. Umbel buries it."""


class AlreadyRegistered(TaskError):
    """Celery never raises it either."""


class SecurityError(CeleryError):
    """Signed messages are not in this version."""


class Terminated(CeleryError):
    """The process of a task was terminated. Umbel raises TaskRevokedError in its place."""


class WorkerShutdown(SystemExit):
    """The worker should stop warm."""


class WorkerTerminate(SystemExit):
    """The worker should stop at once."""
