"""Tasks of the live programs, for both engines."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, Task, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery("live_jobs", broker=os.environ["LIVE_REDIS"], backend=os.environ["LIVE_REDIS"])
app.conf.update(
    task_default_queue="live",
    result_extended=True,
    task_track_started=True,
    task_routes={"live_jobs.routed": {"queue": "live-other"}, "live_jobs.glob_*": {"queue": "live-other"}},
    result_expires=3600,
    accept_content=["json", "pickle", "yaml"],
)
_hooks: list[str] = []


@app.task
def add(x: Any, y: Any) -> Any:
    return x + y


@app.task
def mul(x: int, y: int) -> int:
    return x * y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def echo(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@app.task(bind=True)
def request_of(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
    r = self.request
    return {
        "args": list(r.args),
        "kwargs": dict(r.kwargs),
        "retries": r.retries,
        "eager": r.is_eager,
        "direct": r.called_directly,
        "root": r.root_id == r.id,
        "parent": r.parent_id,
        "headers": {k: v for k, v in (r.headers or {}).items() if k.startswith("x-")},
        "priority": r.delivery_info["priority"],
        "key": r.delivery_info["routing_key"],
        "limits": list(r.timelimit or ()),
        "eta": r.eta is not None,
        "expires": r.expires is not None,
        "group": r.group,
        "reply": bool(r.reply_to),
        "correlated": r.correlation_id == r.id,
        "ignore": r.ignore_result,
        "host": r.hostname.split("@")[0],
        "shadow": r.shadow,
        "got": r.get("no-such-thing", 3),
    }


@app.task(throws=(KeyError,))
def fail(kind: str = "value") -> None:
    raise {"value": ValueError, "key": KeyError, "type": TypeError}[kind]("as it should")


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def retried(self: Task, until: int) -> int:
    if self.request.retries < until:
        raise self.retry(exc=ValueError("again"))
    return int(self.request.retries)


@app.task(autoretry_for=(ValueError,), retry_kwargs={"max_retries": 2, "countdown": 0})
def auto(counter: str) -> int:
    with open(counter, "a") as file:
        file.write("x")
    with open(counter) as file:
        runs = len(file.read())
    if runs < 3:
        raise ValueError(runs)
    return runs


@app.task
def ignores() -> None:
    raise Ignore("nothing to say")


@app.task(acks_late=True)
def rejects() -> None:
    raise Reject("no", requeue=False)


@app.task(soft_time_limit=1)
def soft() -> str:
    try:
        time.sleep(10)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "never"


@app.task(bind=True)
def progress(self: Task, gate: str) -> str:
    self.update_state(state="PROGRESS", meta={"done": 50})
    while not os.path.exists(gate):
        time.sleep(0.01)
    return "done"


@app.task(bind=True)
def replaced(self: Task, x: int) -> Any:
    raise self.replace(add.s(x, 100))


@app.task(bind=True)
def replaced_by_group(self: Task, n: int) -> Any:
    from celery import group

    raise self.replace(group(mul.s(i, 2) for i in range(n)))


@app.task(bind=True)
def replaced_by_chain(self: Task, n: int) -> Any:
    raise self.replace(add.s(n, 1) | add.s(1))


@app.task(bind=True)
def adds_to_chord(self: Task, x: int) -> int:
    self.add_to_chord(add.si(x, 10))
    return x


@app.task
def parent_of(n: int) -> list[str]:
    return [add.delay(i, i).id for i in range(n)]


@app.task(ignore_result=True)
def silent() -> int:
    return 1


@app.task
def routed() -> str:
    return "routed"


@app.task
def glob_one() -> str:
    return "glob"


@shared_task(name="live.shared")
def shared(x: int) -> int:
    return x


class Hooked(Task):
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note(kwargs, "before_start")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note(kwargs, f"on_success {retval}")

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(kwargs, f"on_failure {exc!r} {type(einfo).__name__}")

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(kwargs, f"on_retry {exc!r}")

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        note(kwargs, f"after_return {status}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        note(kwargs, "__call__")
        return super().__call__(*args, **kwargs)


def note(kwargs: dict[str, Any], line: str) -> None:
    with open(kwargs["path"], "a") as file:
        file.write(line + "\n")


@app.task(base=Hooked, bind=True, max_retries=1)
def hooked(self: Task, how: str, path: str = "") -> str:
    if how == "fail":
        raise ValueError(how)
    if how == "retry" and not self.request.retries:
        raise self.retry(countdown=0, exc=ValueError("once"))
    return how


@app.task
def on_error(request: Any, exc: BaseException, traceback: Any) -> None:
    note({"path": os.environ["LIVE_ERRORS"]}, f"{type(exc).__name__} {exc}")


@app.task
def on_error_id(task_id: str, path: str) -> None:
    note({"path": path}, "old-style")


@app.task
def write(value: Any, path: str) -> Any:
    note({"path": path}, repr(value))
    return value
