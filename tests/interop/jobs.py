"""The tasks of both sides: the same source, registered with a Celery app in one process and an Umbel app in another.

What a task wants to tell a test, and what it waits for, goes through Redis lists of a database of its own.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from types import ModuleType
from typing import Any

import redis

SIDE = os.environ.get("INTEROP_SIDE", "")
"""``celery`` or ``umbel``: whose worker or client this process is."""
PATIENCE = 20


class OutOfStock(Exception):
    """An exception of the application, which both sides can import."""

    def __init__(self, item: str, wanted: int) -> None:
        super().__init__(item, wanted)
        self.item = item
        self.wanted = wanted


class Unwritable(Exception):
    """Its argument cannot be written as JSON."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(arguments or ("plain", object())))


@functools.cache
def _notes(pid: int) -> redis.Redis:
    return redis.Redis.from_url(os.environ["INTEROP_NOTES"], socket_timeout=None)


def notes() -> redis.Redis:
    """The database for what tasks and tests tell one another; a connection of this process's own."""
    return _notes(os.getpid())


def pass_gate(name: str) -> None:
    """Tell the test that we are at the gate, and wait until it opens it."""
    notes().rpush(f"at:{name}", os.getpid())
    if notes().blpop([f"open:{name}"], PATIENCE) is None:
        raise RuntimeError(f"Nobody has opened the gate {name}.")


def define(app: Any, errors: ModuleType) -> dict[str, Any]:
    """Register the tasks with `app`, an app of Celery or Umbel; `errors` is its module of exceptions.

    Returns them by the last part of their names.
    """
    _define_values(app)
    _define_endings(app, errors)
    _define_request(app)
    return {name.rpartition(".")[2]: app.tasks[name] for name in app.tasks if name.startswith("jobs.")}


def _define_values(app: Any) -> None:
    @app.task(name="jobs.add")
    def add(x: Any, y: Any) -> Any:
        return x + y

    @app.task(name="jobs.mul")
    def mul(x: Any, y: Any) -> Any:
        return x * y

    @app.task(name="jobs.total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(name="jobs.echo")
    def echo(*args: Any, **kwargs: Any) -> Any:
        return [list(args), kwargs]

    @app.task(name="jobs.describe")
    def describe(*args: Any) -> list[str]:
        return [f"{type(arg).__name__} {arg!r}" for arg in args]

    @app.task(name="jobs.side")
    def side(*_: Any) -> str:
        return SIDE

    @app.task(name="jobs.imported")
    def imported(*modules: str) -> list[str]:
        return [module for module in modules if module in sys.modules]

    @app.task(name="jobs.when")
    def when() -> float:
        return time.time()

    @app.task(name="jobs.note")
    def note(value: Any, key: str) -> Any:
        notes().rpush(key, str(value))
        return value

    @app.task(name="jobs.count")
    def count(number: int, key: str) -> list[Any]:
        notes().hincrby(key, str(number), 1)
        return [number, SIDE]

    @app.task(name="jobs.silent", ignore_result=True)
    def silent(key: str) -> str:
        notes().rpush(key, "ran")
        return "nobody reads this"


def _define_endings(app: Any, errors: ModuleType) -> None:
    @app.task(name="jobs.fail")
    def fail(how: str, *args: Any) -> None:
        if how == "unwritable":
            raise Unwritable
        if how == "local":

            class Hidden(ValueError):
                pass

            raise Hidden(*args)
        if how == "caused":
            try:
                {}["absent"]
            except KeyError as exc:
                raise ValueError("no such key") from exc
        raise {"ValueError": ValueError, "KeyError": KeyError, "OutOfStock": OutOfStock}[how](*args)

    @app.task(name="jobs.raise_own")
    def raise_own(name: str, *args: Any) -> None:
        raise getattr(errors, name)(*args)

    @app.task(name="jobs.sleep", bind=True)
    def sleep(self: Any, seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    @app.task(name="jobs.clean_up")
    def clean_up(seconds: float) -> str:
        try:
            time.sleep(seconds)
        except errors.SoftTimeLimitExceeded:
            return "cleaned up"
        return "slept"

    @app.task(name="jobs.die", acks_late=True)
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(name="jobs.flaky", bind=True)
    def flaky(self: Any, failures: int, key: str = "", pause: float = 0.1) -> int:
        if self.request.retries < failures:
            raise self.retry(exc=ValueError("not yet"), countdown=pause, max_retries=failures)
        return int(self.request.retries)

    @app.task(name="jobs.hopeless", bind=True, max_retries=1, default_retry_delay=0)
    def hopeless(self: Any, with_exc: bool) -> None:
        raise self.retry(exc=ValueError("never") if with_exc else None)

    @app.task(
        name="jobs.automatic", bind=True, autoretry_for=(OSError,), retry_backoff=False, default_retry_delay=0
    )
    def automatic(self: Any) -> int:
        if self.request.retries < 2:
            raise OSError("out of reach")
        return int(self.request.retries)

    @app.task(name="jobs.hop", bind=True)
    def hop(self: Any, countdown: float, *sides: str) -> list[Any]:
        """Ask the other side for the next try, twice."""
        seen = (*sides, SIDE)
        if len(seen) < 3:
            other = "to-celery" if SIDE == "umbel" else "to-umbel"
            raise self.retry(args=(countdown, *seen), countdown=countdown, queue=other)
        return [*seen, self.request.retries]

    @app.task(name="jobs.unwritable_result")
    def unwritable_result() -> Any:
        return object()

    @app.task(name="jobs.refuse")
    def refuse() -> None:
        raise errors.Reject("not for us", requeue=False)


def _define_request(app: Any) -> None:
    @app.task(name="jobs.wait")
    def wait(gate: str) -> str:
        pass_gate(gate)
        return "passed"

    @app.task(name="jobs.progress", bind=True)
    def progress(self: Any, gate: str) -> str:
        self.update_state(state="PROGRESS", meta={"done": 3, "of": 10})
        pass_gate(gate)
        return "over"

    @app.task(name="jobs.started", track_started=True)
    def started(gate: str) -> str:
        pass_gate(gate)
        return "over"

    @app.task(name="jobs.family")
    def family(size: int) -> str:
        for number in range(size):
            app.tasks["jobs.add"].delay(number, number)
        return "sent"

    @app.task(name="jobs.request", bind=True)
    def request(self: Any) -> dict[str, Any]:
        mine = self.request
        return {
            "id": mine.id,
            "root_id": mine.root_id,
            "parent_id": mine.parent_id,
            "correlation_id": mine.correlation_id,
            "retries": mine.retries,
            "timelimit": list(mine.timelimit or ()),
            "headers": {key: value for key, value in (mine.headers or {}).items() if key.startswith("x-")},
            "routing_key": mine.delivery_info["routing_key"],
        }

    @app.task(name="jobs.on_error")
    def on_error(task_id: str, key: str) -> str:
        notes().rpush(key, task_id)
        return task_id

    @app.task(name="jobs.on_error_in_full")
    def on_error_in_full(request: Any, exc: BaseException, traceback: Any, key: str) -> None:
        notes().rpush(key, f"{request.id} {exc!r} {str(traceback)[:9]}")
