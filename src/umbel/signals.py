"""Signals: functions of the program that are called when something happens.

::

    from umbel.signals import task_failure

    @task_failure.connect
    def tell(sender, task_id, exception, **details):
        print(sender.name, task_id, exception)

Names, senders and arguments are Celery's. A receiver takes keyword arguments and ``**kwargs``, for those to come. What it raises
is logged, and changes nothing. A signal that nobody listens to costs nothing.

Those about a run are called in the child that runs it; those about what a worker receives in a thread of its node; those about the
worker in the supervisor. Receivers of the last must return at once, or the supervisor cannot replace what dies.
"""

from __future__ import annotations

import inspect
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from umbel.context import Proxy

__all__ = ["Signal"]

logger = logging.getLogger("umbel.signals")

Receiver = Callable[..., Any]
_Key = tuple[Any, Any]


class Signal:
    """Something that happens, and the functions that are called when it does."""

    def __init__(self, name: str = "", providing_args: Any = ()) -> None:
        """`providing_args`: the names that receivers are told, beside ``signal`` and ``sender``."""
        self.name = name
        self.providing_args = frozenset(providing_args)
        self.receivers: list[tuple[_Key, Any]] = []
        """Who listens; empty: nobody, and nothing needs to be prepared for ``send``."""
        self._lock = threading.Lock()

    def connect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Any:
        """Call `receiver` at each ``send``, or only at those of `sender`. As a decorator, with or without arguments.

        `weak`: it is forgotten when nothing else refers to it. `dispatch_uid` names it: connected again under the same
        name, it is called once. `retry`: when it raises it is called again, up to three times.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid, retry)
        if not callable(receiver):
            raise TypeError(f"A receiver of {self!r} must be callable, not {receiver!r}.")
        kept: Any = receiver
        called: Any = _Again(receiver) if retry else receiver
        if weak and not retry:
            kept = weakref.WeakMethod(receiver) if inspect.ismethod(receiver) else _weak(receiver)
            called = kept
        key = (_identity(receiver) if dispatch_uid is None else dispatch_uid, _identity(sender))
        with self._lock:
            if all(known != key for known, _ in self.receivers):
                # A new list: a send that is going on keeps the one that it began with.
                self.receivers = [*self.receivers, (key, called)]
        return receiver

    def disconnect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool | None = None,
        dispatch_uid: Any = None,
    ) -> bool:
        """Do not call it any more. Returns whether it was connected."""
        key = (_identity(receiver) if dispatch_uid is None else dispatch_uid, _identity(sender))
        with self._lock:
            before = self.receivers
            self.receivers = [entry for entry in before if entry[0] != key]
            return len(self.receivers) != len(before)

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether anybody would be called."""
        return bool(self._for(sender))

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call those who listen. Returns each with what it returned, or with the exception that it raised."""
        responses: list[tuple[Receiver, Any]] = []
        for receiver in self._for(sender) if self.receivers else ():
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as exc:
                logger.exception("The receiver %r of the signal %s raised", receiver, self.name)
                response = exc
            responses.append((receiver, response))
        return responses

    send_robust = send

    def _for(self, sender: Any) -> list[Receiver]:
        wanted, found = _identity(sender), []
        for (_, of), kept in self.receivers:
            if of is None or of == wanted:
                receiver = kept() if isinstance(kept, weakref.ReferenceType) else kept
                if receiver is not None:
                    found.append(receiver)
        return found

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={sorted(self.providing_args)}>"


class _Again:
    """A receiver that is called again when it raises."""

    _ATTEMPTS = 3

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __call__(self, **named: Any) -> Any:
        for _ in range(self._ATTEMPTS - 1):
            try:
                return self._receiver(**named)
            except Exception as exc:  # noqa: BLE001 - the last attempt raises
                logger.info("The receiver %r raised %r; it is called again.", self._receiver, exc)
        return self._receiver(**named)


def _weak(receiver: Receiver) -> Any:
    try:
        return weakref.ref(receiver)
    except TypeError:  # functions of C and the like
        return receiver


def _identity(thing: Any) -> Any:
    """What tells senders and receivers apart: names by their text, everything else by being the same object."""
    if isinstance(thing, str | bytes | None):
        return thing
    if type(thing) is Proxy:
        thing = thing._get_current_object()
    if inspect.ismethod(thing):
        return id(thing.__self__), id(thing.__func__)
    return id(thing)


_PUBLISHED = ("body", "exchange", "routing_key", "headers", "properties")

before_task_publish = Signal("before_task_publish", (*_PUBLISHED, "declare", "retry_policy"))
"""In the process that sends, before a message is stored. The sender is the name of the task; headers may be changed in place."""
after_task_publish = Signal("after_task_publish", _PUBLISHED)
task_prerun = Signal("task_prerun", ("task_id", "task", "args", "kwargs"))
task_postrun = Signal("task_postrun", ("task_id", "task", "args", "kwargs", "retval", "state"))
task_success = Signal("task_success", ("result",))
task_failure = Signal("task_failure", ("task_id", "exception", "args", "kwargs", "traceback", "einfo"))
task_retry = Signal("task_retry", ("request", "reason", "einfo"))

task_internal_error = Signal(
    "task_internal_error", ("task_id", "args", "kwargs", "request", "exception", "traceback", "einfo")
)
"""A run went wrong outside of its task."""
task_received = Signal("task_received", ("request",))
"""This and the next three: in the node of a worker, in a thread of their own. The request is a ``umbel.worker.request.Request``."""
task_revoked = Signal("task_revoked", ("request", "terminated", "signum", "expired"))
task_rejected = Signal("task_rejected", ("message", "exc"))
task_unknown = Signal("task_unknown", ("message", "exc", "name", "id"))
heartbeat_sent = Signal("heartbeat_sent")
"""An event worker-heartbeat has been published."""

import_modules = Signal("import_modules")
"""The modules with tasks are about to be imported. The sender is the app."""
user_preload_options = Signal("user_preload_options", ("app", "options"))
"""A command of the shell has found its app."""
beat_init = Signal("beat_init")
beat_embedded_init = Signal("beat_embedded_init")
celeryd_init = Signal("celeryd_init", ("instance", "conf", "options"))
"""First of all, in a worker. The sender is its name."""
celeryd_after_setup = Signal("celeryd_after_setup", ("instance", "conf"))
worker_init = Signal("worker_init")
worker_ready = Signal("worker_ready")
worker_shutting_down = Signal("worker_shutting_down", ("sig", "how", "exitcode"))
worker_shutdown = Signal("worker_shutdown")
worker_before_create_process = Signal("worker_before_create_process")
worker_process_init = Signal("worker_process_init")
"""In each child, before it runs its first task: the place to open what must not be shared between processes."""
worker_process_shutdown = Signal("worker_process_shutdown", ("pid", "exitcode"))

setup_logging = Signal("setup_logging", ("loglevel", "logfile", "format", "colorize"))
"""When anybody listens, the worker leaves logging to them."""
after_setup_logger = Signal("after_setup_logger", ("logger", "loglevel", "logfile", "format", "colorize"))
after_setup_task_logger = Signal(
    "after_setup_task_logger", ("logger", "loglevel", "logfile", "format", "colorize")
)
