"""Exceptions."""

from __future__ import annotations

from umbel.contrib.celery.command import CeleryCommandException
from umbel.contrib.celery.platforms import SecurityError, SecurityWarning
from umbel.contrib.celery.routes import QueueNotFound
from umbel.contrib.celery.utils.deprecated import CDeprecationWarning, CPendingDeprecationWarning
from umbel.contrib.celery.utils.serialization import UnpickleableExceptionWrapper, reraise
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
from umbel.errors import Retry as RetryTaskError
from umbel.errors import UmbelError as CeleryError
from umbel.errors import UmbelWarning as CeleryWarning
from umbel.errors import UmbelWarning as DuplicateTaskNameWarning

__all__ = [
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "CDeprecationWarning",
    "CPendingDeprecationWarning",
    "CeleryCommandException",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "DuplicateNodenameWarning",
    "DuplicateTaskNameWarning",
    "FixupWarning",
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
    "RetryTaskError",
    "SecurityError",
    "SecurityWarning",
    "SoftTimeLimitExceeded",
    "SystemTerminate",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "UnpickleableExceptionWrapper",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
    "reraise",
]

BackendError = OperationalError
BackendGetMetaError = OperationalError
BackendStoreError = OperationalError
NotConfigured = CeleryWarning


class InvalidTaskError(CeleryError):
    """A message that is no call. Umbel buries it."""


class AlreadyRegistered(TaskError):
    """Celery never raises it either."""


class Terminated(CeleryError):
    """The process of a task was terminated. Umbel raises TaskRevokedError in its place."""


class WorkerShutdown(SystemExit):
    """The worker should stop warm."""


class WorkerTerminate(SystemExit):
    """The worker should stop at once."""


SystemTerminate = WorkerTerminate


class AlwaysEagerIgnored(CeleryWarning):
    """``send_task()`` sends, whatever task_always_eager says."""


class DuplicateNodenameWarning(CeleryWarning):
    """Two workers have the same name."""


class FixupWarning(CeleryWarning):
    """Something about a web framework."""
