"""What follows from events: which workers there are, and what became of calls. Celery's ``State``, for monitors.

It is fed with events, from whatever source, and remembers the last of them: so many workers, so many calls.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

__all__ = ["State", "Task", "Worker"]

_EXPIRES_AFTER = 2.0
"""A worker that has missed so many heartbeats counts as gone."""
_HEARTBEATS = 4
_STATES = {
    "sent": "PENDING",
    "received": "RECEIVED",
    "started": "STARTED",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "retried": "RETRY",
    "revoked": "REVOKED",
    "rejected": "REJECTED",
}
_READY = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})
_RANK = {"PENDING": 0, "RECEIVED": 1, "STARTED": 2, "RETRY": 3}


class Worker:
    """What is known of a worker. Fields of its events are attributes: ``pid``, ``freq``, ``active``, ``processed`` …"""

    def __init__(self, hostname: str) -> None:
        self.hostname = hostname
        self.pid: int | None = None
        self.freq = 60.0
        self.heartbeats: list[float] = []
        self.active: int | None = None
        self.processed: int | None = None
        self.loadavg: list[float] | None = None
        self.sw_ident = self.sw_ver = self.sw_sys = None

    def event(self, kind: str, event: dict[str, Any]) -> None:
        """Take in ``online``, ``heartbeat`` or ``offline``."""
        for name in ("pid", "freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"):
            if event.get(name) is not None:
                setattr(self, name, event[name])
        if kind == "offline":
            self.heartbeats = []
        elif (at := event.get("timestamp")) is not None:
            self.heartbeats = sorted([*self.heartbeats, at])[-_HEARTBEATS:]

    @property
    def heartbeat_expires(self) -> float:
        """Unix time at which it counts as gone."""
        return self.heartbeats[-1] + self.freq * _EXPIRES_AFTER if self.heartbeats else 0.0

    @property
    def alive(self) -> bool:
        """Whether it has been heard lately."""
        return datetime.now(UTC).timestamp() < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        """ "ONLINE" or "OFFLINE"."""
        return "ONLINE" if self.alive else "OFFLINE"

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string})>"


class Task:
    """What is known of a call. Fields of its events are attributes: ``name``, ``args``, ``result``, ``runtime`` …"""

    FIELDS = (
        "name", "args", "kwargs", "retries", "eta", "expires", "root_id", "parent_id", "result", "exception", "traceback",
        "runtime", "exchange", "routing_key", "queue", "client", "clock", "timestamp",
    )  # fmt: skip

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.state = "PENDING"
        self.worker: Worker | None = None
        for name in (*self.FIELDS, *_STATES):
            setattr(self, name, None)

    def event(self, kind: str, event: dict[str, Any]) -> None:
        """Take in an event: ``received``, ``started`` and so on. One that comes late does not take it back."""
        state, at = _STATES.get(kind, kind.upper()), event.get("timestamp")
        setattr(self, kind, at)
        late = _RANK.get(state, 9) < _RANK.get(self.state, 9) and self.state != "RETRY"
        for name in self.FIELDS:
            if name in event and (not late or getattr(self, name) is None):
                setattr(self, name, event[name])
        if not late:
            self.state = state

    @property
    def id(self) -> str:
        """Its id."""
        return self.uuid

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in _READY

    def info(self, fields: Any = None, extra: Any = ()) -> dict[str, Any]:
        """What is known of it, without what is not."""
        names = [
            *(fields or ("args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception")),
            *extra,
        ]
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """All of it."""
        return {**vars(self), "worker": self.worker.hostname if self.worker else None}

    def __repr__(self) -> str:
        return f"<Task: {getattr(self, 'name', None)}({self.uuid}) {self.state}>"


class State:
    """The workers and calls of which events tell. Safe in threads.

    `callback` is called with ``(state, event)`` after each event. The oldest are forgotten beyond the two limits.
    """

    def __init__(
        self,
        callback: Callable[[State, dict[str, Any]], Any] | None = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
    ) -> None:
        self.event_callback = callback
        self.workers: OrderedDict[str, Worker] = OrderedDict()
        self.tasks: OrderedDict[str, Task] = OrderedDict()
        self.event_count = 0
        self.task_count = 0
        self._most_workers = max_workers_in_memory
        self._most_tasks = max_tasks_in_memory
        self._lock = threading.RLock()

    def event(self, event: dict[str, Any]) -> tuple[tuple[Any, bool], str]:
        """Take in an event. Returns what it is about, whether that is new, and what has happened."""
        with self._lock:
            self.event_count += 1
            group, _, subject = event["type"].partition("-")
            found: tuple[Any, bool] = (None, False)
            if group == "worker":
                found = self.get_or_create_worker(event.get("hostname", ""))
                found[0].event(subject, event)
            elif group == "task" and event.get("uuid"):
                found = self.get_or_create_task(event["uuid"])
                task: Task = found[0]
                task.event(subject, event)
                self.task_count += subject == "received"
                if subject == "sent":
                    setattr(task, "client", event.get("hostname"))  # noqa: B010
                elif event.get("hostname"):
                    task.worker, _ = self.get_or_create_worker(event["hostname"])
                self.tasks.move_to_end(task.uuid)
        if self.event_callback is not None:
            self.event_callback(self, event)
        return found, subject

    def get_or_create_worker(self, hostname: str, **unused: Any) -> tuple[Worker, bool]:
        """The worker of that name, and whether it is new."""
        return _get(self.workers, hostname, Worker, self._most_workers)

    def get_or_create_task(self, uuid: str) -> tuple[Task, bool]:
        """The call of that id, and whether it is new."""
        return _get(self.tasks, uuid, Task, self._most_tasks)

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, Task]]:
        """The calls by id."""
        return islice(list(self.tasks.items()), limit)

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, Task]]:
        """By their last event, the newest first."""
        with self._lock:
            ordered = sorted(
                self.tasks.items(), key=lambda pair: getattr(pair[1], "timestamp", None) or 0, reverse=reverse
            )
        return islice(ordered, limit)

    tasks_by_timestamp = tasks_by_time

    def tasks_by_type(
        self, name: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, Task]]:
        """Those of the task `name`."""
        return islice(
            (pair for pair in self.tasks_by_time(reverse=reverse) if getattr(pair[1], "name", None) == name),
            limit,
        )

    def tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, Task]]:
        """Those of the worker `hostname`."""
        return islice(
            (
                p
                for p in self.tasks_by_time(reverse=reverse)
                if p[1].worker and p[1].worker.hostname == hostname
            ),
            limit,
        )

    def task_types(self) -> list[str]:
        """The names of the tasks."""
        return sorted({name for task in self.tasks.values() if (name := getattr(task, "name", None))})

    def alive_workers(self) -> Iterator[Worker]:
        """Those that have been heard lately."""
        return (worker for worker in list(self.workers.values()) if worker.alive)

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget the calls that have ended; without `ready` all of them."""
        with self._lock:
            kept = {} if not ready else {k: task for k, task in self.tasks.items() if not task.ready}
            self.tasks = OrderedDict(kept)

    def clear(self, ready: bool = True) -> None:
        """Forget the workers, and calls as ``clear_tasks`` does."""
        with self._lock:
            self.workers.clear()
            self.clear_tasks(ready)
            self.event_count = self.task_count = 0

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"


def _get(known: OrderedDict[str, Any], key: str, kind: Callable[[str], Any], most: int) -> tuple[Any, bool]:
    if key in known:
        return known[key], False
    known[key] = kind(key)
    while len(known) > most:
        known.popitem(last=False)
    return known[key], True
