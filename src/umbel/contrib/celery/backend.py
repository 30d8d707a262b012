"""``app.backend``: the result store in the words of Celery's backends, as far as programs use them."""

from __future__ import annotations

import traceback as tracebacks
from typing import TYPE_CHECKING, Any

from umbel import states
from umbel.backends import mask_url
from umbel.core.outcome import ResultMeta
from umbel.execution import ExceptionInfo
from umbel.groups import GroupResult

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Backend"]


class Backend:
    """See the module. Everything raises NoResultStore when the app keeps no results."""

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES
    supports_native_join = True
    supports_autoexpire = True
    persistent = True

    def __init__(self, app: Umbel) -> None:
        self.app = app

    @property
    def url(self) -> str:
        """The URL of the store. It may hold a password."""
        return self.app.result_url or "disabled://"

    def as_uri(self, include_password: bool = False) -> str:
        """The same, without its password unless asked for."""
        return self.url if include_password else mask_url(self.url)

    def ensure_chords_allowed(self) -> None:
        """Chords need a place where results are kept."""
        self.app.store  # noqa: B018 - raises

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """What is stored of a call, under Celery's names."""
        return self.app.AsyncResult(task_id).as_meta()

    def get_state(self, task_id: str) -> str:
        """The state of a call."""
        return self.app.AsyncResult(task_id).state

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        """What it has returned, or the exception."""
        return self.app.AsyncResult(task_id).result

    def get_traceback(self, task_id: str) -> str | None:
        """The traceback of one that has failed."""
        return self.app.AsyncResult(task_id).traceback

    def get_children(self, task_id: str) -> list[Any]:
        """What it has sent."""
        return self.app.AsyncResult(task_id).children

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **unused: Any,
    ) -> Any:
        """Write the result of a call, whatever it was before."""
        name = getattr(request, "task", None)
        self.app.store_meta(
            ResultMeta(task_id=task_id, status=state, result=result, traceback=traceback, name=name)
        )
        return result

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, **unused: Any) -> Any:
        """It has succeeded."""
        return self.store_result(task_id, result, states.SUCCESS, request=request)

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        """It has begun."""
        return self.store_result(task_id, meta, states.STARTED)

    def mark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: str | None = None,
        request: Any = None,
        **unused: Any,
    ) -> Any:
        """It has failed. Callbacks and chords are not called by this."""
        if isinstance(traceback, ExceptionInfo):
            traceback = traceback.traceback
        text = traceback or "".join(tracebacks.format_exception(exc))
        return self.store_result(task_id, exc, states.FAILURE, text, request)

    def mark_as_revoked(self, task_id: str, reason: Any = "", **unused: Any) -> Any:
        """It has been revoked."""
        return self.store_result(task_id, reason, states.REVOKED)

    def forget(self, task_id: str) -> None:
        """Delete what is stored of it."""
        self.app.AsyncResult(task_id).forget()

    def save_group(self, group_id: str, result: Any) -> Any:
        """Keep the results of a group, so that ``restore_group`` finds them."""
        return result.save()

    def restore_group(self, group_id: str, cache: bool = True) -> GroupResult | None:
        """Those that were saved."""
        return GroupResult.restore(group_id, self.app)

    def delete_group(self, group_id: str) -> None:
        """Forget them."""
        if (found := self.restore_group(group_id)) is not None:
            found.delete()

    def cleanup(self) -> None:
        """What has expired goes by itself."""

    process_cleanup = cleanup
