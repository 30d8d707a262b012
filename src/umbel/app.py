"""The app: settings, tasks, and the way to the broker and the result store."""

from __future__ import annotations

import importlib
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Literal, ParamSpec, Self, TypeVar, overload
from zoneinfo import ZoneInfo

from umbel import context, integration, portal, records
from umbel.backends import mask_url, open_broker, open_store
from umbel.client import Client
from umbel.codecs.results import encode_result
from umbel.config import Config
from umbel.connections import Connections, broker_options, store_options
from umbel.context import Request
from umbel.control import Control
from umbel.core.outcome import FAILURE, ResultMeta
from umbel.discovery import import_related, script_module
from umbel.eager import arun_eagerly, run_eagerly
from umbel.errors import ConfigurationError, NoResultStore
from umbel.flow.signature import Signature
from umbel.groups import GroupResult, ResultSet, result_from_tuple
from umbel.hooks import Hooks
from umbel.middleware import SendMiddleware
from umbel.options import TASK_OPTIONS, refuse_unknown
from umbel.places import calling_file, default_database_path, prepare_directory
from umbel.ports import Broker, Record, ResultStore
from umbel.receiving import Events
from umbel.registry import Tasks
from umbel.result import AsyncResult as Result
from umbel.result import EagerResult
from umbel.routing import Queue
from umbel.task import Task as BaseTask
from umbel.workflows import Workflows

if TYPE_CHECKING:
    from typing import Unpack

    from umbel.options import CallOptions, TaskOptions

__all__ = ["Umbel"]

P = ParamSpec("P")
R = TypeVar("R")


class Umbel(Workflows, Hooks):
    """An application: settings, tasks, and the way to the broker and the results.

    ::

        app = Umbel("shop")                                       # a SQLite file, no server
        app = Umbel("shop", broker="redis://localhost:6379/0", backend="redis://localhost:6379/1")

        @app.task
        def add(x: int, y: int) -> int:
            return x + y

    `main` names the module of tasks that are defined in a script (``__main__``). `broker` and `backend` are the settings
    ``broker_url`` and ``result_backend``; `include` lists modules that workers import; further settings by keyword.
    With `set_as_current` it becomes what ``current_app`` and ``shared_task`` mean. `task_cls` is the class of its tasks.
    `namespace` is the default of ``config_from_object``.

    Raises ConfigurationError when a setting is unknown or of the wrong type.
    """

    config_class: ClassVar[type[Config]] = Config
    celery_options: ClassVar[bool] = False
    """Options that nobody knows are ignored as in Celery, and priorities are Celery's numbers on Redis: 0 is the soonest, 9 the
    last."""

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | Sequence[str] | None = None,
        backend: str | None = None,
        include: Iterable[str] = (),
        set_as_current: bool = True,
        task_cls: type[BaseTask[..., Any]] | None = None,
        namespace: str | None = None,
        **settings: Any,
    ) -> None:
        self.main = main
        self._file = calling_file()
        self._embedded: str | None = None
        self._namespace = namespace
        self.task_cls: type[BaseTask[..., Any]] = task_cls or BaseTask
        given = {"broker_url": broker, "result_backend": backend, "include": list(include) or None}
        self.conf = self.config_class({**settings, **{k: v for k, v in given.items() if v is not None}})
        """The settings."""
        self.tasks = Tasks(self)
        """The tasks by name."""
        self.send_middleware: list[SendMiddleware] = []
        """What may change a call before it is sent; see ``before_send``."""
        self._discoveries: list[Callable[[], None]] = []
        self._connections = Connections(self)
        self.client = Client(self)
        integration.find()
        self.conf.load_framework(integration.settings)
        if set_as_current:
            self.set_default()

    # -- settings

    def config_from_object(
        self, source: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Read settings from a mapping, a module, a class or an object, or from the name of one: ``"proj.conf"``,
        ``"proj.conf:Celery"``, ``"django.conf:settings"``.

        With `namespace` ``"CELERY"`` only names with that prefix count (``CELERY_BROKER_URL``). A name is imported when a
        setting is first needed, or at once with `force`; with `silent` it need not be there. Keywords, the environment and
        assignments to ``app.conf`` win over it.
        """
        self.conf.load_object(source, namespace=namespace or self._namespace, silent=silent)
        if force:
            self.conf.check()

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> None:
        """``config_from_object`` with the name that the environment variable holds. Raises ConfigurationError if it is unset,
        unless `silent`."""
        name = os.environ.get(variable_name)
        if not name and silent:
            return
        if not name:
            raise ConfigurationError(
                f"The environment variable {variable_name} is not set; it must name a module with settings."
            )
        self.config_from_object(name, silent=silent, force=force)

    def add_defaults(self, source: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Add to the defaults of the settings; everything else wins over them. A function is asked when one is needed."""
        self.conf.add_defaults(source)

    @property
    def broker_url(self) -> str:
        """The broker's URL as it is used, the embedded default included. It may hold a password."""
        return self.conf.broker_url or self._embedded_url()

    def _embedded_url(self) -> str:
        framework = integration.active()
        if framework is not None and (url := framework.embedded_url()) is not None:
            return url
        if self._embedded is None:
            path = default_database_path(self._file)
            prepare_directory(path)
            self._embedded = f"sqlite:///{path}"
        return self._embedded

    @property
    def result_url(self) -> str | None:
        """The result store's URL as it is used; None: no results are kept. It may hold a password."""
        url: str | None = self.conf.result_backend
        if url is None and self.conf.broker_url is None:
            return self._embedded_url()
        return None if url is None or url.startswith("disabled") else url

    # -- tasks

    @overload
    def task(self, fun: Callable[P, R], /) -> BaseTask[P, R]: ...
    @overload
    def task(
        self, /, *, bind: Literal[True], name: str | None = ..., base: type[BaseTask[..., Any]] | None = ..., **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[Concatenate[Any, P], R]], BaseTask[P, R]]: ...  # fmt: skip
    @overload
    def task(
        self, /, *, bind: Literal[False] = ..., name: str | None = ..., base: type[BaseTask[..., Any]] | None = ..., **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[P, R]], BaseTask[P, R]]: ...  # fmt: skip
    def task(
        self,
        fun: Callable[..., Any] | None = None,
        /,
        *,
        bind: bool = False,
        name: str | None = None,
        base: type[BaseTask[..., Any]] | None = None,
        **options: Any,
    ) -> Any:
        """Make a task of a function: ``@app.task``, or ``@app.task(bind=True, max_retries=5)``.

        `bind`: the function's first parameter is the task itself. `name`: the one under which it is called, by
        default ``module.function``. `base`: its class. The other options are in ``umbel.options.TaskOptions``; those that
        `base` has as attributes are taken too. Raises TypeError for an option that nobody knows.
        """

        def register(function: Callable[..., Any]) -> BaseTask[..., Any]:
            return self._task_from(function, bind, name, base or self.task_cls, options)

        return register if fun is None else register(fun)

    def _task_from(
        self,
        fun: Callable[..., Any],
        bound: bool,
        name: str | None,
        base: type[BaseTask[..., Any]],
        options: dict[str, Any],
    ) -> BaseTask[..., Any]:
        plain_name = getattr(fun, "__name__", "") or type(fun).__name__
        name = name or self.gen_task_name(plain_name, fun.__module__)
        # What a base class adds may be given as an option; what every task has (delay, run …) may not.
        known = TASK_OPTIONS | {n for n in options if hasattr(base, n) and not hasattr(BaseTask, n)}
        if not self.celery_options:
            refuse_unknown(options, known | {"bind", "name", "base"}, f"The task {name!r}")
        attributes = {
            "run": fun if bound else staticmethod(fun),
            "__module__": fun.__module__,
            "__qualname__": getattr(fun, "__qualname__", plain_name),
            "__doc__": fun.__doc__,
            "__name__": plain_name,
            "__wrapped__": staticmethod(fun),
            "name": name,
            **options,
        }
        cls: type[BaseTask[..., Any]] = types.new_class(
            plain_name, (base,), exec_body=lambda body: body.update(attributes)
        )
        return self.register_task(cls())

    def register_task(self, task: BaseTask[..., Any]) -> BaseTask[..., Any]:
        """Register an instance of a Task class; a class without a name gets that of its module and itself."""
        if isinstance(task, type):
            task = task()
        if not task.name:
            task.name = self.gen_task_name(type(task).__name__, type(task).__module__)
        task.bind(self)
        self.tasks.add(task)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that is given none: ``module.function``, where the module of a script is the app's ``main``."""
        if module == "__main__":
            module = self.main or script_module()
        return f"{module}.{name}" if module else name

    @property
    def Task(self) -> type[BaseTask[..., Any]]:
        """The base class of this app's tasks."""
        return self.task_cls

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str = "tasks",
        force: bool = False,
    ) -> None:
        """Let workers import the module `related_name` of each of `packages`, where there is one.

        `packages` may be a function that names them. Without them the installed Django apps are meant. It is done in
        ``finalize()``, or at once with `force`.
        """

        def discover() -> None:
            framework = integration.active()
            names = packages
            if names is None and framework is not None:
                names = framework.packages
            if names is None:
                raise ConfigurationError(
                    "autodiscover_tasks() without packages looks at the installed Django apps, and there is no Django here. "
                    "Name the packages: app.autodiscover_tasks(['shop', 'mail'])."
                )
            for package in names() if callable(names) else names:
                import_related(package, related_name)

        if force:
            discover()
        else:
            self._discoveries.append(discover)

    def finalize(self) -> None:
        """Import all modules with tasks: ``include``, ``imports`` and what was to be discovered. Workers call it.

        With an integration the modules of tasks of the framework's packages are among them.
        """
        framework = integration.active()
        if framework is not None:
            framework.prepare()
            self.autodiscover_tasks()
        while self._discoveries:
            self._discoveries.pop(0)()
        for module in (*self.conf.include, *self.conf.imports):
            importlib.import_module(module)

    # -- sending

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Result[Any]:
        """Send a call by the name of its task, whose code need not be here. Options and errors: as ``Task.apply_async``.

        Its arguments are not checked, and options of the task do not apply, unless it is registered here.
        """
        return self.client.send_task(name, args or (), kwargs or {}, options)

    async def asend_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Result[Any]:
        """``send_task`` for coroutines."""
        return await self.client.asend_task(name, args or (), kwargs or {}, options)

    def send_many(self, signatures: Iterable[Signature]) -> list[Result[Any]]:
        """Send several calls in one round trip, all of them or none: ``app.send_many([add.s(1, 2), mail.s("x")])``."""
        prepared = [self.client.prepare_signature(signature) for signature in signatures]
        return self.client.send_prepared(prepared)

    async def asend_many(self, signatures: Iterable[Signature]) -> list[Result[Any]]:
        """``send_many`` for coroutines."""
        prepared = [self.client.prepare_signature(signature) for signature in signatures]
        return await self.client.asend_prepared(prepared)

    def before_send(self, function: SendMiddleware) -> SendMiddleware:
        """Decorator: `function` may change each call before it is sent; see ``umbel.middleware``."""
        self.send_middleware.append(function)
        return function

    # -- running in place

    def run_eagerly(
        self,
        task: BaseTask[..., Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        *,
        throw: bool | None = None,
        retries: int = 0,
        travelled: bool = False,
    ) -> EagerResult[Any]:
        """Behind ``Task.apply``, and ``delay`` under ``task_always_eager``.

        `travelled`: the arguments go through the serializer, so that what cannot be sent fails here too.
        """
        envelope = self.client.planner.envelope(
            task, args or (), kwargs or {}, options, retries=retries, travelled=travelled
        )
        return run_eagerly(task, envelope, throw=self.conf.task_eager_propagates if throw is None else throw)

    async def arun_eagerly(
        self,
        task: BaseTask[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> EagerResult[Any]:
        """``run_eagerly`` for coroutines."""
        envelope = self.client.planner.envelope(task, args, kwargs, options, travelled=True)
        return await arun_eagerly(task, envelope, throw=self.conf.task_eager_propagates)

    # -- results

    def AsyncResult(self, task_id: str) -> Result[Any]:
        """The result of a call by its id."""
        return Result(task_id, app=self)

    def results(self, results: Iterable[Result[Any] | str]) -> ResultSet:
        """Several results, by id or as they are, to be waited for together."""
        return ResultSet(results, self)

    def ResultSet(self, results: Iterable[Result[Any] | str]) -> ResultSet:
        """Celery's word for ``results``."""
        return ResultSet(results, self)

    @cached_property
    def GroupResult(self) -> type[GroupResult]:
        """The class of the results of this app's groups: ``app.GroupResult.restore(id)`` finds one that was saved."""
        return GroupResult.of_app(self)

    @cached_property
    def control(self) -> Control:
        """Remote control of the workers."""
        return Control(self)

    @cached_property
    def events(self) -> Events:
        """The events of the workers."""
        return Events(self)

    def result_from_tuple(self, form: Any) -> Any:
        """The result of which ``as_tuple()`` has made `form`."""
        return result_from_tuple(form, self)

    def store_state(
        self, task: BaseTask[..., Any], request: Request, task_id: str, state: str | None, meta: Any
    ) -> None:
        """Behind ``Task.update_state``."""
        if request.reporter is not None:
            request.reporter(state or "", meta, None if task_id == request.id else task_id)
        elif self.has_store and not request.is_eager:
            self.store_meta(ResultMeta(task_id=task_id, status=state or "", result=meta, name=task.name))

    def store_meta(self, meta: ResultMeta) -> None:
        """Write one record. Raises NoResultStore when the app keeps no results."""
        conf = self.conf
        ttl = conf.result_expires
        if meta.status == FAILURE and conf.result_failure_expires is not None:
            ttl = conf.result_failure_expires
        payload = encode_result(meta, conf.result_serializer, conf.result_compression)
        record = Record(task_id=meta.task_id, state=meta.status, payload=payload, ttl=ttl)
        portal.run(records.put(self, record))

    # -- broker and store

    @property
    def broker(self) -> Broker:
        """The broker, not necessarily connected yet. Raises ConfigurationError when the URL names none."""
        return self._connections.broker()

    @property
    def store(self) -> ResultStore:
        """The result store. Raises NoResultStore when there is none."""
        store = self._connections.store()
        if store is None:
            raise NoResultStore(
                "This app keeps no results: the setting result_backend is not set. Add it, for example "
                f"app.conf.result_backend = {mask_url(self.broker_url)!r}, or UMBEL_RESULT_BACKEND in the environment, "
                "for this program and for the workers."
            )
        return store

    def new_broker(self) -> Broker:
        """A broker by these settings for somebody else than this app's own calls, such as a worker, who closes it."""
        return open_broker(self.broker_url, broker_options(self))

    def new_store(self) -> ResultStore | None:
        """A result store, in the same way; None when no results are kept."""
        url = self.result_url
        return None if url is None else open_store(url, store_options(self))

    @property
    def has_store(self) -> bool:
        """Whether results are kept."""
        return self.result_url is not None

    def close(self) -> None:
        """Let go of all connections. The app opens new ones when it is used again."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def worker_notices(self) -> list[str]:
        """What a worker says when it starts about settings that may surprise."""
        return []

    # -- being current

    def set_default(self) -> None:
        """Make it what ``current_app`` means in every thread that has no app of its own."""
        context.state.default = self

    def set_current(self) -> None:
        """Make it what ``current_app`` means in this thread or coroutine."""
        context.state.local.set(self)

    @property
    def current_task(self) -> BaseTask[..., Any] | None:
        """The task that runs in this thread or coroutine."""
        return context.get_current_task()

    def now(self) -> datetime:
        """The time, aware, in the time zone of the settings."""
        return datetime.now(ZoneInfo(self.conf.timezone) if self.conf.timezone else UTC)

    @property
    def queues(self) -> dict[str, Queue]:
        """The queues of the settings by name: what a worker without ``-Q`` consumes."""
        return self.client.planner.router().queues

    def __repr__(self) -> str:
        return f"<Umbel {self.main or '__main__'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return context.get_current_app, ()
