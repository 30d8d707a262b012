"""What type checkers must accept, with the types that they must find. Checked, never run."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from umbel import (
    AsyncResult,
    EagerResult,
    Request,
    ResultSet,
    Signature,
    Task,
    Umbel,
    current_app,
    shared_task,
)

app = Umbel("shop", broker="redis://localhost", backend="redis://localhost/1", task_acks_late=False)


@app.task
def add(x: int, y: int = 0, *, scale: float = 1.0) -> float:
    return (x + y) * scale


@app.task(name="named", max_retries=5, autoretry_for=(OSError,), retry_backoff=True, queue="slow")
def named(text: str) -> list[str]:
    return text.split()


@app.task(bind=True, time_limit=10)
def bound(self: Task[..., Any], x: int) -> str:
    assert_type(self.request, Request)
    self.update_state(state="PROGRESS", meta={"done": x})
    if x < 0:
        raise self.retry(countdown=3, exc=ValueError("negative"))
    return self.name


@app.task(bind=True)
def bound_untyped(self, x: int) -> str:  # type: ignore[no-untyped-def]
    return str(x)


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(bind=True)
async def fetch_bound(self: Task[..., Any], url: str) -> bytes:
    return url.encode()


@shared_task
def shared(x: int) -> int:
    return x


@shared_task(bind=True, name="s")
def shared_bound(self: Task[..., Any], x: int) -> int:
    return x


class Base(Task[..., Any]):
    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        print(self.name, exc)


@app.task(base=Base)
def with_base(x: int) -> int:
    return x


# direct calls
assert_type(add(1, 2, scale=2.0), float)
assert_type(named("a b"), list[str])
assert_type(bound(1), str)
assert_type(shared_bound(1), int)
assert_type(with_base(1), int)

# sending
assert_type(add.delay(1, y=2), AsyncResult[float])
assert_type(add.delay(1, 2).get(timeout=3), float)
assert_type(named.delay("x").get(), list[str])
assert_type(bound.delay(1), AsyncResult[str])
assert_type(bound_untyped.delay(1), AsyncResult[str])
assert_type(fetch.delay("u"), AsyncResult[bytes])
assert_type(fetch.delay("u").get(), bytes)
assert_type(fetch_bound.delay("u"), AsyncResult[bytes])
assert_type(shared.delay(1), AsyncResult[int])
assert_type(shared_bound.delay(x=1), AsyncResult[int])
assert_type(
    add.apply_async(
        (1, 2),
        {"scale": 1.0},
        countdown=10,
        eta=datetime.now(UTC) + timedelta(1),
        expires=60,
        queue="q",
        priority=-3,
        headers={"tenant": "acme"},
        link=named.s(),
        link_error=[bound.si(1)],
        retry=False,
        retry_policy={"max_retries": 1},
        time_limit=3,
        soft_time_limit=2,
        ignore_result=True,
        serializer="json",
        compression="gzip",
        task_id="x",
    ),
    AsyncResult[float],
)
assert_type(fetch.apply_async(("u",)), AsyncResult[bytes])
assert_type(add.apply((1,)), EagerResult[float])
assert_type(fetch.apply(("u",)).get(), bytes)
assert_type(add.starmap_async([(1, 2), (3, 4)], queue="q"), list[AsyncResult[float]])
assert_type(add.s(1), Signature)
assert_type(app.send_task("anything", (1,), {"k": 2}, countdown=3), AsyncResult[Any])
assert_type(app.results([add.delay(1), "id"]), ResultSet)
assert_type(current_app.main, str | None)


async def coroutines() -> None:
    assert_type(await add.adelay(1, 2), AsyncResult[float])
    assert_type(await (await fetch.adelay("u")).aget(timeout=3), bytes)
    assert_type(await fetch.aapply_async(("u",), countdown=3), AsyncResult[bytes])
    assert_type(await fetch("u"), bytes)
    started: Coroutine[Any, Any, bytes] = fetch("u")
    assert_type(await started, bytes)
    assert_type(await app.asend_task("x"), AsyncResult[Any])
