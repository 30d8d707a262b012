"""Tasks: functions that can be called in place, or sent to be run by a worker.

Long because the public methods of a task, their typed twins and their documentation belong on one page.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, overload

from umbel.arguments import ArgumentCheck
from umbel.context import Request, allow_join_result, current_run, get_current_app, running, state
from umbel.core.policy import backoff
from umbel.errors import CallError, ConfigurationError, MaxRetriesExceededError, Retry
from umbel.flow.repeated import chunks, xmap, xstarmap
from umbel.flow.signature import Signature
from umbel.options import check_limits, check_priority
from umbel.replacing import Replaced, launch_in_place, place_in_chord, replacement

if TYPE_CHECKING:
    from typing import Unpack

    from umbel.app import Umbel
    from umbel.arguments import Loading
    from umbel.execution import ExceptionInfo
    from umbel.options import CallOptions
    from umbel.result import AsyncResult as Result
    from umbel.result import EagerResult

__all__ = ["Task", "setting_of"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

# Attributes that fall back to a setting when they are None, and the name of that setting.
_SETTINGS = {
    "ignore_result": "task_ignore_result",
    "store_errors_even_if_ignored": "task_store_errors_even_if_ignored",
    "store_eager_result": "task_store_eager_result",
    "rate_limit": "task_default_rate_limit",
    "time_limit": "task_time_limit",
    "soft_time_limit": "task_soft_time_limit",
    "acks_late": "task_acks_late",
    "acks_on_failure_or_timeout": "task_acks_on_failure_or_timeout",
    "acks_on_failure": "task_acks_on_failure",
    "acks_on_timeout": "task_acks_on_timeout",
    "reject_on_worker_lost": "task_reject_on_worker_lost",
    "max_deliveries": "task_max_deliveries",
    "serializer": "task_serializer",
    "compression": "task_compression",
    "track_started": "task_track_started",
}


class Task(Generic[P, R_co]):
    """A task. ``@app.task`` makes one of a function; subclass it to give several tasks hooks and options in common.

    Calling it runs the function in place. ``delay`` sends it to a worker::

        @app.task
        def add(x: int, y: int) -> int:
            return x + y

        add(1, 2)              # 3, here and now
        add.delay(1, 2).get()  # 3, from a worker

    The attributes below are the defaults of the options that ``@app.task(...)`` takes; None means: as the settings say.
    """

    name: str = ""
    app: Umbel
    """Set when the task is registered."""

    typing: bool = True
    max_retries: int | None = 3
    default_retry_delay: float = 180
    autoretry_for: Iterable[type[BaseException]] = ()
    dont_autoretry_for: Iterable[type[BaseException]] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600
    retry_jitter: bool = True

    ignore_result: bool | None = None
    store_errors_even_if_ignored: bool | None = None
    store_eager_result: bool | None = None
    rate_limit: str | float | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    acks_late: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    max_deliveries: int | None = None

    serializer: str | None = None
    compression: str | None = None
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    expires: float | datetime | None = None

    track_started: bool | None = None
    throws: Iterable[type[BaseException]] = ()
    trail: bool = True
    send_events: bool = True
    resultrepr_maxsize: int = 1024

    MaxRetriesExceededError: ClassVar[type[MaxRetriesExceededError]] = MaxRetriesExceededError

    sends_itself: bool = False
    """Its class has an ``apply_async`` of its own, which is called for each of its calls in a workflow too. Set when registered."""
    is_async: bool = False
    """``run`` is a coroutine function. Set when the task is registered."""
    arguments: ArgumentCheck | None = None
    """Checks the arguments of calls; None with ``typing=False``. Set when the task is registered."""

    # A function becomes ``run`` of a class of its own, so that "self" and super() mean what they say.
    run: Callable[..., Any]
    """What the task does. Override it in a class-based task."""

    # -- registration

    def bind(self, app: Umbel) -> None:
        """Make it a task of `app`: ``app.register_task`` calls this. Raises ConfigurationError for options that cannot be."""
        run = getattr(self, "run", None)
        if run is None:
            raise ConfigurationError(f"{type(self).__qualname__} has no run() method: a task must have one.")
        self.app = app
        self.is_async = inspect.iscoroutinefunction(run)
        self.sends_itself = type(self).apply_async is not Task.apply_async
        subject = f"The task {self.name!r}"
        self.arguments = _argument_check(run, subject) if self.typing else None
        check_priority(self.priority, subject, ConfigurationError)
        check_limits(self.soft_time_limit, self.time_limit, subject, ConfigurationError)
        for option in ("autoretry_for", "dont_autoretry_for", "throws"):
            setattr(self, option, _exceptions(getattr(self, option), f"{subject}: {option}"))
        if self.max_retries is not None and self.max_retries < 0:
            raise ConfigurationError(
                f"{subject}: max_retries must be 0 or more, or None, not {self.max_retries!r}."
            )
        self.on_bound(app)

    def on_bound(self, app: Umbel) -> None:
        """Called when the task has been registered with `app`."""

    # -- here and now

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function in place, with a request of its own (``request.called_directly``)."""
        run = current_run()
        if run is not None and run.task is self and not run.entered:
            run.entered = True
            value: R_co = self._enter(args, kwargs)
            return value
        if self.is_async:
            return self._call_async(args, kwargs)  # type: ignore[return-value]
        with running(self, Request(task=self.name, args=args, kwargs=kwargs)) as run:
            run.entered = True
            return self._enter(args, kwargs)  # type: ignore[no-any-return]

    async def _call_async(self, args: Any, kwargs: Any) -> Any:
        with running(self, Request(task=self.name, args=args, kwargs=kwargs)) as run:
            run.entered = True
            return await self._enter(args, kwargs)

    def _enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function, with what its arguments stand for."""
        load = state.argument_loader
        if load is not None and (loading := load(args, kwargs)) is not None:
            if self.is_async:
                return self._enter_loaded(loading)
            args, kwargs = loading.load()
        return self.run(*args, **kwargs)

    async def _enter_loaded(self, loading: Loading) -> Any:
        args, kwargs = await loading.aload()
        return await self.run(*args, **kwargs)

    @overload
    def apply(
        self: Task[..., Coroutine[Any, Any, T]], args: Sequence[Any] | None = ..., kwargs: Mapping[str, Any] | None = ...,
        *, throw: bool | None = ..., retries: int = ..., **options: Unpack[CallOptions],
    ) -> EagerResult[T]: ...  # fmt: skip
    @overload
    def apply(
        self, args: Sequence[Any] | None = ..., kwargs: Mapping[str, Any] | None = ...,
        *, throw: bool | None = ..., retries: int = ..., **options: Unpack[CallOptions],
    ) -> EagerResult[R_co]: ...  # fmt: skip
    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        throw: bool | None = None,
        retries: int = 0,
        **options: Unpack[CallOptions],
    ) -> EagerResult[Any]:
        """Run the task here as a worker would, hooks and retries (without their delays) included.

        `throw`: raise what the task raises (default: ``task_eager_propagates``). Nothing is sent or stored.
        """
        return self.app.run_eagerly(self, args, kwargs, dict(options), retries=retries, throw=throw)

    # -- sending

    @overload
    def delay(self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Result[T]: ...
    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Result[R_co]: ...
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Result[Any]:
        """Send the task, to be run by a worker with these arguments.

        Raises TypeError when the function does not take them, EncodeError when one cannot be written in the serializer,
        and BrokerUnavailable when the message could not be stored within ``broker_send_timeout`` seconds. In all
        three cases nothing was sent, except when the error is ``in_doubt`` and says so: the connection broke, or time ran
        out, while the broker was to answer. Such a message is not sent again, because it might run twice.
        """
        if self.sends_itself:
            return self.apply_async(args, kwargs)
        return self.app.client.call(self, args, kwargs, None)

    @overload
    def apply_async(
        self: Task[..., Coroutine[Any, Any, T]], args: Sequence[Any] | None = ..., kwargs: Mapping[str, Any] | None = ...,
        **options: Unpack[CallOptions],
    ) -> Result[T]: ...  # fmt: skip
    @overload
    def apply_async(
        self,
        args: Sequence[Any] | None = ...,
        kwargs: Mapping[str, Any] | None = ...,
        **options: Unpack[CallOptions],
    ) -> Result[R_co]: ...
    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Result[Any]:
        """``delay`` with options, such as ``add.apply_async((1, 2), countdown=10, queue="slow", expires=3600)``.

        What they mean is said in ``umbel.options.CallOptions``. Raises what ``delay`` raises.
        """
        return self.app.client.call(self, args or (), kwargs or {}, options)

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> Result[Any]:
        """``delay`` when the transaction of the web framework has been committed; at once where there is none.

        With Django ``delay`` does the same, unless the setting ``send_on_commit`` is off.
        """
        return self.app.client.call(self, args, kwargs, {"on_commit": True})

    def apply_async_on_commit(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Result[Any]:
        """``apply_async`` in the same way."""
        return self.app.client.call(self, args or (), kwargs or {}, {**options, "on_commit": True})

    @overload
    async def adelay(
        self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Result[T]: ...
    @overload
    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Result[R_co]: ...
    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Result[Any]:
        """``delay`` for coroutines: does not block the event loop."""
        if self.sends_itself:
            return await asyncio.to_thread(self.apply_async, args, kwargs)
        return await self.app.client.acall(self, args, kwargs, None)

    @overload
    async def aapply_async(
        self: Task[..., Coroutine[Any, Any, T]], args: Sequence[Any] | None = ..., kwargs: Mapping[str, Any] | None = ...,
        **options: Unpack[CallOptions],
    ) -> Result[T]: ...  # fmt: skip
    @overload
    async def aapply_async(
        self,
        args: Sequence[Any] | None = ...,
        kwargs: Mapping[str, Any] | None = ...,
        **options: Unpack[CallOptions],
    ) -> Result[R_co]: ...
    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Result[Any]:
        """``apply_async`` for coroutines."""
        return await self.app.client.acall(self, args or (), kwargs or {}, options)

    @overload
    def starmap_async(
        self: Task[..., Coroutine[Any, Any, T]],
        calls: Iterable[Sequence[Any]],
        **options: Unpack[CallOptions],
    ) -> list[Result[T]]: ...
    @overload
    def starmap_async(
        self, calls: Iterable[Sequence[Any]], **options: Unpack[CallOptions]
    ) -> list[Result[R_co]]: ...
    def starmap_async(
        self, calls: Iterable[Sequence[Any]], **options: Unpack[CallOptions]
    ) -> list[Result[Any]]:
        """Send one call for each sequence of arguments, all of them in one round trip: all are stored, or none.

            >>> results = add.starmap_async([(1, 2), (3, 4)])  # doctest: +SKIP

        `options` hold for each of them. (Celery's ``map`` and ``starmap`` are something else: one message for all.)
        """
        return self.app.client.call_many(self, calls, options)

    def map_async(self, items: Iterable[Any], **options: Unpack[CallOptions]) -> list[Result[Any]]:
        """``starmap_async`` for tasks of one argument: one call for each item."""
        return self.app.client.call_many(self, ((item,) for item in items), options)

    async def astarmap_async(
        self, calls: Iterable[Sequence[Any]], **options: Unpack[CallOptions]
    ) -> list[Result[Any]]:
        """``starmap_async`` for coroutines."""
        return await self.app.client.acall_many(self, calls, options)

    async def amap_async(self, items: Iterable[Any], **options: Unpack[CallOptions]) -> list[Result[Any]]:
        """``map_async`` for coroutines."""
        return await self.app.client.acall_many(self, ((item,) for item in items), options)

    # -- signatures

    def signature(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **options: Unpack[CallOptions],
    ) -> Signature:
        """The call as a value, to be sent later or linked to another one."""
        return Signature(self.name, args, kwargs, options, immutable, app=self.app)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """``signature`` with the arguments as they are: ``add.s(1, 2)``. It may be partial."""
        return Signature(self.name, args, kwargs, app=self.app)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """``s``, but immutable: it takes no further arguments, such as the result of the task that it is linked to."""
        return Signature(self.name, args, kwargs, immutable=True, app=self.app)

    def map(self, items: Iterable[Any]) -> Signature:
        """One call that runs the task for each of `items`, one after another: its value is the list of theirs."""
        return xmap(self.s(), items, app=self.app)

    def starmap(self, calls: Iterable[Sequence[Any]]) -> Signature:
        """``map`` for tasks of several arguments: one run for each sequence of them."""
        return xstarmap(self.s(), calls, app=self.app)

    def chunks(self, calls: Iterable[Sequence[Any]], size: int) -> Signature:
        """``starmap`` cut into calls of `size` runs each; ``.group()`` makes a group of them."""
        return chunks(self.s(), calls, size, app=self.app)

    # -- inside a run

    @property
    def request(self) -> Request:
        """What is known of the run going on here; outside of one an empty request with ``called_directly``."""
        run = current_run()
        return run.request if run is not None and run.task is self else Request(task=self.name)

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """Ask for another run, later: ``raise self.retry(exc=exc, countdown=60)``.

        It raises ``Retry``, so that nothing after it runs; the ``raise`` before it is for the reader. `args` and
        `kwargs` replace those of this run. Without `eta` and `countdown` (seconds) it waits ``default_retry_delay``.
        `options` are those of ``apply_async``, for the next run. With ``throw=False`` the exception is returned, the
        run goes on, and the next one follows whatever becomes of it.

        When this was the last of `max_retries` (default: the task's), raises `exc`, or MaxRetriesExceededError when
        there is none. In a function that was called directly there is nothing to retry: raises `exc` too.

        What the worker needs is in ``Retry.options``: ``args`` and ``kwargs`` (None: as before), ``eta``, ``countdown``,
        ``retries`` (number of the next try) and ``options``.
        """
        request = self.request
        if request.called_directly:
            raise exc or Retry("The task can be retried")
        limit = self.max_retries if max_retries is None else max_retries
        retries = request.retries + 1
        if limit is not None and retries > limit:
            if exc is not None:
                raise exc
            raise MaxRetriesExceededError(
                f"Can't retry {self.name}[{request.id}] args:{request.args} kwargs:{request.kwargs}: "
                f"max_retries is {limit}"
            )
        if eta is None and countdown is None:
            countdown = self.default_retry_delay
        retry = Retry(
            None,
            exc,
            countdown if eta is None else eta,
            args=None if args is None else tuple(args),
            kwargs=None if kwargs is None else dict(kwargs),
            eta=eta,
            countdown=countdown,
            retries=retries,
            options=options,
        )
        if throw:
            raise retry from exc
        request.pending_retry = retry
        return retry

    def autoretry(self, exc: BaseException, chance: float | None = None) -> BaseException:
        """What an exception of the run amounts to: a ``Retry`` if ``autoretry_for`` says so, else `exc` itself.

        `chance`, a number in [0, 1), spreads the delay; random unless given. Runners call this; tasks have no need to.
        """
        if not isinstance(exc, self.autoretry_for) or isinstance(exc, self.dont_autoretry_for):  # type: ignore[arg-type]
            return exc
        arguments: dict[str, Any] = dict(self.retry_kwargs)
        if self.retry_backoff:
            arguments["countdown"] = backoff(
                self.request.retries,
                factor=float(self.retry_backoff),
                maximum=self.retry_backoff_max,
                jitter=self.retry_jitter,
                chance=random.random() if chance is None else chance,
            )
        where = exc.__traceback__
        try:
            return self.retry(**{"exc": exc, **arguments, "throw": True})
        except BaseException as raised:  # noqa: BLE001 - Retry, or the error itself when tries are used up
            # Raising it here added frames that nobody looks for.
            return raised.with_traceback(where) if raised is exc else raised

    def replace(self, canvas: Signature) -> Any:
        """End this run, and let `canvas`, a call or a workflow, take its place: ``return self.replace(other.s(1))``.

        Whoever waits for this call gets the result of the other; callbacks, the rest of a chain and the chord go on after it.
        Raises Ignore, so that nothing after it runs. In a run in place the other is run at once, and its value returned.
        Raises ConfigurationError for what cannot take its place.
        """
        request = self.request
        if request.called_directly:
            raise CallError("A task that was called directly, and not sent, has no place to give away.")
        return self.on_replace(replacement(canvas, request))

    def on_replace(self, canvas: Signature) -> Any:
        """Called by ``replace`` with what takes the place of the run, ids, callbacks and all."""
        request = self.request
        if request.is_eager:
            with allow_join_result():
                return canvas.apply().get()
        raise Replaced(launch_in_place(canvas, request))

    def add_to_chord(self, canvas: Signature, lazy: bool = False) -> Any:
        """Add a call to the chord to which this one belongs, and send it; with `lazy` return it instead, to be sent later.

        The body waits for it too. Raises CallError when this call is not a member of a chord.
        """
        request = self.request
        added = place_in_chord(canvas, request)
        self.app.store.widen_join_now(str(request.group), 1, ttl=self.app.conf.result_expires)
        return added if lazy else added.delay()

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None) -> None:
        """Store a state of the task's own, with data for whoever asks: ``self.update_state(state="PROGRESS", meta={"done": 3})``.

        Does nothing when the app has no result store.
        """
        request = self.request
        task_id = task_id or request.id
        if task_id is not None:
            self.app.store_state(self, request, task_id, state, meta)

    def AsyncResult(self, task_id: str) -> Result[R_co]:
        """The result of a call of this task, by its id."""
        return self.app.AsyncResult(task_id)

    # -- hooks, to be overridden

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called by the worker before the function."""

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called by the worker when the function has returned `retval`."""

    def on_failure(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo,
    ) -> None:
        """Called by the worker when the task has failed for good."""

    def on_retry(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo,
    ) -> None:
        """Called by the worker when the task is going to be retried because of `exc`."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo | None,
    ) -> None:
        """Called by the worker after ``on_success`` or ``on_failure``; `retval` is the value or the exception."""

    # -- odds and ends

    def __repr__(self) -> str:
        return f"<@task: {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_name, (self.name,)


def _argument_check(run: Callable[..., Any], subject: str) -> ArgumentCheck | None:
    try:
        return ArgumentCheck(run)
    except ValueError as exc:
        if not inspect.ismethod(run):
            return None  # a builtin that does not say what it takes: the worker will find out
        raise ConfigurationError(
            f"{subject} is bound but its function takes no first argument (self)."
        ) from exc


def _by_name(name: str) -> Task[..., Any]:
    return get_current_app().tasks[name]


def setting_of(task: Task[..., Any], option: str) -> Any:
    """The value of a task's `option`, from the settings where the task leaves it open (``acks_late``, ``time_limit`` …)."""
    value = getattr(task, option)
    return task.app.conf[_SETTINGS[option]] if value is None and option in _SETTINGS else value


def _exceptions(given: Any, subject: str) -> tuple[type[BaseException], ...]:
    classes = (given,) if isinstance(given, type) else tuple(given or ())
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise ConfigurationError(f"{subject} must hold exception classes, not {cls!r}.")
    return classes
