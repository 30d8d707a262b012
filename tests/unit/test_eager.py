"""Runs in place: direct calls, apply, always_eager; the request, hooks, retries and callbacks."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from umbel import EagerResult, Request, Task, Umbel, states
from umbel.context import current_request, running
from umbel.errors import (
    EncodeError,
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
)
from umbel.execution import ExceptionInfo, attempt, takes_failure

from .conftest import MakeApp

# ------------------------------------------------------------------------------------------------ requests


def test_a_direct_call_has_an_empty_request(app: Umbel) -> None:
    @app.task(bind=True)
    def look(self: Task[..., Any], x: int) -> tuple[Any, ...]:
        r = self.request
        return r.called_directly, r.id, r.retries, r.args, r.is_eager, current_request()

    assert look(1) == (True, None, 0, (1,), False, None)
    assert look.request.called_directly


def test_the_request_of_a_run_has_celerys_fields(app: Umbel) -> None:
    seen: list[Request] = []

    @app.task(bind=True)
    def look(self: Task[..., Any], x: int, y: int = 0) -> None:
        seen.append(self.request)

    look.apply(
        (1,), {"y": 2}, task_id="my-id", headers={"tenant": "acme"}, time_limit=9, soft_time_limit=8, group_id="g",
        group_index=2, priority=5, queue="q", shadow="pretty", reply_to="me", expires=60,
    )  # fmt: skip
    (request,) = seen
    assert (request.id, request.root_id, request.parent_id) == ("my-id", "my-id", None)
    assert (request.args, request.kwargs, request.retries) == ((1,), {"y": 2}, 0)
    assert (request.is_eager, request.called_directly) == (True, False)
    assert (request.timelimit, request.time_limit, request.soft_time_limit) == ((9, 8), 9, 8)
    assert (request.group, request.taskset, request.group_index) == ("g", "g", 2)
    assert request.delivery_info == {"is_eager": True, "exchange": "", "routing_key": "q", "priority": 5}
    assert (request.shadow, request.reply_to, request.correlation_id) == ("pretty", "me", "my-id")
    assert request.headers == {"tenant": "acme"}
    assert request.get("tenant") == "acme"
    assert request.get("nothing", 3) == 3
    assert request.expires is not None
    assert request.expires > datetime.now(UTC)
    assert request.hostname
    for name in ("chord", "chain", "callbacks", "errbacks", "eta", "origin", "properties", "stamped_headers"):
        assert hasattr(request, name)
    request.anything_else = 1  # type: ignore[attr-defined]


def test_a_task_that_calls_itself_is_called_directly(app: Umbel) -> None:
    @app.task(bind=True)
    def fact(self: Task[..., Any], n: int) -> list[bool]:
        return [self.request.called_directly, *(fact(n - 1) if n else [])]

    assert fact.apply((2,)).get() == [False, True, True]
    assert fact(1) == [True, True]


def test_a_task_called_inside_another_has_a_request_of_its_own(app: Umbel) -> None:
    @app.task(bind=True)
    def inner(self: Task[..., Any]) -> bool:
        return self.request.called_directly

    @app.task(bind=True)
    def outer(self: Task[..., Any]) -> tuple[bool, str | None]:
        return inner(), self.request.id

    assert outer.apply(task_id="o").get() == (True, "o")


def test_threads_and_coroutines_see_their_own_request(app: Umbel) -> None:
    @app.task(bind=True)
    async def look(self: Task[..., Any], barrier: asyncio.Barrier | None) -> str | None:
        if barrier is not None:
            await barrier.wait()
        return self.request.id

    async def main() -> list[Any]:
        barrier = asyncio.Barrier(3)

        async def one(name: str) -> Any:
            with running(look, Request(id=name, called_directly=False)):
                return await look(barrier)

        return await asyncio.gather(*map(one, "abc"))

    assert asyncio.run(main()) == ["a", "b", "c"]
    with running(look, Request(id="here", called_directly=False)):
        other: list[Any] = []
        thread = threading.Thread(target=lambda: other.append(look.request.id))
        thread.start()
        thread.join()
        assert other == [None]
        assert look.request.id == "here"


def test_a_direct_call_of_an_asynchronous_task_is_a_coroutine(app: Umbel) -> None:
    @app.task(bind=True)
    async def fetch(self: Task[..., Any], x: int) -> tuple[int, bool]:
        await asyncio.sleep(0)
        return x, self.request.called_directly

    assert asyncio.run(fetch(3)) == (3, True)
    assert fetch.is_async


# --------------------------------------------------------------------------------------------------- apply


def test_apply_gives_a_result_that_is_there(app: Umbel) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    result = add.apply((1, 2), task_id="x")
    assert isinstance(result, EagerResult)
    assert (result.id, result.get(), result.state, result.name) == ("x", 3, states.SUCCESS, add.name)
    assert result.ready()
    assert result.successful()
    assert result.known()
    assert result.exists()
    assert result.locate() is None
    result.forget()
    result.revoke()
    assert add.s(1).apply((5,)).get() == 6
    assert add.s(1)(5) == 6


def test_apply_keeps_the_failure_or_throws_it(make_app: MakeApp) -> None:
    app = make_app()

    @app.task
    def boom() -> None:
        raise ValueError("no")

    result = boom.apply()
    assert result.failed()
    assert result.state == states.FAILURE
    assert isinstance(result.result, ValueError)
    assert "raise ValueError" in (result.traceback or "")
    with pytest.raises(ValueError, match="no"):
        result.get()
    assert isinstance(result.get(propagate=False), ValueError)
    with pytest.raises(ValueError, match="no"):
        boom.apply(throw=True)
    app.conf.task_eager_propagates = True
    with pytest.raises(ValueError, match="no"):
        boom.apply()
    assert boom.apply(throw=False).failed()


def test_an_asynchronous_task_is_applied_with_and_without_a_loop(app: Umbel) -> None:
    @app.task(bind=True)
    async def fetch(self: Task[..., Any], x: int) -> tuple[int, str | None]:
        await asyncio.sleep(0)
        if x < 0:
            raise ValueError("negative")
        return x, self.request.id

    assert fetch.apply((1,), task_id="a").get() == (1, "a")
    assert fetch.apply((-1,)).failed()

    async def main() -> Any:
        return fetch.apply((2,), task_id="b").get(), fetch.apply((-1,)).state

    assert asyncio.run(main()) == ((2, "b"), states.FAILURE)


# ------------------------------------------------------------------------------------------- always eager


def test_always_eager_runs_what_would_be_sent(make_app: MakeApp) -> None:
    app = make_app(task_always_eager=True)

    @app.task(bind=True)
    def pair(self: Task[..., Any], x: Any, y: int = 2) -> list[Any]:
        return [x, y]

    assert pair.delay(1).get() == [1, 2]
    assert pair.apply_async((1,), {"y": 5}, countdown=100).get() == [1, 5]
    assert [r.get() for r in pair.starmap_async([(1, 2), (3, 4)])] == [[1, 2], [3, 4]]
    assert pair.s(1).delay().get() == [1, 2]
    assert pair.delay((1, 2)).get() == [[1, 2], 2]  # a tuple arrives as a list, as from a message
    with pytest.raises(EncodeError, match="argument 'x'"):
        pair.delay(object())
    with pytest.raises(TypeError):
        pair.delay()  # type: ignore[call-arg]

    async def main() -> list[Any]:
        many = await pair.astarmap_async([(3, 4)])
        return [(await pair.adelay(1)).get(), (await pair.aapply_async((2,))).get(), many[0].get()]

    assert asyncio.run(main()) == [[1, 2], [2, 2], [3, 4]]


def test_eager_results_are_stored_on_demand(make_app: MakeApp) -> None:
    app = make_app(task_store_eager_result=True)

    @app.task
    def one() -> int:
        return 1

    result = one.apply()
    assert app.AsyncResult(result.id).get(timeout=0) == 1


# --------------------------------------------------------------------------------------------------- hooks


class Recorder(Task[..., Any]):
    """Writes down every hook that is called."""

    log: list[tuple[Any, ...]]

    def on_bound(self, app: Umbel) -> None:
        self.log = []

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.log.append(("before_start", task_id, tuple(args), dict(kwargs)))

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.log.append(("on_success", retval))

    def on_failure(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: ExceptionInfo
    ) -> None:
        self.log.append(("on_failure", type(exc), type(exc).__name__ in str(einfo)))

    def on_retry(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: ExceptionInfo
    ) -> None:
        self.log.append(("on_retry", type(exc), einfo.exception is exc))

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        self.log.append(("after_return", status, einfo is None))


def test_hooks_are_called_in_order(app: Umbel) -> None:
    @app.task(base=Recorder)
    def ok(x: int) -> int:
        return x

    ok.apply((1,), task_id="i")
    assert ok.log == [  # type: ignore[attr-defined]
        ("before_start", "i", (1,), {}),
        ("on_success", 1),
        ("after_return", "SUCCESS", True),
    ]
    assert ok(1) == 1
    assert len(ok.log) == 3  # type: ignore[attr-defined]


def test_hooks_of_a_failure_and_of_a_retry(app: Umbel) -> None:
    @app.task(base=Recorder, bind=True, autoretry_for=(OSError,), max_retries=1)
    def bad(self: Task[..., Any]) -> None:
        raise OSError("always")

    bad.apply()
    assert [entry[0] for entry in bad.log] == [
        "before_start",
        "on_retry",
        "before_start",
        "on_failure",
        "after_return",
    ]  # type: ignore[attr-defined]
    assert bad.log[1] == ("on_retry", OSError, True)  # type: ignore[attr-defined]
    assert bad.log[3] == ("on_failure", OSError, True)  # type: ignore[attr-defined]
    assert bad.log[4] == ("after_return", "FAILURE", False)  # type: ignore[attr-defined]


def test_a_hook_that_raises_changes_nothing_and_is_logged(
    app: Umbel, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy(Task[..., Any]):
        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            raise RuntimeError("oops")

    assert app.task(base=Clumsy, name="t")(lambda: 1).apply().get() == 1
    assert "The hook on_success of task t raised" in caplog.text


def test_before_start_that_raises_fails_the_task(app: Umbel) -> None:
    class Guarded(Task[..., Any]):
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            raise PermissionError("closed")

    result = app.task(base=Guarded, name="t")(lambda: 1).apply()
    assert isinstance(result.result, PermissionError)


def test_an_overridden_call_wraps_the_run(app: Umbel) -> None:
    class Wrapped(Task[..., Any]):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return ["wrapped", super().__call__(*args, **kwargs), self.request.id]

    @app.task(base=Wrapped)
    def one() -> int:
        return 1

    assert one.apply(task_id="w").get() == ["wrapped", 1, "w"]


# ------------------------------------------------------------------------------------------------- retries


def test_a_task_that_was_called_directly_cannot_retry(app: Umbel) -> None:
    @app.task(bind=True)
    def again(self: Task[..., Any], exc: Exception | None) -> None:
        raise self.retry(exc=exc)

    with pytest.raises(Retry):
        again(None)
    with pytest.raises(KeyError):
        again(KeyError("x"))


def test_retry_says_all_that_a_worker_needs(app: Umbel) -> None:
    task = app.task(name="t", default_retry_delay=7)(lambda *a, **k: None)
    error = OSError("down")
    with running(task, Request(id="i", retries=1, called_directly=False)):
        with pytest.raises(Retry) as caught:
            task.retry(exc=error)
        plain = caught.value
        with pytest.raises(Retry) as caught:
            task.retry(args=[1], kwargs={"k": 2}, countdown=3, queue="slow", priority=4)
        full = caught.value
        eta = datetime(2031, 1, 1, tzinfo=UTC)
        with pytest.raises(Retry) as caught:
            task.retry(eta=eta, countdown=9)
        timed = caught.value
    assert plain.options == {
        "args": None,
        "kwargs": None,
        "eta": None,
        "countdown": 7,
        "retries": 2,
        "options": {},
    }
    assert (plain.when, plain.exc, plain.__cause__) == (7, error, error)
    assert "OSError('down')" in str(plain)
    assert full.options["args"] == (1,)
    assert full.options["kwargs"] == {"k": 2}
    assert full.options["options"] == {"queue": "slow", "priority": 4}
    assert full.when == 3
    assert timed.when == eta


@pytest.mark.parametrize(
    ("limit", "given", "raised"), [(3, None, True), (5, None, False), (5, 3, True), (None, None, False)]
)
def test_after_max_retries_it_is_over(app: Umbel, limit: int | None, given: int | None, raised: bool) -> None:
    task = app.task(name="t", max_retries=limit)(lambda: None)
    with running(task, Request(id="i", retries=3, called_directly=False, args=(1,))):
        expected = MaxRetriesExceededError if raised else Retry
        with pytest.raises(expected):
            task.retry(max_retries=given)
        with pytest.raises(KeyError if raised else Retry):
            task.retry(exc=KeyError("k"), max_retries=given)


def test_an_eager_retry_runs_again_at_once(app: Umbel) -> None:
    runs: list[tuple[int, Any, Any]] = []

    @app.task(bind=True)
    def again(self: Task[..., Any], x: int) -> str:
        runs.append((self.request.retries, x, self.request.parent_id))
        if x < 3:
            raise self.retry(args=(x + 1,), countdown=1000)
        return "done"

    result = again.apply((1,), task_id="i")
    assert result.get() == "done"
    assert result.id == "i"
    assert runs == [(0, 1, None), (1, 2, "i"), (2, 3, "i")]


def test_retry_without_throwing_lets_the_run_end(app: Umbel) -> None:
    runs = []

    @app.task(bind=True)
    def again(self: Task[..., Any]) -> int:
        runs.append(self.request.retries)
        if self.request.retries < 2:
            assert isinstance(self.retry(throw=False), Retry)
        return len(runs)

    assert again.apply().get() == 3
    assert runs == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "error", "runs", "ending"),
    [
        ({"autoretry_for": (OSError,), "max_retries": 2}, OSError, 3, OSError),
        ({"autoretry_for": OSError, "max_retries": 0}, OSError, 1, OSError),
        (
            {"autoretry_for": (OSError,), "retry_kwargs": {"max_retries": 4}},
            ConnectionError,
            5,
            ConnectionError,
        ),
        ({"autoretry_for": (Exception,), "dont_autoretry_for": (KeyError,)}, KeyError, 1, KeyError),
        ({"autoretry_for": (OSError,)}, ValueError, 1, ValueError),
        ({"autoretry_for": (Exception,)}, Ignore, 1, Ignore),
        ({"autoretry_for": (Exception,)}, Reject, 1, Reject),
    ],
)
def test_autoretry(app: Umbel, options: dict[str, Any], error: Any, runs: int, ending: Any) -> None:
    count = 0

    @app.task(**options)
    def bad() -> None:
        nonlocal count
        count += 1
        raise error

    result = bad.apply()
    assert count == runs
    if ending is Ignore:
        assert (result.state, result.result) == ("IGNORED", None)
    else:
        assert isinstance(result.result, ending)


@pytest.mark.parametrize(
    ("options", "retries", "chance", "delay"),
    [
        ({}, 0, 0.5, 180),
        ({"retry_kwargs": {"countdown": 5}}, 0, 0.5, 5),
        ({"retry_backoff": True, "retry_jitter": False}, 3, 0.5, 8),
        ({"retry_backoff": 5, "retry_jitter": False}, 2, 0.5, 20),
        ({"retry_backoff": True, "retry_jitter": False, "retry_backoff_max": 30}, 20, 0.5, 30),
        ({"retry_backoff": True}, 5, 0.5, 24),
        ({"retry_backoff": True}, 5, 0.0, 16),
    ],
)
def test_autoretry_waits_longer_and_longer(
    app: Umbel, options: dict[str, Any], retries: int, chance: float, delay: float
) -> None:
    task = app.task(name="t", autoretry_for=(OSError,), max_retries=None, **options)(lambda: None)
    with running(task, Request(id="i", retries=retries, called_directly=False)):
        retry = task.autoretry(OSError(), chance)
    assert isinstance(retry, Retry)
    assert retry.when == delay


def test_an_attempt_is_data(app: Umbel) -> None:
    task = app.task(name="t")(lambda: 1 / 0)
    ended = attempt(task, Request(id="i", args=(), kwargs={}, called_directly=False))
    assert (ended.ending, ended.state, type(ended.exc)) == ("failure", "FAILURE", ZeroDivisionError)
    assert repr(ended.einfo) == "<ExceptionInfo: ZeroDivisionError('division by zero')>"


# ------------------------------------------------------------------------------- what follows, and progress


def test_callbacks_get_the_result_and_errbacks_the_failure(app: Umbel) -> None:
    got: list[Any] = []

    @app.task(name="after", bind=True)
    def after(self: Task[..., Any], value: Any, extra: int = 0) -> None:
        got.append(("after", value, extra, self.request.parent_id))

    @app.task(name="failed")
    def failed(task_id: str) -> None:
        got.append(("failed", task_id))

    @app.task(name="failed_new")
    def failed_new(request: Request, exc: BaseException, traceback: str) -> None:
        got.append(("failed_new", request.id, type(exc), "1 / 0" in traceback))

    ok = app.task(name="ok")(lambda: 5)
    bad = app.task(name="bad")(lambda: 1 / 0)
    ok.apply(task_id="i", link=[after.s(extra=1), after.si("fixed")])
    bad.apply(task_id="j", link=after.s(), link_error=[failed.s(), failed_new.s()])
    assert got == [
        ("after", 5, 1, "i"),
        ("after", "fixed", 0, "i"),
        ("failed", "j"),
        ("failed_new", "j", ZeroDivisionError, True),
    ]
    assert takes_failure(failed_new)
    assert not takes_failure(failed)
    assert not takes_failure(after)


def test_children_of_an_eager_run(app: Umbel) -> None:
    leaf = app.task(name="leaf")(lambda: 1)
    parent = app.task(name="parent")(lambda: [leaf.delay().id, leaf.delay().id])
    result = parent.apply()
    assert [child.id for child in result.children] == result.get()


def test_update_state_is_stored_for_whoever_asks(app: Umbel) -> None:
    @app.task(bind=True)
    def work(self: Task[..., Any]) -> None:
        self.update_state(state="PROGRESS", meta={"done": 3})
        self.update_state("another-id", state="HALF", meta=1)

    with running(work, Request(id="i", called_directly=False)):
        work()
    assert (app.AsyncResult("i").state, app.AsyncResult("i").info) == ("PROGRESS", {"done": 3})
    assert app.AsyncResult("another-id").state == "HALF"
    work()  # called directly there is no id, and nothing to store
    reported: list[Any] = []
    request = Request(id="i", called_directly=False)
    request.reporter = lambda state, meta, other: reported.append((state, meta, other))
    with running(work, request):
        work()
    assert reported == [("PROGRESS", {"done": 3}, None), ("HALF", 1, "another-id")]


def test_update_state_without_a_store_does_nothing(make_app: MakeApp) -> None:
    app = make_app(backend=None)
    task = app.task(name="t")(lambda: None)
    with running(task, Request(id="i", called_directly=False)):
        task.update_state(state="PROGRESS")
