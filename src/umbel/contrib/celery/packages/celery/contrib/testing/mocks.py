"""Messages for tests."""

from __future__ import annotations

from umbel.contrib.celery.mocks import (
    ContextMock,
    TaskMessage,
    TaskMessage1,
    task_message_from_sig,
)

__all__ = [
    "ContextMock",
    "TaskMessage",
    "TaskMessage1",
    "task_message_from_sig",
]
