"""More tasks for workers under test: what they leave behind tells how often each call ran, and what was sent after it."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from typing import Any

from jobs import PATIENCE, agate, app, directory, gate, note

from umbel import Task
from umbel.errors import Reject

__all__ = ["app"]


@app.task(bind=True)
def works(self: Task[..., Any], value: object) -> object:
    note("ran", self.request.id)
    return value


@app.task(bind=True, track_started=True)
def works_tracked(self: Task[..., Any], value: object) -> object:
    note("ran", self.request.id)
    return value


@app.task(bind=True, acks_late=False)
def works_early(self: Task[..., Any], value: object) -> object:
    note("ran", self.request.id)
    return value


@app.task(bind=True)
def follows(self: Task[..., Any], value: object) -> object:
    """Notes whose follow-up it is, and its own id: two ids mean that it was sent twice."""
    note("followed", self.request.parent_id, self.request.id)
    return value


@app.task(bind=True, max_retries=2)
def works_at_second_try(self: Task[..., Any], value: object) -> object:
    note("ran", self.request.id)
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return value


@app.task(bind=True)
def is_rejected(self: Task[..., Any]) -> None:
    note("ran", self.request.id)
    raise Reject("as asked")


# -- runs that wake up late


@app.task(bind=True)
def says_which(self: Task[..., Any], name: str) -> int:
    """Returns the number of its delivery, once its gate is open."""
    note("begun", name, self.request.deliveries)
    gate(f"{name}-{self.request.deliveries}")
    note("ended", name, self.request.deliveries)
    return self.request.deliveries


@app.task(bind=True)
async def says_which_async(self: Task[..., Any], name: str) -> int:
    note("begun", name, self.request.deliveries)
    try:
        await agate(f"{name}-{self.request.deliveries}")
    except BaseException as exc:
        note("interrupted", name, self.request.deliveries, type(exc).__name__)
        raise
    note("ended", name, self.request.deliveries)
    return self.request.deliveries


# -- C code that keeps the GIL


def _hold_gil(seconds: float) -> None:
    # PyDLL calls without giving the GIL up, as a C extension does that never lets go of it.
    if ctypes.PyDLL(None).usleep(int(seconds * 1e6)) != 0:
        raise OSError("usleep was interrupted")


@app.task(bind=True)
def holds_gil(self: Task[..., Any], seconds: float) -> int:
    note("ran", self.request.id)
    begun = time.monotonic()
    _hold_gil(seconds)
    note("held for", round(time.monotonic() - begun, 1) >= seconds)
    return int(self.request.deliveries)


@app.task(bind=True)
async def holds_gil_async(self: Task[..., Any], seconds: float) -> int:
    note("ran", self.request.id)
    _hold_gil(seconds)
    return int(self.request.deliveries)


# -- poison, until somebody has mended the world


def _want_too_much_memory() -> None:
    try:
        group = (directory / "small-memory").read_text()
    except FileNotFoundError:  # this user may not limit memory
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        with open(group, "w") as file:
            file.write(str(os.getpid()))
        hoard = []
        while True:
            hoard.append(b"x" * (1 << 20))


@app.task(bind=True)
def is_poison(self: Task[..., Any], how: str) -> str:
    """Kills its process, until the test says that all is well."""
    note("poison", self.request.deliveries)
    if (directory / "gate-mended").exists():
        return "cured"
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "oom":
        _want_too_much_memory()
    time.sleep(PATIENCE)
    return "survived"


# -- clocks

if os.environ.get("FAKETIME_DONT_FAKE_MONOTONIC"):
    # libfaketime 0.9.10 takes the instants of clock_nanosleep for times of the clock that it fakes, even so.
    time.sleep = lambda seconds: select.select([], [], [], seconds) and None


@app.task
def tells_time() -> float:
    return time.time()


@app.task(bind=True)
def retries_later(self: Task[..., Any], seconds: float) -> float:
    """Returns how long it waited for its second try, by a clock that nobody sets."""
    marker = directory / f"first-try-{self.request.id}"
    if self.request.retries == 0:
        marker.write_text(str(time.monotonic()))
        raise self.retry(countdown=seconds)
    return time.monotonic() - float(marker.read_text())


@app.task
def sends_once(key: str) -> None:
    """Send a message of which there may be one only."""
    message = app.client.prepare("jobs.mark", (1,), {}, {"queue": "aside"}).outgoing
    message.dedupe_key, message.dedupe_window = key, 60.0
    app.broker.send_now([message])
