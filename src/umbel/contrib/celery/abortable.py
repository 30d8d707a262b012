"""``celery.contrib.abortable``: tasks that look now and then whether somebody wants them to end."""

from __future__ import annotations

from typing import Any

from umbel.contrib.celery.task import CeleryTask
from umbel.core.outcome import ResultMeta
from umbel.result import AsyncResult

__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]

ABORTED = "ABORTED"


class AbortableAsyncResult(AsyncResult[Any]):
    """The result of an abortable task."""

    __slots__ = ()

    def abort(self) -> None:
        """Ask the task to end. It goes on until it looks."""
        self.app.store_meta(ResultMeta(task_id=self.id, status=ABORTED))

    def is_aborted(self) -> bool:
        """Whether somebody has asked."""
        return self.state == ABORTED


class AbortableTask(CeleryTask):
    """A task that calls ``self.is_aborted()`` in its loop, and returns when it is."""

    abstract = True

    def AsyncResult(self, task_id: str) -> AbortableAsyncResult:
        """The result of a call of this task, by its id."""
        return AbortableAsyncResult(task_id, app=self.app)

    def is_aborted(self, **kwargs: Any) -> bool:
        """Whether somebody has asked the call that runs, or the one of the id ``task_id``, to end."""
        task_id = kwargs.get("task_id") or self.request.id
        return task_id is not None and self.AsyncResult(task_id).is_aborted()
