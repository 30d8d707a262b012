"""Tasks for the tests of workflows. What they say and wait for is as in ``jobs``."""

from __future__ import annotations

import os
import signal
from typing import Any

from jobs import app, directory, gate, note

from umbel import Signature, Task, chain, chord, group


@app.task(name="flow.add")
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="flow.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="flow.total_noted")
def total_noted(numbers: list[int], word: str) -> int:
    note(word, sum(numbers))
    return sum(numbers)


@app.task(name="flow.same")
def same(*values: Any) -> Any:
    return values[0] if len(values) == 1 else list(values)


@app.task(name="flow.fails")
def fails(*values: Any) -> None:
    raise ValueError(f"no {values}")


@app.task(name="flow.retries", bind=True, default_retry_delay=0)
def retries(self: Task[..., Any], value: int, times: int) -> int:
    if self.request.retries < times:
        raise self.retry()
    return value


@app.task(name="flow.retries_once", bind=True, default_retry_delay=0)
def retries_once(self: Task[..., Any], value: int) -> int:
    if not self.request.retries:
        raise self.retry()
    return value


@app.task(name="flow.waits")
def waits(name: str, value: int) -> int:
    note("begun", name)
    gate(name)
    return value


@app.task(name="flow.waits_as")
def waits_as(name: str) -> int:
    note("begun", name)
    gate("go")
    return 1


@app.task(name="flow.says")
def says(*words: Any) -> None:
    note(*words)


@app.task(name="flow.is_told")
def is_told(task_id: str, word: str) -> None:
    note(task_id, word)


@app.task(name="flow.tells_its_process")
def tells_its_process(request: Any, exc: BaseException | None = None, traceback: str = "") -> None:
    note("told", os.getpid())


@app.task(name="flow.exits")
def exits(request: Any, exc: BaseException, traceback: str) -> None:
    raise SystemExit(3)


@app.task(name="flow.hears")
def hears(request: Any, exc: BaseException, traceback: str) -> None:
    note("heard", request.id, type(exc).__name__)


@app.task(name="flow.mends")
def mends(*values: Any) -> Any:
    """Fails until the test has mended it."""
    note("mends", *values)
    if not (directory / "mended").exists():
        raise ValueError("not mended yet")
    return next(value for value in values if not isinstance(value, str))


@app.task(name="flow.becomes", bind=True)
def becomes(self: Task[..., Any], form: dict[str, Any]) -> Any:
    return self.replace(Signature.from_dict(form, app))


@app.task(name="flow.adds_another", bind=True)
def adds_another(self: Task[..., Any], value: int) -> int:
    self.add_to_chord(add.s(value, 100))
    return value


@app.task(name="flow.dies", max_deliveries=1)
def dies(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="flow.begins")
def begins(kind: str) -> str:
    canvases = {
        "chain": lambda: chain(add.s(1, 2), add.s(3)),
        "group": lambda: group(add.s(1, 2), add.s(3, 4)),
        "chord": lambda: chord([add.s(1, 2), add.s(3, 4)], total.s()),
    }
    result = canvases[kind]().delay()
    return str(result.id)
