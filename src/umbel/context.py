"""What is current: the app of this process, and the task that runs in this thread or coroutine.

This is the only module state of Umbel beyond caches: ``shared_task`` and ``current_app`` exist so that code can be
written without naming an app, and they need a place to look. Everything else hangs on an app, and two apps may live in one
process. The running task is a context variable: threads and asyncio tasks each see their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.core.account import Account
from umbel.core.envelope import Envelope
from umbel.errors import ConfigurationError

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.arguments import ArgumentLoader
    from umbel.errors import Retry
    from umbel.integration import Integration
    from umbel.registry import TaskFinder
    from umbel.result import AsyncResult
    from umbel.task import Task

__all__ = [
    "AppState",
    "Proxy",
    "Request",
    "Run",
    "allow_join_result",
    "current_request",
    "current_run",
    "get_current_app",
    "get_current_task",
    "joins_allowed",
    "running",
    "state",
]


class Request(msgspec.Struct, dict=True):
    """``self.request``: what a task can know about its own run. The fields are Celery's."""

    id: str | None = None
    task: str | None = None
    args: tuple[Any, ...] | list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    retries: int = 0
    """How many times it has been retried: 0 in the first run."""
    hostname: str | None = None
    """Name of the worker, ``name@host``."""
    delivery_info: dict[str, Any] | None = None
    """``{"exchange", "routing_key", "priority", "redelivered"}``."""
    is_eager: bool = False
    called_directly: bool = True
    """Nobody sent it: the function was called, or there is no run at all."""

    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    chord: dict[str, Any] | None = None
    chain: list[dict[str, Any]] | None = None
    callbacks: list[dict[str, Any]] | None = None
    errbacks: list[dict[str, Any]] | None = None
    children: list[AsyncResult[Any]] = msgspec.field(default_factory=list)
    """What this run has sent, unless the task has ``trail = False``."""

    eta: datetime | None = None
    expires: datetime | None = None
    timelimit: tuple[float | None, float | None] = (None, None)
    """Hard and soft limit, seconds."""
    headers: dict[str, Any] | None = None
    """Custom headers of the message."""
    properties: dict[str, Any] | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    origin: str | None = None
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    ignore_result: bool | None = None
    stamps: dict[str, Any] | None = None
    stamped_headers: list[str] | None = None
    replaced_task_nesting: int = 0
    utc: bool = True
    deliveries: int = 1
    """How often this message has been delivered, crashes counted. Umbel's own."""
    reporter: Callable[[str, Any, str | None], None] | None = None
    """Takes what ``update_state`` says (state, meta, id of another call) on its way through the worker, where there is one."""
    account: Account | None = None
    """What its records tell of all its runs, where the sender asked for that (``umbel.core.account``). Umbel's own."""
    pending_retry: Retry | None = None
    """What ``retry(throw=False)`` asked for: the run goes on, and the retry follows it."""

    @property
    def time_limit(self) -> float | None:
        """Hard limit, seconds."""
        return self.timelimit[0]

    @property
    def soft_time_limit(self) -> float | None:
        """Soft limit, seconds."""
        return self.timelimit[1]

    @property
    def taskset(self) -> str | None:
        """Celery's old word for ``group``."""
        return self.group

    def __getattr__(self, name: str) -> Any:
        """A custom header, as an attribute: those who follow calls from process to process look there."""
        headers = None if name.startswith("__") else self.headers
        if headers is None or name not in headers:
            raise AttributeError(f"The request has no {name!r}, and the message no header of that name.")
        return headers[name]

    def get(self, key: str, default: Any = None) -> Any:
        """A field or a custom header; `default` when there is none."""
        value = getattr(self, key, None)
        if value is None and self.headers:
            value = self.headers.get(key)
        return default if value is None else value

    @classmethod
    def from_envelope(
        cls, envelope: Envelope, *, hostname: str | None = None, delivery_info: dict[str, Any] | None = None
    ) -> Request:
        """The request of a run that `envelope` asked for."""
        embed = envelope.embed
        # All fields in their order: by name this would take three times as long, and it is done for every task that runs.
        return cls(
            envelope.id,
            envelope.task,
            envelope.args,
            envelope.kwargs,
            envelope.retries,
            hostname,
            delivery_info,
            False,  # is_eager
            False,  # called_directly
            envelope.root_id or envelope.id,
            envelope.parent_id,
            envelope.group_id,
            envelope.group_index,
            embed.chord,
            embed.chain,
            embed.callbacks,
            embed.errbacks,
            [],
            envelope.eta,
            envelope.expires,
            (envelope.time_limit, envelope.soft_time_limit),
            envelope.headers,
            None,  # properties
            envelope.correlation_id or envelope.id,
            envelope.reply_to,
            envelope.origin,
            envelope.shadow,
            envelope.argsrepr,
            envelope.kwargsrepr,
            envelope.ignore_result,
            envelope.stamps,
            envelope.stamped_headers,
            envelope.replaced_task_nesting,
            account=Account.read(envelope.headers) if envelope.headers else None,
        )


class Run(msgspec.Struct):
    """One run of a task in this thread or coroutine."""

    task: Task[..., Any]
    request: Request
    entered: bool = False
    """The task's own function has been reached: a further direct call of the task is a call, not this run."""


_run: ContextVar[Run | None] = ContextVar("umbel_run", default=None)
_joins: ContextVar[bool] = ContextVar("umbel_joins_allowed", default=False)


def current_run() -> Run | None:
    """The run going on in this thread or coroutine."""
    return _run.get()


def current_request() -> Request | None:
    """The request of the run going on here, None outside of tasks and in functions that were called directly."""
    run = _run.get()
    return None if run is None or run.request.called_directly else run.request


class running:
    """``with running(task, request):`` makes `task` the current one: ``self.request`` is `request`, and calls made inside
    know their parent.

    A class, because a generator would cost half of what an empty task costs in all.
    """

    __slots__ = ("_run", "_token")

    def __init__(self, task: Task[..., Any], request: Request) -> None:
        self._run = Run(task, request)

    def __enter__(self) -> Run:
        self._token: Token[Run | None] = _run.set(self._run)
        return self._run

    def __exit__(self, *_: object) -> None:
        _run.reset(self._token)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Within this block ``result.get()`` may be called inside a task. It can deadlock when no worker is free."""
    token = _joins.set(True)
    try:
        yield
    finally:
        _joins.reset(token)


def joins_allowed() -> bool:
    """Whether waiting for a result cannot deadlock here: no task is running, or the caller takes the risk."""
    return current_request() is None or _joins.get()


# -------------------------------------------------------------------------------------------- current app


class AppState:
    """The apps of this process as far as code without an app can see them."""

    def __init__(self) -> None:
        self.default: Umbel | None = None
        """The app made last with ``set_as_current``, or by ``set_default()``: what every thread falls back to."""
        self.local: ContextVar[Umbel | None] = ContextVar("umbel_app", default=None)
        """Overrides it in one thread or coroutine (``app.set_current()``)."""
        self.shared: list[Callable[[Umbel], Task[..., Any]]] = []
        """The ``shared_task`` declarations: each makes its task for one app."""
        self.finders: list[TaskFinder] = []
        """Find tasks that are declared in another way; see ``umbel.registry.TaskFinder``."""
        self.make_app: Callable[[], Umbel] | None = None
        """Makes the app of a program that has none."""
        self.integration: Integration | None = None
        """What the web framework of this process decides; see ``umbel.integration``."""
        self.argument_loader: ArgumentLoader | None = None
        """Replaces arguments that stand for something else, such as a row of a database."""


state = AppState()


def get_current_app() -> Umbel:
    """The current app. Raises ConfigurationError when there is none."""
    app = state.local.get() or state.default
    if app is None and state.make_app is not None:
        app = state.default = state.make_app()
    if app is None:
        raise ConfigurationError(
            "There is no Umbel app yet. Create one, and import the module that does before tasks are called: "
            'app = Umbel("name").'
        )
    return app


def get_current_task() -> Task[..., Any] | None:
    """The task that runs in this thread or coroutine, or None."""
    run = _run.get()
    return None if run is None else run.task


class Proxy:
    """Stands for an object that is looked up at each use, such as the current app."""

    __slots__ = ("__lookup", "__weakref__")

    def __init__(self, lookup: Callable[[], Any]) -> None:
        object.__setattr__(self, "_Proxy__lookup", lookup)

    def _get_current_object(self) -> Any:
        lookup: Callable[[], Any] = object.__getattribute__(self, "_Proxy__lookup")
        return lookup()

    @property
    def __class__(self) -> type:  # isinstance() must see what the proxy stands for
        return type(self._get_current_object())

    @__class__.setter
    def __class__(self, value: type) -> None:
        raise TypeError("the class of a proxy cannot be changed")

    @property
    def __dict__(self) -> Mapping[str, Any]:  # type: ignore[override]
        attributes: Mapping[str, Any] = self._get_current_object().__dict__
        return attributes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        return bool(self._get_current_object() == other)

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __repr__(self) -> str:
        return repr(self._get_current_object())

    def __str__(self) -> str:
        return str(self._get_current_object())

    def __dir__(self) -> list[str]:
        return dir(self._get_current_object())
