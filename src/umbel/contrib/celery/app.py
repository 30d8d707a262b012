"""``celery.Celery``: an Umbel app with Celery's defaults, arguments and names."""

from __future__ import annotations

import importlib
import os
import platform
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, tzinfo
from functools import partial
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from umbel import context
from umbel._version import __version__
from umbel.app import Umbel
from umbel.cli.base import Globals, main
from umbel.config import Config
from umbel.connections import broker_options
from umbel.contrib.celery.adopted import AdoptedStore, backend_class
from umbel.contrib.celery.amqp import Amqp
from umbel.contrib.celery.backend import Backend
from umbel.contrib.celery.backends import BaseBackend
from umbel.contrib.celery.beat import Service, scheduler_named
from umbel.contrib.celery.bootsteps import Steps
from umbel.contrib.celery.config import CeleryConfig
from umbel.contrib.celery.connection import Connection
from umbel.contrib.celery.logs import Logging
from umbel.contrib.celery.models import with_models
from umbel.contrib.celery.pools import connections
from umbel.contrib.celery.resources import fallback
from umbel.contrib.celery.task import CeleryTask
from umbel.contrib.celery.tracing import Worker, run_traced, tracer_of
from umbel.errors import CapabilityError
from umbel.ports import ResultStore
from umbel.signals import Signal, import_modules
from umbel.task import Task

__all__ = ["Celery", "make_default"]

_EARLY = (
    "Messages are acknowledged before their tasks run, as Celery does: a crash loses what was running. For at-least-once set "
    "task_acks_late = True; to keep this and hear no more of it, set it to False."
)


_REFUSED = {
    "Worker": "Use app.worker_main(['worker', ...]), or the fixtures of celery.contrib.testing in tests.",
    "WorkController": "Use app.worker_main(['worker', ...]), or the fixtures of celery.contrib.testing in tests.",
    "Beat": "Use app.start(['beat', ...]).",
}
"""What Celery's apps have and these have not, with what to use instead."""


class Celery(Umbel):
    """``Celery("proj", broker="redis://", backend="redis://", include=["proj.tasks"])``.

    An Umbel app whose settings, arguments and priorities mean what they mean in Celery. `changes` are settings; `config_source` is
    read as by ``config_from_object``. Classes for parts of Celery (`amqp`, `events`, `loader` …) are accepted and not used.
    """

    config_class: ClassVar[type[Config]] = CeleryConfig
    celery_options: ClassVar[bool] = True
    task_cls: Any

    def __init__(self, main: str | None = None, *unused: Any, **arguments: Any) -> None:
        settings = dict(arguments.pop("changes", None) or {})
        for name in ("broker", "backend", "include", "namespace", "set_as_current"):
            if arguments.get(name) is not None:
                settings[name] = arguments[name]
        self._backend: tuple[Any, Backend] | None = None
        if not isinstance(settings.get("backend"), str | None):
            self._backend = (None, settings.pop("backend"))
        if isinstance(settings.get("include"), str):
            settings["include"] = [settings["include"]]
        super().__init__(main, task_cls=_class_of(arguments.get("task_cls")), **settings)
        self.on_configure = Signal("app.on_configure")
        self.on_after_configure = Signal("app.on_after_configure", ("source",))
        """When the tasks are about to be imported: the place for ``sender.add_periodic_task(...)``."""
        self.on_after_finalize = Signal("app.on_after_finalize")
        self.on_after_fork = Signal("app.on_after_fork")
        self.steps: dict[str, set[Any]] = defaultdict(set)
        self.user_options: dict[str, set[Any]] = defaultdict(set)
        self.finalized = False
        self.amqp = Amqp(self)
        self.loader = Loader(self)
        self.log = Logging(self)
        if arguments.get("config_source") is not None:
            self.config_from_object(arguments["config_source"])

    # -- settings

    def config_from_cmdline(self, argv: Iterable[str], namespace: str = "celery") -> None:
        """Settings as ``name=value``, such as ``["task.time_limit=30", "worker_concurrency=2"]``."""
        for text in argv:
            name, _, value = text.partition("=")
            self.conf[name.replace(".", "_")] = value

    @property
    def timezone(self) -> tzinfo:
        """The time zone of the settings."""
        return ZoneInfo(self.conf.timezone) if self.conf.timezone else UTC

    def uses_utc_timezone(self) -> bool:
        """Whether that is UTC."""
        return self.timezone == UTC or self.conf.timezone == "UTC"

    # -- tasks

    def task(self, *args: Any, **options: Any) -> Any:
        """``@app.task``: see ``Umbel.task``. Options that Umbel does not know become attributes of the task."""
        if options.pop("pydantic", False):
            options.update(
                run_with_models=(options.pop("pydantic_strict", None), options.pop("pydantic_context", None))
            )
        for name in (
            "shared",
            "lazy",
            "filter",
            "pydantic_strict",
            "pydantic_context",
            "pydantic_dump_kwargs",
        ):
            options.pop(name, None)
        return super().task(*args, **options)

    def _task_from(
        self, fun: Any, bound: bool, name: Any, base: Any, options: dict[str, Any]
    ) -> Task[..., Any]:
        models = options.pop("run_with_models", None)
        if models is not None:
            fun = with_models(fun, bound, *models)
        return self._annotated(super()._task_from(fun, bound, name, base, options))

    def _annotated(self, task: Task[..., Any]) -> Task[..., Any]:
        """`task` with the attributes that the setting task_annotations gives it."""
        given = self.conf.task_annotations or ()
        for table in given if isinstance(given, list | tuple) else (given,):
            if isinstance(table, Mapping):
                for key in ("*", task.name):
                    for name, value in (table.get(key) or {}).items():
                        setattr(task, name.removeprefix("@"), value)
        return task

    def create_task_cls(self) -> type[Task[..., Any]]:
        """The base class of this app's tasks."""
        return self.Task

    def finalize(self, auto: bool = False) -> None:
        """Import all modules with tasks, and tell ``on_after_configure`` and ``on_after_finalize``."""
        first, self.finalized = not self.finalized, True
        if first:
            import_modules.send(self)
            self.on_configure.send(self)
            self.on_after_configure.send(self, source=self.conf)
        super().finalize()
        if first:
            self.on_after_finalize.send(self)

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Any = (),
        kwargs: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Add an entry to the setting beat_schedule. Returns its name."""
        sig = sig.clone(args, kwargs or {})
        name = name or repr(sig)
        entry = {"task": sig.task, "schedule": schedule, "args": sig.args, "kwargs": sig.kwargs}
        entry["options"] = {**sig.options, **options}
        self.conf.beat_schedule = {**(self.conf.beat_schedule or {}), name: entry}
        return name

    def around_run(self, task: Task[..., Any]) -> Callable[..., Any] | None:
        """What other packages have put around its runs."""
        tracer = tracer_of(task)
        return None if tracer is None else partial(run_traced, tracer)

    def run_child(self, serve: Callable[[], None]) -> None:
        """Inside of what other packages have put around the loop of a process."""
        module = sys.modules.get("billiard.pool")
        getattr(module, "Worker", Worker)().workloop(serve)

    def run_beat(self, scheduler: str | None = None, **options: Any) -> None:
        """Send what is due, until the process is told to stop. `scheduler` is the name or the path of a class."""
        self.finalize()
        service = Service(
            self, scheduler_cls=scheduler_named(scheduler or self.conf.beat_scheduler), **options
        )
        previous = signal.signal(signal.SIGTERM, lambda *_: service.stop())
        try:
            service.start()
        finally:
            signal.signal(signal.SIGTERM, previous)

    # -- connections

    def connection_for_write(self, url: str | None = None, **options: Any) -> Connection:
        """The way to the broker as an object: kombu's Connection, with the settings of this app."""
        if url is None:
            options["transport_options"] = {
                **broker_options(self),
                **(options.get("transport_options") or {}),
            }
        for unused in ("heartbeat", "login_method", "failover_strategy"):
            options.pop(unused, None)
        return Connection(url or self.broker_url, **options)

    connection_for_read = connection_for_write
    connection = connection_for_write

    @property
    def pool(self) -> Any:
        """Connections to the broker, at most broker_pool_limit at a time."""
        pool = connections[self.connection_for_write()]
        pool.resize(self.conf.broker_pool_limit)
        return pool

    @property
    def producer_pool(self) -> Any:
        """Producers of such connections."""
        return self.amqp.producer_pool

    def connection_or_acquire(self, connection: Any = None, pool: bool = True, **options: Any) -> Any:
        """``with app.connection_or_acquire(connection) as connection``: the one that is given, or one of the pool."""
        return fallback(
            connection,
            lambda: self.pool.acquire(block=True) if pool else self.connection_for_write(**options),
        )

    def producer_or_acquire(self, producer: Any = None) -> Any:
        """``with app.producer_or_acquire(producer) as producer``: the one that is given, or one of the pool."""
        return fallback(producer, lambda: self.producer_pool.acquire(block=True))

    default_connection = connection_or_acquire
    default_producer = producer_or_acquire

    # -- results

    @property
    def backend(self) -> Backend:
        """The result backend: that of the settings, or an object with the words of one around Umbel's store."""
        named = self.conf.result_backend
        if self._backend is None or self._backend[0] != named:
            found = backend_class(named) if named else None
            self._backend = (named, Backend(self) if found is None else found(self, url=named))
        elif isinstance(self._backend[1], type):
            self._backend = (named, self._backend[1](self))
        return self._backend[1]

    @property
    def has_store(self) -> bool:
        """Whether results are kept."""
        return isinstance(self.backend, BaseBackend) or super().has_store

    def new_store(self) -> ResultStore | None:
        """A result store; around a backend of Celery's, where the settings name one."""
        backend = self.backend
        return AdoptedStore(self, backend) if isinstance(backend, BaseBackend) else super().new_store()

    # -- running

    def start(self, argv: Sequence[str] | None = None) -> None:
        """Run the command line: ``app.start(["worker", "-l", "info"])``."""
        state = Globals()
        state.given = self
        main.main(args=list(sys.argv[1:] if argv is None else argv), obj=state, standalone_mode=False)

    def worker_main(self, argv: Sequence[str] | None = None) -> None:
        """``start()`` for a worker: ``app.worker_main(["worker", "-c", "2"])``."""
        argv = list(sys.argv[1:] if argv is None else argv)
        if "worker" not in argv:
            raise ValueError(
                "The worker sub-command must be specified in argv: app.worker_main(['worker', ...])."
            )
        self.start(argv)

    def worker_notices(self) -> list[str]:
        """Early acknowledgement, unless it was asked for."""
        return [_EARLY] if self.conf.source("task_acks_late") == "defaults" else []

    def worker_services(self, hostname: str, options: dict[str, Any]) -> list[Any]:
        """Its boot steps, where it has any."""
        return [Steps(self, hostname, options).run] if any(self.steps.values()) else []

    def __getattr__(self, name: str) -> Any:
        if name in _REFUSED:
            raise CapabilityError(f"app.{name} is not there under Umbel. {_REFUSED[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # -- odds and ends

    def set_current(self) -> None:
        """Make it what ``current_app`` means in this thread."""
        context.state.local.set(self)

    @property
    def current_worker_task(self) -> Task[..., Any] | None:
        """The task that runs here."""
        return self.current_task

    @property
    def oid(self) -> str:
        """An id of this app in this process."""
        return f"{os.getpid()}-{id(self):x}"

    def either(self, default_key: str, *defaults: Any) -> Any:
        """The first of `defaults` that is not None, else the setting `default_key`."""
        return next((value for value in defaults if value is not None), self.conf.get(default_key))

    def select_queues(self, queues: Iterable[str] | None = None) -> None:
        """Consume only these queues."""
        self.amqp.queues.select(queues)

    def bugreport(self) -> str:
        """What to write into a bug report."""
        where = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        return f"umbel:{__version__} (as celery) {where}\n{self.conf.humanize()}"


class Loader:
    """``app.loader``, for programs that have the tasks imported themselves."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def import_default_modules(self) -> None:
        """Import all modules with tasks."""
        self._app.finalize()

    def import_task_module(self, module: str) -> Any:
        """Import one."""
        return importlib.import_module(module)

    import_module = import_from_cwd = import_task_module


def make_default() -> Celery:
    """The app of a program that has none."""
    return Celery("default", set_as_current=False)


def _class_of(given: Any) -> Any:
    if isinstance(given, str):
        module, _, name = given.replace(":", ".").rpartition(".")
        given = getattr(importlib.import_module(module), name)
    return given or CeleryTask
