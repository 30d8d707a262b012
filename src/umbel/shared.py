"""Tasks that belong to no app in particular: ``shared_task``, ``current_app`` and ``current_task``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast, overload

from umbel import context
from umbel.app import Umbel
from umbel.context import Proxy, get_current_app, get_current_task
from umbel.flow.signature import Signature
from umbel.task import Task

if TYPE_CHECKING:
    from typing import Unpack

    from umbel.options import TaskOptions

__all__ = ["current_app", "current_task", "shared_task", "signature"]

P = ParamSpec("P")
R = TypeVar("R")

current_app: Umbel = cast(Umbel, Proxy(get_current_app))
"""Stands for the current app: the one made last, unless an app was made current on purpose."""
current_task: Task[..., Any] = cast("Task[..., Any]", Proxy(get_current_task))
"""Stands for the task that runs in this thread or coroutine; false when there is none."""


@overload
def shared_task(fun: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(
    *, bind: Literal[True], name: str | None = ..., base: type[Task[..., Any]] | None = ..., **options: Unpack[TaskOptions]
) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...  # fmt: skip
@overload
def shared_task(
    *, bind: Literal[False] = ..., name: str | None = ..., base: type[Task[..., Any]] | None = ..., **options: Unpack[TaskOptions]
) -> Callable[[Callable[P, R]], Task[P, R]]: ...  # fmt: skip
def shared_task(fun: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """``@app.task`` for code that does not know the app, such as a reusable Django application.

    The task exists in every app of the process, those to come included; what the decorated name stands for is that of the
    current app at the time of use. Options are those of ``@app.task``.
    """
    if fun is None:
        return lambda function: _share(function, options)
    return _share(fun, options)


def _share(fun: Callable[..., Any], options: dict[str, Any]) -> Any:
    def declare(app: Umbel) -> Task[..., Any]:
        decorate: Callable[[Any], Task[..., Any]] = app.task(**options)
        return decorate(fun)

    def lookup() -> Task[..., Any]:
        app = get_current_app()
        return app.tasks[options.get("name") or app.gen_task_name(fun.__name__, fun.__module__)]

    context.state.shared.append(declare)
    return Proxy(lookup)


def signature(
    task: str | Signature | Mapping[str, Any],
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    immutable: bool = False,
    **options: Any,
) -> Signature:
    """``app.signature`` of the current app."""
    return get_current_app().signature(task, args, kwargs, immutable=immutable, **options)
