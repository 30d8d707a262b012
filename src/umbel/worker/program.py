"""``umbel worker`` from the inside: an app and its options become a plan for the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from umbel import integration, signals
from umbel.errors import BrokerUnavailable, ConfigurationError
from umbel.ports import Broker, ResultStore
from umbel.routing import consumed_queues
from umbel.worker import limits, link
from umbel.worker.banner import render_banner
from umbel.worker.child import serve
from umbel.worker.control import Commands
from umbel.worker.crew import Child
from umbel.worker.eventloop import loop_factory
from umbel.worker.hearing import Hearing
from umbel.worker.heartbeat import beat
from umbel.worker.ipc import ChildEnd
from umbel.worker.journal import Journal
from umbel.worker.logs import LogSettings, ProcessName, redirect_prints, set_up
from umbel.worker.node import Node
from umbel.worker.options import WorkerOptions, expand_name
from umbel.worker.probes import Probes, listen
from umbel.worker.runner import Runner
from umbel.worker.settings import NodeSettings
from umbel.worker.supervisor import GIVE_UP, STUCK, Plan, Supervisor
from umbel.worker.verdict import Judge, rates_of
from umbel.worker.watchdog import FetchStuck

if TYPE_CHECKING:
    from umbel.app import Umbel

logger = logging.getLogger("umbel.worker")

_MISSED = frozenset({"beat_schedule", "task_annotations", "task_default_rate_limit", "worker_autoscaler"})
"""Settings that change what a program does, and that Umbel recognises without acting on them."""
_CELERYS = frozenset({"beat_schedule", "task_annotations", "task_default_rate_limit"})
"""Those of them that a program for Celery has obeyed."""
_ONE_PROCESS = frozenset({"threads", "asyncio"})
_DEFAULT_SLOTS = {"threads": 10, "asyncio": 100}


def run_worker(app: Umbel, options: WorkerOptions) -> int:
    """Run a worker of `app` in this process until it is told to stop. Returns the exit code.

    Call it in a process with no other threads: it forks. Raises ConfigurationError for options that contradict
    one another or the broker.
    """
    program = Program(app, options)
    program.prepare()
    code = Supervisor(program.plan()).run()
    signals.worker_shutdown.send(program)
    return code


class Program:
    """One worker's options, resolved against the app's settings."""

    def __init__(self, app: Umbel, options: WorkerOptions) -> None:
        self.app = app
        self.options = options
        self.name = expand_name(options.name)
        self._process: ProcessName | None = None

    def prepare(self) -> None:
        """Resolve and check everything, set up logging, import the tasks, show the banner."""
        app, options = self.app, self.options
        signals.celeryd_init.send(self.name, instance=self, conf=app.conf, options=options)
        self._apply_limits()
        self.pool = self._pool()
        self.children, self.slots = self._shape()
        conf = app.conf
        self._process = self._set_up_logging()
        signals.worker_init.send(self)
        for module in [*conf.imports, *conf.include]:
            importlib.import_module(module)
        app.finalize()
        self.queues = self._queues()
        self._check_broker()
        self.probes = self._listen_for_probes()
        # Celery's limits, which hold for each worker by itself, are for programs that were written for them.
        limited = app.celery_options and not conf.worker_disable_rate_limits
        self.rates = rates_of(app) if limited else None
        self._warn_of_what_has_no_effect()
        for notice in app.worker_notices():
            logger.warning("%s", notice)
        if options.purge:
            # Opened and closed again before anything is forked.
            logger.warning("Purged %d messages.", asyncio.run(self._purge()))
        signals.celeryd_after_setup.send(self.name, instance=self, conf=conf)
        if options.banner:
            sys.stderr.write(render_banner(self) + "\n")
            sys.stderr.flush()
        if (framework := integration.active()) is not None:
            framework.before_fork()

    def _set_up_logging(self) -> ProcessName | None:
        conf, options = self.app.conf, self.options
        told = {
            "loglevel": logging.getLevelName(options.loglevel.upper()),
            "logfile": options.logfile,
            "format": conf.worker_log_format,
            "colorize": conf.worker_log_color,
        }
        if signals.setup_logging.receivers:
            # The program sets up its own logging, all of it.
            signals.setup_logging.send(None, **told)
            return None
        as_json = options.log_format == "json" or conf.worker_log_format == "json"
        process = set_up(
            LogSettings(
                level=options.loglevel.upper(),
                file=options.logfile,
                json=as_json,
                format=conf.worker_log_format,
                task_format=conf.worker_task_log_format,
                datefmt=conf.worker_log_datefmt,
                colour=conf.worker_log_color,
                hijack_root=conf.worker_hijack_root_logger,
            )
        )
        signals.after_setup_logger.send(None, logger=logging.getLogger(), **told)
        told["format"] = conf.worker_task_log_format
        signals.after_setup_task_logger.send(None, logger=logging.getLogger("umbel.task"), **told)
        return process

    def plan(self) -> Plan:
        """What the supervisor runs."""
        return Plan(
            children=self.children,
            slots=self.slots,
            in_place=self.pool == "solo",
            run_node=self._run_node,
            run_child=self._run_child,
            probes=self.probes,
            limits=self.options.limits,
            on_fork=lambda: signals.worker_before_create_process.send(self),
            on_ready=lambda: signals.worker_ready.send(self),
            on_stop=lambda how, sig: signals.worker_shutting_down.send(
                self.name, sig=sig, how=how.capitalize(), exitcode=0
            ),
            changed=_SourceWatch().changed if self.options.autoreload else None,
        )

    # -- options ---------------------------------------------------------------------------------------

    def _warn_of_what_has_no_effect(self) -> None:
        limited = sorted(name for name, task in self.app.tasks.items() if task.rate_limit is not None)
        if limited and not self.app.celery_options:
            logger.warning(
                "rate_limit has no effect in this version: these tasks run as fast as they come: %s.",
                ", ".join(limited),
            )
        missed = _MISSED - _CELERYS if self.app.celery_options else _MISSED
        names = sorted(missed.intersection(self.app.conf.inert()))
        if names:
            logger.warning("These settings have no effect in this version: %s.", ", ".join(names))

    def _listen_for_probes(self) -> Probes | None:
        address = self.options.health or self.app.conf.worker_health_address
        if not address:
            return None
        if self.pool == "solo":
            why = "the pool solo has no process that could answer health checks while a task runs"
            if self.options.health:
                raise ConfigurationError(f"--health {address}: {why}. Use another pool (-P prefork -c 1).")
            logger.warning("worker_health_address has no effect: %s.", why)
            return None
        probes = Probes(listen(str(address)))
        logger.info("Health: %s/live and /ready.", probes.url)
        return probes

    def _apply_limits(self) -> None:
        options, conf = self.options, self.app.conf
        if options.time_limit is not None:
            conf.task_time_limit = options.time_limit
        if options.soft_time_limit is not None:
            conf.task_soft_time_limit = options.soft_time_limit
        if options.max_tasks_per_child is not None:
            conf.worker_max_tasks_per_child = options.max_tasks_per_child
        if options.max_memory_per_child is not None:
            conf.worker_max_memory_per_child = options.max_memory_per_child

    def _pool(self) -> str:
        pool = self.options.pool or self.app.conf.worker_pool
        pool = "prefork" if pool == "processes" else pool
        if pool not in ("prefork", "threads", "asyncio", "solo"):
            raise ConfigurationError(
                f"There is no pool {pool!r} in this version. Use prefork, threads, asyncio or solo (-P)."
            )
        return str(pool)

    def _shape(self) -> tuple[int, int]:
        wanted = self.options.concurrency or self.app.conf.worker_concurrency
        if wanted in (None, "auto", 0):
            wanted = _DEFAULT_SLOTS.get(self.pool, os.cpu_count() or 1)
        if not isinstance(wanted, int) or wanted < 1:
            raise ConfigurationError(f"worker_concurrency must be a number from 1, not {wanted!r}.")
        if self.pool == "solo":
            return 1, 1
        return (1, wanted) if self.pool in _ONE_PROCESS else (wanted, 1)

    def _queues(self) -> tuple[str, ...]:
        names = self.options.queues or consumed_queues(self.app.conf)
        kept = tuple(name for name in dict.fromkeys(names) if name not in self.options.exclude_queues)
        if not kept:
            raise ConfigurationError(
                "No queue is left to consume: -X excludes all of "
                + ", ".join(names)
                + ". Name others with -Q."
            )
        return kept

    def _check_broker(self) -> None:
        broker = self.app.new_broker()
        if not broker.caps.processes:
            raise ConfigurationError(
                f"{broker.url} lives inside one process, and a worker is several. Use sqlite:/// or redis://, or "
                "umbel.testing.start_worker(app) in tests."
            )

    async def _purge(self) -> int:
        broker = self.app.new_broker()
        await broker.open()
        try:
            return await broker.purge(self.queues)
        finally:
            await broker.close()

    # -- processes -------------------------------------------------------------------------------------

    def _run_node(self, sock: socket.socket, node_id: str, predecessors: tuple[str, ...]) -> int:
        self._rename("node")
        conf = self.app.conf
        settings = NodeSettings(
            name=self.name,
            id=node_id,
            predecessors=predecessors,
            queues=self.queues,
            pool=self.pool,
            children=self.children,
            slots=self.slots,
            lease=conf.worker_lease,
            grace=conf.worker_shutdown_timeout,
            max_tasks_per_child=conf.worker_max_tasks_per_child,
            max_memory_per_child=conf.worker_max_memory_per_child,
            dead_letter_expires=conf.dead_letter_expires,
            dead_letter_limit=conf.dead_letter_limit,
            connect_attempts=_attempts(conf),
            send_events=self.options.task_events or conf.worker_send_task_events,
            event_exchange=conf.event_exchange,
            rates=self.rates,
            limits=self.options.limits,
        )
        judge = Judge(self.app, self.name)
        broker = self.app.new_broker()
        framework = integration.active()
        services = [] if framework is None else list(framework.services(self.app, broker))
        services += self.app.worker_services(self.name, self.options.user_options)
        main = _node_main(settings, broker, self.app.new_store(), judge, sock, services)
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(main)
        except (BrokerUnavailable, ConfigurationError) as exc:
            logger.critical("%s Giving up.", exc)
            return GIVE_UP
        except FetchStuck as exc:
            logger.critical("%s", exc)
            return STUCK
        return 0

    def _run_child(self, end: ChildEnd, index: int) -> None:
        self._rename(f"child-{index + 1}" if self.pool != "solo" else "solo")
        conf = self.app.conf
        if conf.worker_redirect_stdouts and self.pool != "solo":  # a debugger needs the terminal
            redirect_prints(conf.worker_redirect_stdouts_level)
        soft_limit = limits.ThreadLimits() if self.pool in _ONE_PROCESS else limits.by_signal
        runner = Runner(
            self.app,
            hostname=self.name,
            report=end.interject,
            soft_limit=soft_limit,
            describe=logging.getLogger("umbel.worker.tasks").isEnabledFor(logging.INFO),
        )
        end.cancelled = runner.cancel
        signals.worker_process_init.send(None)
        try:
            self.app.run_child(lambda: serve(end, runner, self.pool, self.slots, os.getpid()))
        finally:
            signals.worker_process_shutdown.send(None, pid=os.getpid(), exitcode=0)

    def _rename(self, name: str) -> None:
        if self._process is not None:
            self._process.name_shown = name


async def _node_main(
    settings: NodeSettings,
    broker: Broker,
    store: ResultStore | None,
    judge: Judge,
    sock: socket.socket,
    services: Sequence[Callable[[], Coroutine[Any, Any, None]]],
) -> None:
    node = Node(settings, broker, store, judge, Journal())
    node.on_ready = lambda: logger.info("%s ready.", settings.name)
    node.shut_down = _end_of_the_worker(os.getppid())
    node.tell_size = lambda size: _tell(sock, link.Resize(size))
    equip(node, judge.app)
    loop = asyncio.get_running_loop()

    def readable() -> None:
        while True:
            try:
                message, fds = link.receive(sock)
            except BlockingIOError:
                return
            if message is None:
                # The supervisor is gone: nobody would replace what dies, so give everything back and go too.
                loop.remove_reader(sock)
                node.stop(cold=True)
                return
            if isinstance(message, link.NewChild):
                ends = (socket.socket(fileno=fds[0]), fds[1], fds[2])
                ends[0].setblocking(False)
                child = Child(message.index, message.pid, message.slots, ends)
                task = loop.create_task(node.attach(child))
                attaching.add(task)
                task.add_done_callback(attaching.discard)
            elif isinstance(message, link.ChildDied):
                node.child_died(message.pid, message.how)
            elif isinstance(message, link.Stop):
                node.stop(cold=message.mode == "cold")

    def kill(child: Child) -> None:
        # Told first, so that the supervisor looks for no other cause. One that does not read is not waited for.
        _tell(sock, link.Killing(child.pid))
        child.kill()

    node.kill = kill
    attaching: set[asyncio.Task[None]] = set()
    loop.add_reader(sock, readable)
    # With the pool solo nobody listens: the supervisor runs tasks.
    beating = None if settings.pool == "solo" else loop.create_task(beat(sock, node), name="beat")
    serving = [loop.create_task(_serve(service)) for service in services]
    try:
        await node.run()
    finally:
        for task in serving if beating is None else (*serving, beating):
            task.cancel()


def _tell(sock: socket.socket, message: link.Message) -> None:
    with contextlib.suppress(OSError):
        link.send(sock, message)


def equip(node: Node, app: Umbel) -> None:
    """Let remote control and the program's own functions reach the node."""
    conf = app.conf
    node.commands = Commands(node, f"{conf.control_exchange}.pidbox", conf.shown)
    node.commands.state.app = app
    hearing = Hearing(app, node.settings.name, node.commands.state)
    if hearing.on:
        node.journal.hearing = hearing
    if signals.heartbeat_sent.receivers:
        node.events.on_heartbeat = hearing.beaten


def _end_of_the_worker(supervisor: int) -> Callable[[], None]:
    """Ends the worker by way of its supervisor, which would start another node in the place of one that ends by itself."""

    def shut_down() -> None:
        # If it has died, this node is about to notice, and its parent is a stranger.
        if os.getppid() == supervisor:
            os.kill(supervisor, signal.SIGTERM)

    return shut_down


_PAUSE_OF_SERVICE = 5.0
"""Seconds until a service that has failed is started again."""


async def _serve(service: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Keep a service of the framework going: a fault of it must not end the node."""
    while True:
        try:
            return await service()
        except Exception:
            logger.exception(
                "A service of the framework failed. It is started again in %g s.", _PAUSE_OF_SERVICE
            )
        await asyncio.sleep(_PAUSE_OF_SERVICE)


def _attempts(conf: Any) -> int | None:
    """How often to try to connect at the start; None: for ever."""
    if conf.broker_connection_retry_on_startup is False:
        return 1
    return conf.broker_connection_max_retries or None


class _SourceWatch:
    """Which of the imported source files has changed."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._last = 0.0
        self.changed()

    def changed(self) -> str | None:
        """A file that is newer than when it was first seen; None: none is."""
        if time.monotonic() - self._last < 0.5:
            return None
        self._last = time.monotonic()
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if not path or not path.endswith(".py"):
                continue
            try:
                stamp = os.stat(path).st_mtime
            except OSError:
                continue
            if self._seen.setdefault(path, stamp) != stamp:
                self._seen[path] = stamp
                if _compiles(path):
                    return str(path)
        return None


def _compiles(path: str) -> bool:
    """Whether it is worth starting anew: a file with a syntax error is waited for until it is saved again."""
    try:
        with open(path, "rb") as file:
            compile(file.read(), path, "exec")
    except (OSError, SyntaxError, ValueError) as exc:
        logger.error("Not starting anew: %s cannot be imported: %s", path, exc)
        return False
    return True
