"""``celery.beat``: the scheduler of a program for Celery, with the classes that schedulers of others derive from.

One process of it must run (``umbel beat``, or ``worker -B``): two of them send everything twice, as with Celery.
"""

from __future__ import annotations

import copy
import heapq
import importlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from umbel import signals
from umbel.contrib.celery.entries import BeatLazyFunc, ScheduleEntry
from umbel.errors import ConfigurationError, UmbelError
from umbel.result import AsyncResult

__all__ = [
    "BeatLazyFunc",
    "EmbeddedService",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
    "event_t",
    "scheduler_named",
]

logger = logging.getLogger("umbel.beat")

DEFAULT_MAX_INTERVAL = 300
"""Seconds between two looks at the schedule, at most."""


class SchedulingError(UmbelError):
    """An entry could not be sent."""


class event_t(NamedTuple):
    """A place in the heap: when, how urgent, what."""

    time: float
    priority: int
    entry: Any


class Scheduler:
    """Sends what is due. Derive from it to keep the schedule elsewhere: ``setup_schedule``, ``schedule``, ``reserve``, ``sync``."""

    Entry: ClassVar[Any] = ScheduleEntry
    max_interval: float = DEFAULT_MAX_INTERVAL
    sync_every = 3 * 60
    sync_every_tasks: int | None = None

    def __init__(
        self,
        app: Any,
        schedule: dict[str, Any] | None = None,
        max_interval: float | None = None,
        Producer: Any = None,
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **unused: Any,
    ) -> None:
        self.app = app
        self.data: dict[str, Any] = {} if schedule is None else schedule
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        self.sync_every_tasks = sync_every_tasks or app.conf.beat_sync_every or None
        self._heap: list[event_t] | None = None
        self.old_schedulers: dict[str, Any] | None = None
        self._last_sync: float | None = None
        self._tasks_since_sync = 0
        if not lazy:
            self.setup_schedule()

    # -- the schedule

    def setup_schedule(self) -> None:
        """Fill the schedule, at the start."""
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule or {})

    def install_default_entries(self, data: Any) -> None:
        """Add what every program needs. Umbel's stores delete old results by themselves: nothing."""

    def get_schedule(self) -> dict[str, Any]:
        """The entries by name."""
        return self.data

    def set_schedule(self, schedule: dict[str, Any]) -> None:
        """Replace them."""
        self.data = schedule

    @property
    def schedule(self) -> dict[str, Any]:
        """The entries by name."""
        return self.get_schedule()

    @schedule.setter
    def schedule(self, schedule: dict[str, Any]) -> None:
        self.set_schedule(schedule)

    def add(self, **fields: Any) -> Any:
        """Add an entry."""
        entry = self.Entry(app=self.app, **fields)
        self.schedule[entry.name] = entry
        return entry

    def _maybe_entry(self, name: str, entry: Any) -> Any:
        if isinstance(entry, self.Entry):
            entry.app = self.app
            return entry
        return self.Entry(**{**entry, "name": name, "app": self.app})

    def update_from_dict(self, entries: Mapping[str, Any]) -> None:
        """Add the entries of a setting beat_schedule."""
        self.schedule.update({name: self._maybe_entry(name, entry) for name, entry in entries.items()})

    def merge_inplace(self, entries: Mapping[str, Any]) -> None:
        """Let the schedule hold these entries and no others; of those that it has, the account of runs is kept."""
        for name in set(self.schedule) - set(entries):
            self.schedule.pop(name, None)
        for name, given in entries.items():
            entry = self._maybe_entry(name, given)
            known = self.schedule.get(name)
            if known is None:
                self.schedule[name] = entry
            else:
                known.update(entry)

    def schedules_equal(self, old: Any, new: Any) -> bool:
        """Whether two schedules are the same."""
        if old is None or new is None:
            return old is new
        if set(old) != set(new):
            return False
        return all(old[name] == entry for name, entry in new.items())

    # -- sending

    def adjust(self, n: float | None, drift: float = -0.010) -> float | None:
        """A little less than `n` seconds, so as not to be late."""
        return n + drift if n and n > 0 else n

    def is_due(self, entry: Any) -> Any:
        """Whether `entry` is due."""
        return entry.is_due()

    def _when(self, entry: Any, next_time_to_run: float, mktime: Any = None) -> float:
        return time.time() + (self.adjust(next_time_to_run) or 0)

    def populate_heap(self, event_t: Any = event_t, heapify: Any = heapq.heapify) -> None:
        """Arrange the entries by their times."""
        self._heap = []
        for entry in self.schedule.values():
            due, wait = entry.is_due()
            self._heap.append(event_t(self._when(entry, 0 if due else wait), 5, entry))
        heapify(self._heap)

    def tick(
        self,
        event_t: Any = event_t,
        min: Any = min,
        heappop: Any = heapq.heappop,
        heappush: Any = heapq.heappush,
    ) -> float:
        """Send the next entry if it is due. Returns the seconds until there is something to do."""
        if self._heap is None or not self.schedules_equal(self.old_schedulers, self.schedule):
            self.old_schedulers = copy.copy(self.schedule)
            self.populate_heap()
        heap = self._heap
        if not heap:
            return self.max_interval
        event = heap[0]
        entry = event.entry
        due, wait = self.is_due(entry)
        if not due:
            if not wait:
                return self.max_interval
            verify = heappop(heap)
            heappush(heap, event_t(self._when(entry, wait), event.priority, entry))
            first = heap[0]
            ahead = self.adjust(first.time - time.time()) if first is not verify else self.adjust(wait)
            return float(min(max(ahead or 0, 0), self.max_interval))
        verify = heappop(heap)
        if verify is not event:
            heappush(heap, verify)
            return float(min(verify.time, self.max_interval))
        again = self.reserve(entry)
        self.apply_entry(entry, producer=self.producer)
        heappush(heap, event_t(self._when(again, wait), event.priority, again))
        return 0

    def reserve(self, entry: Any) -> Any:
        """The entry after the run that is about to be sent."""
        again = self.schedule[entry.name] = next(entry)
        return again

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send `entry`; what goes wrong is logged."""
        logger.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except Exception:
            logger.exception("Message Error: %s", entry.name)
        else:
            logger.debug("%s sent. id->%s", entry.task, getattr(result, "id", entry.name))

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send `entry`. Raises SchedulingError."""
        entry = self.reserve(entry) if advance else entry
        args = [_value(argument) for argument in entry.args or ()]
        kwargs = {name: _value(value) for name, value in (entry.kwargs or {}).items()}
        given = {name: value for name, value in (entry.options or {}).items() if name != "expire_seconds"}
        if (seconds := (entry.options or {}).get("expire_seconds")) is not None:
            given.setdefault("expires", seconds)
        task = self.app.tasks.get(entry.task)
        try:
            if task:
                return task.apply_async(args, kwargs, **given, **options)
            return self.send_task(entry.task, args, kwargs, **given, **options)
        except Exception as exc:
            raise SchedulingError(f"Couldn't apply scheduled task {entry.name}: {exc}") from exc
        finally:
            self._tasks_since_sync += 1
            if self.should_sync():
                self._do_sync()

    def send_task(self, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """``app.send_task``."""
        return self.app.send_task(*args, **kwargs)  # type: ignore[no-any-return]

    # -- keeping it

    def should_sync(self) -> bool:
        """Whether it is time to write down what was sent."""
        late = not self._last_sync or time.monotonic() - self._last_sync > self.sync_every
        return late or bool(self.sync_every_tasks and self._tasks_since_sync >= self.sync_every_tasks)

    def _do_sync(self) -> None:
        try:
            self.sync()
        finally:
            self._last_sync = time.monotonic()
            self._tasks_since_sync = 0

    def sync(self) -> None:
        """Write down what was sent. Here: nowhere."""

    def close(self) -> None:
        """The last word of a scheduler."""
        self.sync()

    @property
    def connection(self) -> Any:
        """``app.connection_for_write()``."""
        return self.app.connection_for_write()

    @property
    def producer(self) -> Any:
        """What sends: Umbel's own way."""
        return None

    @property
    def info(self) -> str:
        """For the banner."""
        return ""


class PersistentScheduler(Scheduler):
    """Remembers in a file when what was sent last."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.schedule_filename = f"{options.get('schedule_filename') or 'celerybeat-schedule'}.json"
        super().__init__(*args, **options)

    def setup_schedule(self) -> None:
        super().setup_schedule()
        path = Path(self.schedule_filename)
        if not path.exists():
            return
        try:
            kept = json.loads(path.read_text())
            for name, (last_run_at, count) in kept.items():
                if name in self.schedule:
                    entry = self.schedule[name]
                    entry.last_run_at = datetime.fromisoformat(last_run_at)
                    entry.total_run_count = int(count)
        except (ValueError, TypeError, AttributeError) as exc:
            raise ConfigurationError(
                f"{path} does not hold the schedule of a beat ({exc}). Move it away, or name another file with -s."
            ) from exc

    def sync(self) -> None:
        kept = {
            name: (entry.last_run_at.isoformat(), entry.total_run_count)
            for name, entry in self.schedule.items()
        }
        path = Path(self.schedule_filename)
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(json.dumps(kept))
        fresh.replace(path)  # whole or not at all

    @property
    def info(self) -> str:
        return f"    . db -> {self.schedule_filename}"


class Service:
    """Runs a scheduler until it is stopped."""

    scheduler_cls: Any = PersistentScheduler

    def __init__(
        self,
        app: Any,
        max_interval: float | None = None,
        schedule_filename: str | None = None,
        scheduler_cls: Any = None,
    ) -> None:
        self.app = app
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or None
        self.schedule_filename = schedule_filename or app.conf.beat_schedule_filename
        self.scheduler_cls = scheduler_cls or self.scheduler_cls
        self._shutdown = threading.Event()
        self._scheduler: Any = None

    def start(self, embedded_process: bool = False) -> None:
        """Send what is due until ``stop``."""
        (signals.beat_embedded_init if embedded_process else signals.beat_init).send(self)
        scheduler = self.scheduler
        logger.info(
            "beat: Starting... (at most %s between two looks)", timedelta(seconds=scheduler.max_interval)
        )
        try:
            while not self._shutdown.is_set():
                wait = scheduler.tick()
                if wait and wait > 0:
                    self._shutdown.wait(wait)
                    if scheduler.should_sync():
                        scheduler._do_sync()
        except (KeyboardInterrupt, SystemExit):
            self._shutdown.set()
        finally:
            self.sync()

    def sync(self) -> None:
        """Close the scheduler."""
        self.scheduler.close()

    def stop(self, wait: bool = False) -> None:
        """Stop soon."""
        logger.info("beat: Shutting down...")
        self._shutdown.set()

    def get_scheduler(self, lazy: bool = False) -> Any:
        """Make the scheduler."""
        return self.scheduler_cls(
            app=self.app, schedule_filename=self.schedule_filename, max_interval=self.max_interval, lazy=lazy
        )

    @property
    def scheduler(self) -> Any:
        """The scheduler, made at the first use."""
        if self._scheduler is None:
            self._scheduler = self.get_scheduler()
        return self._scheduler


class _EmbeddedThread(threading.Thread):
    def __init__(self, service: Service) -> None:
        super().__init__(name="Beat", daemon=True)
        self.service = service

    def run(self) -> None:
        self.service.start(embedded_process=True)

    def stop(self) -> None:
        self.service.stop()
        with suppress(RuntimeError):  # never started
            self.join(5)


def EmbeddedService(app: Any, max_interval: float | None = None, **options: Any) -> Any:
    """A ``Service`` in a thread: with ``start()`` and ``stop()``."""
    options.pop("thread", None)
    return _EmbeddedThread(Service(app, max_interval=max_interval, **options))


def scheduler_named(name: Any) -> Any:
    """The class of a scheduler: its path, ``module:Class`` or ``module.Class``, or the name of an entry point (``django``).

    Raises ConfigurationError.
    """
    if not isinstance(name, str):
        return name
    for point in entry_points(group="celery.beat_schedulers", name=name):
        return point.load()
    module, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigurationError(f"There is no scheduler {name!r}: {exc}.") from exc


def _value(argument: Any) -> Any:
    return argument() if isinstance(argument, BeatLazyFunc) else argument
