"""The tasks that the workers under test run. A module of its own: the workers import it, the tests call by name.

Tasks tell the test what happens by appending lines to one file (``note``), and wait for the test by looking for files that
it makes (``gate``): a line and a file outlive every process.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from umbel import Task, Umbel
from umbel.errors import Ignore, Reject, SoftTimeLimitExceeded

PATIENCE = 30.0
PAUSE = 0.002  # how often a task looks whether its gate is open

directory = pathlib.Path(os.environ["JOBS_DIR"])
app = Umbel("jobs")


def note(*words: object) -> None:
    """Tell the test: one line, whole, whatever happens next."""
    line = " ".join(map(str, words)) + "\n"
    fd = os.open(directory / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def gate(name: str) -> None:
    """Wait until the test opens the gate."""
    path, deadline = directory / f"gate-{name}", time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody opened the gate {name}")
        time.sleep(PAUSE)


async def agate(name: str) -> None:
    """``gate`` for coroutines."""
    path, deadline = directory / f"gate-{name}", time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody opened the gate {name}")
        await asyncio.sleep(PAUSE)


# ------------------------------------------------------------------------------------------- ordinary ones


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
async def add_async(x: int, y: int) -> int:
    await asyncio.sleep(0)
    return x + y


@app.task
def where() -> dict[str, Any]:
    return {"pid": os.getpid(), "thread": threading.get_ident(), "name": threading.current_thread().name}


@app.task
def mark(value: object) -> object:
    """Note that it ran."""
    note("ran", value)
    return value


@app.task
def gated(name: str, value: object = None) -> object:
    """Note the beginning, wait, note the end."""
    note("begun", name)
    gate(name)
    note("ended", name)
    return value


@app.task
def gated_where(name: str) -> int:
    note("begun", name)
    gate(name)
    note("ended", name)
    return os.getpid()


@app.task
async def gated_async(name: str, value: object = None) -> object:
    note("begun", name)
    await agate(name)
    note("ended", name)
    return value


@app.task(acks_late=False)
def gated_early(name: str) -> None:
    note("begun", name)
    gate(name)
    note("ended", name)


@app.task
def fail(text: str = "no luck") -> None:
    raise ValueError(text)


@app.task(throws=(KeyError,))
def fail_as_expected() -> None:
    raise KeyError("expected")


@app.task
def forget_argument(unused: object) -> str:
    return "fine"


@app.task
def unwritable() -> object:
    return {1, 2}


@app.task
def leave() -> None:
    sys.exit(4)


@app.task(ignore_result=True)
def forgettable(fails: bool = False) -> int:
    note("ran", "forgettable")
    if fails:
        raise ValueError("never kept")
    return 1


@app.task
def prints() -> None:
    print("printed by a task")


@app.task
def odd_value() -> str:
    return "caf\udce9"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@app.task
def odd_error(kind: str) -> None:
    raise_odd_error(kind)


@app.task
async def odd_error_async(kind: str) -> None:
    raise_odd_error(kind)


def raise_odd_error(kind: str) -> None:
    """Errors that are hard to write down, or mean something else to somebody."""
    if kind == "recursion":
        raise_odd_error(kind)
    circular = ValueError("circular")
    circular.args = (circular,)
    errors = {
        "surrogate": ValueError("caf\udce9"),
        "unspeakable": Unspeakable("x"),
        "large": ValueError("x" * 2_000_000),
        "circular": circular,
        "group": ExceptionGroup("both", [ValueError(1), KeyError("a")]),
        "interrupt": KeyboardInterrupt(),
        "exit": SystemExit(4),
        "stop": StopIteration(),
        "cancelled": asyncio.CancelledError(),
        "generator": GeneratorExit(),
        "local": type("Local", (Exception,), {})("of no module"),
    }
    raise errors[kind]


@app.task(bind=True)
def odd_state(self: Task[..., Any]) -> None:
    self.update_state(state=5)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ retries


class Flaky(Exception):
    pass


class VeryFlaky(Flaky):
    pass


@app.task(bind=True, max_retries=3)
def retried(self: Task[..., Any], until: int) -> int:
    if self.request.retries < until:
        raise self.retry(exc=Flaky(f"try {self.request.retries}"), countdown=0)
    return self.request.retries


@app.task(bind=True, max_retries=1)
def never_enough(self: Task[..., Any], with_error: bool) -> None:
    note("ran", "never_enough")
    raise self.retry(exc=Flaky("still broken") if with_error else None, countdown=0)


@app.task(autoretry_for=(Flaky,), max_retries=2, retry_backoff=100, retry_jitter=False)
def backs_off() -> None:
    raise Flaky("again")


@app.task(
    bind=True,
    autoretry_for=(Flaky,),
    dont_autoretry_for=(VeryFlaky,),
    retry_kwargs={"max_retries": 1, "countdown": 0},
)
def autoretried(self: Task[..., Any], very: bool = False) -> None:
    note("try", self.request.retries, self.request.id)
    raise VeryFlaky("hopeless") if very else Flaky("again")


@app.task(bind=True, max_retries=2)
def retries_with_header(self: Task[..., Any], kind: str) -> None:
    values = {"set": {1}, "object": object(), "large": 1 << 80, "surrogate": "\udce9"}
    self.retry(countdown=0, headers={"x": values[kind]})


@app.task(bind=True, autoretry_for=(Unspeakable,), max_retries=1, retry_kwargs={"countdown": 0})
def retries_unspeakably(self: Task[..., Any]) -> int:
    if self.request.retries == 0:
        raise Unspeakable("x")
    return self.request.retries


@app.task(bind=True, max_retries=2)
def goes_on(self: Task[..., Any]) -> str:
    if self.request.retries == 0:
        retry = self.retry(countdown=0, throw=False)
        note("goes on", type(retry).__name__)
        return "this value is not kept"
    return "second run"


@app.task(bind=True, max_retries=2)
def retries_with_garbage(self: Task[..., Any], x: object = None, throw: bool = True) -> None:
    note("ran", "retries_with_garbage")
    self.retry(args=({1, 2},), countdown=0, throw=throw)


@app.task
def ignores(text: str) -> None:
    note("ran", text)
    raise Ignore


@app.task
def rejects(reason: str, requeue: bool = False) -> None:
    note("ran", reason)
    raise Reject(reason, requeue=requeue)


# ---------------------------------------------------------------------------------- what a run knows and says


@app.task(bind=True)
def progress(self: Task[..., Any], name: str) -> str:
    self.update_state(state="PROGRESS", meta={"done": 1, "of": 2})
    note("half", name)
    gate(name)
    return "done"


@app.task(track_started=True)
def tracked(name: str) -> str:
    note("begun", name)
    gate(name)
    return "done"


@app.task(bind=True)
def request_of(self: Task[..., Any], *args: object, **kwargs: object) -> dict[str, Any]:
    request = self.request
    fields = ("id", "task", "args", "kwargs", "retries", "hostname", "root_id", "parent_id", "correlation_id")
    more = (
        "is_eager",
        "called_directly",
        "delivery_info",
        "timelimit",
        "headers",
        "deliveries",
        "origin",
        "expires",
    )
    return {name: getattr(request, name) for name in (*fields, *more)}


@app.task(bind=True)
def parent(self: Task[..., Any]) -> list[str | None]:
    """Calls another task; answers with the child's id and its own root."""
    child = request_of.delay("child")
    return [child.id, self.request.root_id]


@app.task
def waits_for_another() -> None:
    add.delay(1, 1).get(timeout=1)


class Hooked(Task[..., Any]):
    """Notes what it is told."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note("before_start", list(args), dict(kwargs), task_id)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note("on_success", retval, task_id)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_failure", repr(exc), "Traceback" in str(einfo), task_id)

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_retry", repr(exc), task_id)

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        note("after_return", status, task_id)
        if self.name == "jobs.hook_raises":
            raise RuntimeError("a hook must not change the ending")


@app.task(base=Hooked, bind=True, max_retries=1)
def hooked(self: Task[..., Any], how: str) -> str:
    if how == "fail":
        raise ValueError(how)
    if how == "retry" and self.request.retries == 0:
        raise self.retry(exc=Flaky("once"), countdown=0)
    return how


@app.task(base=Hooked)
def hook_raises() -> str:
    return "fine"


@app.task
def errback(task_id: str) -> None:
    note("errback", task_id)


@app.task
def takes_nothing() -> None:
    note("takes_nothing ran")


# ------------------------------------------------------------------------------------------------- limits


@app.task(soft_time_limit=0.2)
def cleans_up() -> str:
    note("begun", "cleans_up")
    try:
        busy()
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "not reached"


@app.task(soft_time_limit=0.2)
def over_soft() -> None:
    busy()


@app.task(soft_time_limit=0.2)
async def over_soft_async(catches: bool = False) -> str:
    try:
        await asyncio.sleep(PATIENCE)
    except SoftTimeLimitExceeded:
        if not catches:
            raise
        return "cleaned up"
    return "not reached"


@app.task
def sleeps(seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.0005)
    return "slept"


@app.task
def stubborn() -> None:
    """Does not heed its soft limit."""
    while True:
        try:
            busy()
        except SoftTimeLimitExceeded:
            continue


@app.task(bind=True)
def gated_counting(self: Task[..., Any], name: str) -> int:
    """Returns how often it was delivered."""
    note("delivered", name, self.request.deliveries)
    note("begun", name)
    gate(name)
    return self.request.deliveries


@app.task(bind=True)
async def gated_counting_async(self: Task[..., Any], name: str) -> int:
    note("delivered", name, self.request.deliveries)
    note("begun", name)
    await agate(name)
    return self.request.deliveries


@app.task(time_limit=0.4)
def over_hard(name: str = "over_hard") -> None:
    note("begun", name)
    while True:
        try:
            busy()
        except SoftTimeLimitExceeded:
            continue


@app.task(time_limit=0.4)
async def over_hard_async(name: str = "over_hard") -> None:
    note("begun", name)
    await asyncio.sleep(PATIENCE)


def busy() -> None:
    """Run for longer than any limit, in steps that an asynchronous exception can get between."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.005)


# ------------------------------------------------------------------------------------------------ crashes


@app.task
def exits(code: int, unused: object = None) -> None:
    note("ran", "exits")
    os._exit(code)


@app.task
def kills_itself(signum: int) -> None:
    note("ran", "kills_itself")
    os.kill(os.getpid(), signum)
    time.sleep(PATIENCE)  # the signal comes before this is over


@app.task
def crashes_once(name: str) -> str:
    """Crashes at its first delivery."""
    note("ran", name)
    marker = directory / f"crashed-{name}"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(PATIENCE)
    return "second delivery"


@app.task(reject_on_worker_lost=False)
def not_again() -> None:
    note("ran", "not_again")
    os._exit(3)


@app.task(acks_late=False)
def crashes_early() -> None:
    note("ran", "crashes_early")
    os._exit(3)


@app.task
def forks_and_crashes(name: str) -> str:
    """Leaves a process behind that inherits every descriptor, and crashes at its first delivery."""
    note("ran", name)
    marker = directory / f"crashed-{name}"
    if marker.exists():
        return "second delivery"
    marker.touch()
    if os.fork() == 0:
        try:
            gate(name)
        finally:
            os._exit(0)
    os._exit(5)


@app.task(bind=True)
def closes_everything(self: Task[..., Any]) -> str:
    """Closes all descriptors and goes on, as a careless way to make a daemon does. Says at its second delivery whether the
    first run lives on."""
    first = directory / "first-run"
    if self.request.deliveries > 1:
        try:
            os.kill(int(first.read_text()), 0)
        except ProcessLookupError:
            return "it is gone"
        return "it lives"
    first.write_text(str(os.getpid()))
    os.closerange(3, 1024)
    time.sleep(2 * PATIENCE)
    return "it was never noticed"


@app.task
def grows(megabytes: int) -> int:
    keep.append(b"x" * (megabytes << 20))  # written, so that it is really there
    return os.getpid()


keep: list[bytes] = []


@app.task
def hoards(value: int, kib: int) -> int:
    """Note that it ran, and never let go of some memory; a millisecond's work."""
    note("ran", value)
    keep.append(b"x" * (kib << 10))
    time.sleep(0.001)
    return value


@app.task(ignore_result=True)
def nothing() -> None:
    """As little as a task can do."""


@app.task
def starts_a_program() -> int:
    """A program that a task starts can be terminated: it has not inherited the child's deafness to signals."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    program.terminate()
    return program.wait(10)


class Leaving(Task[..., Any]):
    """A hook of its tasks wants to end the process."""

    abstract = True

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        sys.exit(3)


@app.task(base=Leaving)
def hook_exits(value: object = None) -> object:
    return value
