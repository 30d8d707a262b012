"""Celery's ``Task``: what it has beside Umbel's."""

from __future__ import annotations

from typing import Any

from umbel.context import Request, current_run, running
from umbel.flow.signature import Signature
from umbel.result import AsyncResult
from umbel.task import Task as UmbelTask

__all__ = ["CeleryTask"]


class CeleryTask(UmbelTask[..., Any]):
    """``celery.Task``: ``app.Task``, and the base of classes that are written for Celery."""

    abstract = True
    Strategy = "celery.worker.strategy:default"
    Request = "celery.worker.request:Request"

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Send it, through ``apply_async``: a subclass, or a package that watches, may have another one."""
        return self.apply_async(args, kwargs)

    def _get_app(self) -> Any:
        return self.app

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Let ``self.request`` have these fields until ``pop_request()``. For tests of bound tasks."""
        names = set(Request.__struct_fields__)
        request = Request(**{k: v for k, v in kwargs.items() if k in names})
        for name in kwargs.keys() - names:
            setattr(request, name, kwargs[name])
        request.called_directly = kwargs.get("called_directly", False)
        entered = running(self, request)
        run = entered.__enter__()
        run.entered = True
        _pushed.append(entered)

    def pop_request(self) -> None:
        """End what ``push_request()`` began."""
        _pushed.pop().__exit__(None, None, None)

    def subtask(self, *args: Any, **kwargs: Any) -> Signature:
        """Celery's old word for ``signature``."""
        return self.signature(*args, **kwargs)

    def signature_from_request(
        self, request: Any = None, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Signature:
        """A signature of the call that runs, with other arguments or options if given."""
        run = current_run()
        request = request or (Request() if run is None else run.request)
        args = request.args if args is None else args
        kwargs = request.kwargs if kwargs is None else kwargs
        return self.signature(args, kwargs, task_id=request.id, **options)


_pushed: list[running] = []
