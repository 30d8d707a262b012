"""What type checkers must refuse: each line that ends in "# error", and no other. Checked, never run."""

from __future__ import annotations

from typing import Any

from umbel import Task, Umbel, shared_task

app = Umbel("shop")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(bind=True)
def bound(self: Task[..., Any], x: int) -> str:
    return str(x)


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@shared_task
def shared(x: int) -> int:
    return x


add.delay("1")  # error
add.delay()  # error
add.delay(1, 2, 3)  # error
add.delay(1, z=3)  # error
add("1")  # error
bound.delay("1")  # error
bound.delay(add, 1)  # error
fetch.delay(1)  # error
shared.delay(None)  # error
result: str = add.delay(1).get()  # error
late: int = fetch.delay("u").get()  # error
add.apply_async((1,), cuontdown=3)  # error
add.apply_async((1,), countdown="soon")  # error
add.apply_async((1,), priority="high")  # error
app.task(max_retry=3)  # error
app.task(max_retries="3")  # error


async def coroutines() -> None:
    await add.adelay("1")  # error
    await fetch.adelay()  # error
    code: int = await (await fetch.adelay("u")).aget()  # error
    print(code)
