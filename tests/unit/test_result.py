"""Results: waiting, looking, failing, forgetting; one and many; from threads and from coroutines."""

from __future__ import annotations

import asyncio
import builtins
import json
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import umbel.errors
from umbel import AsyncResult, Umbel, allow_join_result, portal
from umbel.codecs.failures import failure_from_exception
from umbel.core.outcome import ResultMeta
from umbel.errors import IncompleteStream, TaskError, TaskRevokedError
from umbel.ports import Signal

from .conftest import MakeApp


class OwnError(Exception):
    """Raised "in a worker"."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def finish(app: Umbel, task_id: str, value: Any = None, **fields: Any) -> None:
    """Store an outcome as a worker would."""
    fields.setdefault("status", "SUCCESS")
    app.store_meta(ResultMeta(task_id=task_id, result=value, **fields))


def fail(app: Umbel, task_id: str, exc: BaseException, status: str = "FAILURE") -> None:
    try:
        raise exc
    except BaseException as raised:  # noqa: BLE001
        finish(app, task_id, failure_from_exception(raised), status=status)


def soon(action: Callable[..., None], *args: Any) -> threading.Timer:
    timer = threading.Timer(0.1, action, args)
    timer.start()
    return timer


@pytest.fixture
def stored(make_app: MakeApp, url: str) -> Umbel:
    """An app whose store is in memory, and one whose store is a file."""
    return make_app(broker=url)


# ------------------------------------------------------------------------------------------------- waiting


def test_get_waits_until_the_result_comes(stored: Umbel) -> None:
    soon(finish, stored, "a", {"x": [1, 2]})
    result = stored.AsyncResult("a")
    assert not result.ready()
    assert result.get(timeout=10) == {"x": [1, 2]}
    assert result.ready()
    assert result.successful()
    assert not result.failed()
    assert result.state == result.status == "SUCCESS"
    assert result.info == {"x": [1, 2]}


def test_get_sleeps_through_states_that_are_not_the_end(stored: Umbel) -> None:
    finish(stored, "a", {"pid": 1}, status="STARTED")
    soon(finish, stored, "a", 5)
    assert stored.AsyncResult("a").get(timeout=10) == 5


def test_aget_waits_in_any_event_loop(stored: Umbel) -> None:
    async def main() -> list[Any]:
        soon(finish, stored, "a", 1)
        results = stored.AsyncResult("a"), stored.AsyncResult("a")
        return list(await asyncio.gather(*(r.aget(timeout=10) for r in results)))

    assert asyncio.run(main()) == [1, 1]
    assert asyncio.run(stored.AsyncResult("a").aget(timeout=0)) == 1
    assert stored.AsyncResult("a").get(timeout=0) == 1


def test_celerys_arguments_of_get_that_mean_nothing_here_are_ignored(stored: Umbel) -> None:
    finish(stored, "a", 1)
    results = stored.results(["a"])
    for get, value in ((stored.AsyncResult("a").get, 1), (results.get, [1]), (results.join, [1])):
        assert get(10, True, 0.5, no_ack=True, follow_parents=False, on_message=None) == value
        with pytest.warns(RuntimeWarning, match=r"on_interval=.*never called") as warned:
            assert get(timeout=10, on_interval=print) == value
        assert warned[0].filename == __file__
        with pytest.raises(TypeError, match=r"'no_akc'.*'no_ack'"):
            get(no_akc=True)  # type: ignore[call-arg]


def test_a_timeout_says_what_is_known(stored: Umbel) -> None:
    with pytest.raises(
        umbel.errors.TimeoutError, match=r"No result of nobody within 0.01 s; nothing is stored for this id"
    ):
        stored.AsyncResult("nobody").get(timeout=0.01)
    finish(stored, "b", None, status="STARTED")
    with pytest.raises(builtins.TimeoutError, match="its state is STARTED"):
        stored.AsyncResult("b").get(timeout=0.01)
    with pytest.raises(umbel.errors.TimeoutError, match="STARTED"):
        asyncio.run(stored.AsyncResult("b").aget(timeout=0.01))


def test_waiting_in_a_cancelled_coroutine_stops(stored: Umbel) -> None:
    async def main() -> None:
        waiter = asyncio.ensure_future(stored.AsyncResult("never").aget())
        await asyncio.sleep(0.05)  # it has to be waiting before it can be cancelled
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter

    asyncio.run(main())


def test_a_callback_gets_id_and_value(stored: Umbel) -> None:
    finish(stored, "a", 3)
    got: list[Any] = []
    stored.AsyncResult("a").get(timeout=5, callback=lambda task_id, value: got.append((task_id, value)))
    assert got == [("a", 3)]


def test_an_ignored_result_is_none_at_once(stored: Umbel) -> None:
    task = stored.task(name="t", ignore_result=True)(lambda: 1)
    result = task.delay()
    assert result.ignored
    assert result.get() is None
    assert asyncio.run(result.aget()) is None
    assert not task.apply_async(ignore_result=False).ignored


# ------------------------------------------------------------------------------------------------ failures


def test_an_exception_comes_back_as_its_own_class_with_the_remote_traceback(stored: Umbel) -> None:
    fail(stored, "a", OwnError(7))
    result = stored.AsyncResult("a")
    with pytest.raises(OwnError) as caught:
        result.get(timeout=5)
    assert caught.value.code == 7
    shown = "".join(traceback.format_exception(caught.value))
    assert "raise exc" in shown
    assert "direct cause" in shown
    assert result.failed()
    assert "raise exc" in (result.traceback or "")
    kept = result.get(propagate=False)
    assert isinstance(kept, OwnError)
    with pytest.raises(OwnError):
        result.maybe_throw()
    with pytest.raises(OwnError):
        asyncio.run(result.aget())


def test_a_class_that_cannot_be_found_becomes_a_task_error_of_that_name(stored: Umbel) -> None:
    class Hidden(Exception):
        pass

    fail(stored, "a", Hidden("gone"))
    with pytest.raises(TaskError, match="gone") as caught:
        stored.AsyncResult("a").get(timeout=5)
    assert type(caught.value).__name__ == "Hidden"


def test_a_revoked_call_raises(stored: Umbel) -> None:
    fail(stored, "a", TaskRevokedError("revoked"), "REVOKED")
    result = stored.AsyncResult("a")
    assert result.ready()
    assert not result.failed()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=5)


# --------------------------------------------------------------------------------------------- looking at it


def test_what_a_record_tells(stored: Umbel) -> None:
    finish(
        stored, "a", 1, date_done=datetime(2026, 1, 2, tzinfo=UTC).isoformat(), name="t", args=[1], kwargs={"k": 2},
        worker="w@h", retries=3, queue="q", children=[[["c1", None], None], [["c2", ["p", None]], None], [["g", None], [[["c3", None], None]]]],
    )  # fmt: skip
    result = stored.AsyncResult("a")
    assert result.date_done == datetime(2026, 1, 2, tzinfo=UTC)
    assert (result.name, result.args, result.kwargs) == ("t", [1], {"k": 2})
    assert (result.worker, result.retries, result.queue) == ("w@h", 3, "q")
    assert [c.id for c in result.children] == ["c1", "c2", "g"]
    assert [c.id for c in result.children[2]] == ["c3"]
    assert result.children[1].parent == AsyncResult("p")
    assert result.maybe_throw() == 1


def test_nothing_is_known_of_a_call_that_has_not_ended(stored: Umbel) -> None:
    result = stored.AsyncResult("x")
    assert (result.state, result.result, result.traceback, result.children, result.date_done, result.name) == (
        "PENDING", None, None, [], None, None,
    )  # fmt: skip


def test_progress_is_seen(stored: Umbel) -> None:
    finish(stored, "a", {"done": 3}, status="PROGRESS")
    result = stored.AsyncResult("a")
    assert (result.state, result.info, result.ready()) == ("PROGRESS", {"done": 3}, False)
    finish(stored, "a", 9)
    assert (result.state, result.result) == ("SUCCESS", 9)


def test_an_id_that_nobody_sent_is_told_from_one_that_waits(stored: Umbel) -> None:
    task = stored.task(name="t")(lambda: None)
    waits = task.delay()
    later = task.apply_async(countdown=60)
    finish(stored, "done", 1)
    assert waits.known()
    assert not waits.exists()
    assert (waits.locate() or later).queue == "celery"  # type: ignore[union-attr]
    where = later.locate()
    assert where is not None
    assert where.shelf == "scheduled"
    assert stored.AsyncResult("done").known()
    assert stored.AsyncResult("done").exists()
    assert not stored.AsyncResult("nobody").known()


def test_without_a_store_a_waiting_call_is_still_known(make_app: MakeApp) -> None:
    app = make_app(backend=None)
    assert app.send_task("t").known()
    assert not app.AsyncResult("nobody").known()


# -------------------------------------------------------------------------------------------------- acting


def test_forget_deletes_the_record(stored: Umbel) -> None:
    finish(stored, "a", 1)
    result = stored.AsyncResult("a")
    assert result.get(timeout=5) == 1
    result.forget()
    assert result.state == "PENDING"
    assert not result.exists()


def test_revoke_is_remembered_by_the_broker_and_told_to_the_nodes(stored: Umbel) -> None:
    result = stored.send_task("t")

    async def listen() -> Signal:
        broker = stored.broker
        await broker.open()
        signals = broker.signals()
        first = asyncio.ensure_future(anext(aiter(signals)))
        await asyncio.sleep(0.05)  # a hint reaches those who listen already
        await asyncio.to_thread(result.revoke, terminate=True, signal="SIGKILL")
        return await asyncio.wait_for(first, 5)

    async def revoked() -> bool:
        (delivery,) = await stored.broker.reserve(["celery"], limit=1, lease=5, wait=1)
        return delivery.revoked

    signal = portal.run(listen())
    assert (signal.kind, signal.ids) == ("revoke", [result.id])
    assert signal.options == {"terminate": True, "signal": "SIGKILL"}
    assert portal.run(revoked())


# ---------------------------------------------------------------------------------------------------- many


def test_many_results_are_waited_for_together(stored: Umbel) -> None:
    finish(stored, "a", 1)
    soon(finish, stored, "b", 2)
    results = stored.results(["a", stored.AsyncResult("b"), AsyncResult("c", app=stored, ignored=True)])
    assert not results.ready()
    assert results.completed_count() == 1
    assert results.get(timeout=10) == [1, 2, None]
    assert results.completed_count() == 2
    assert [r.id for r in results] == ["a", "b", "c"]
    assert (len(results), results[1].id) == (3, "b")
    assert asyncio.run(stored.results(["a", "b"]).aget(timeout=10)) == [1, 2]
    assert stored.results(["a", "b"]).successful()
    results.forget()
    assert stored.AsyncResult("b").state == "PENDING"


def test_one_failure_among_many(stored: Umbel) -> None:
    finish(stored, "a", 1)
    fail(stored, "b", OwnError(3))
    results = stored.results(["a", "b"])
    assert results.failed()
    assert not results.successful()
    with pytest.raises(OwnError):
        results.get(timeout=5)
    assert [type(v) for v in results.get(timeout=5, propagate=False)] == [int, OwnError]
    results.revoke()
    with pytest.raises(umbel.errors.TimeoutError, match="No result of zz"):
        stored.results(["a", "zz"]).get(timeout=0.01)


def test_results_as_they_come(stored: Umbel) -> None:
    finish(stored, "a", 1)
    results = stored.results(["b", "a", "c"])
    come = results.as_completed(timeout=10)
    assert next(come).id == "a"
    finish(stored, "b", None, status="STARTED")
    fail(stored, "c", OwnError(1))
    assert next(come).id == "c"
    finish(stored, "b", 2)
    assert next(come).get() == 2
    assert list(come) == []
    assert [r.id for r in results.as_completed()] == ["b", "a", "c"]
    with pytest.raises(umbel.errors.TimeoutError, match="No result of zz"):
        list(stored.results(["zz", "a"]).as_completed(timeout=0.01))


def test_a_look_at_the_first_result_leaves_no_watch_behind(stored: Umbel) -> None:
    finish(stored, "a", 1)
    for result in stored.results(["a", "never"]).as_completed():
        assert result.id == "a"
        break


# ----------------------------------------------------------------------------------------------- deadlocks


def test_waiting_inside_a_task_is_refused_unless_one_insists(make_app: MakeApp) -> None:
    app = make_app()
    finish(app, "a", 1)

    @app.task
    def wait() -> Any:
        return app.AsyncResult("a").get(timeout=5)

    @app.task
    def wait_many() -> Any:
        return app.results(["a"]).get(timeout=5)

    @app.task
    def insist() -> Any:
        with allow_join_result():
            return app.AsyncResult("a").get(timeout=5)

    @app.task
    def disable() -> Any:
        return app.AsyncResult("a").get(timeout=5, disable_sync_subtasks=False)

    @app.task
    async def politely() -> Any:
        return await app.AsyncResult("a").aget(timeout=5)

    for task in (wait, wait_many):
        with pytest.raises(RuntimeError, match=r"Never call result.get\(\) within a task"):
            task.apply().get()
        assert task()
    assert insist.apply().get() == disable.apply().get() == politely.apply().get() == 1


# ----------------------------------------------------------------------------------------------- as values


def test_results_are_values(make_app: MakeApp) -> None:
    app = make_app(set_as_current=True)
    child = AsyncResult("a", parent=AsyncResult("p"))
    assert child == AsyncResult("a") == "a"
    assert child != AsyncResult("b")
    assert len({child, AsyncResult("a")}) == 1
    assert (str(child), repr(child), child.task_id) == ("a", "<AsyncResult: a>", "a")
    assert child.as_tuple() == (("a", (("p", None), None)), None)
    assert child.as_list() == ["a", "p"]
    assert pickle.loads(pickle.dumps(child)) == child
    assert child.app is app
    with pytest.raises(ValueError, match="the id of a call"):
        AsyncResult("")


def test_records_of_other_serializers_are_read_as_the_settings_say(make_app: MakeApp) -> None:
    app = make_app(result_serializer="pickle", accept_content=["json"], result_accept_content=["pickle"])
    finish(app, "a", {1, 2})
    assert app.AsyncResult("a").get(timeout=5) == {1, 2}
    packed = make_app(result_compression="gzip", result_expires=None)
    finish(packed, "a", "x" * 1000)
    assert packed.AsyncResult("a").get(timeout=5) == "x" * 1000


def test_a_result_is_read_in_another_process(make_app: MakeApp, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    app = make_app(broker=url)
    code = (
        "import sys; from umbel import Umbel; from umbel.core.outcome import ResultMeta; "
        f"app = Umbel('x', broker={url!r}, backend={url!r}); "
        "app.store_meta(ResultMeta(task_id='far', status='SUCCESS', result=42)); app.close()"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert app.AsyncResult("far").get(timeout=30) == 42
    finally:
        assert process.wait(30) == 0


# -- several at once


def test_a_set_of_results_can_be_changed(stored: Umbel) -> None:
    one, two = stored.AsyncResult("1"), stored.AsyncResult("2")
    results = stored.results([one])
    results.update([one, two])
    assert results.results == [one, two]
    results.remove("1")
    results.discard(one)
    with pytest.raises(KeyError):
        results.remove(one)
    assert results.results == [two]
    results.clear()
    assert not results.results


def test_groups_within_groups(stored: Umbel) -> None:
    inner = stored.GroupResult("inner", [stored.AsyncResult("1"), stored.AsyncResult("2")])
    outer = stored.GroupResult("outer", [inner, stored.AsyncResult("3")], stored.AsyncResult("before"))
    for number in (1, 2):
        finish(stored, str(number), number)
    assert (outer.ready(), outer.waiting(), outer.completed_count()) == (False, True, 2)
    finish(stored, "3", 3)
    assert outer.get(timeout=1) == [[1, 2], 3]
    assert (outer.ready(), outer.successful(), outer.completed_count()) == (True, True, 3)
    assert dict(outer.iter_native())["2"]["result"] == 2
    assert outer.as_list() == ["outer", "before"]
    again = stored.result_from_tuple(json.loads(json.dumps(outer.as_tuple())))
    assert again == outer
    assert (again.results[0].id, again.parent.id) == ("inner", "before")


def test_a_failure_among_several(stored: Umbel) -> None:
    finish(stored, "1", 1)
    fail(stored, "2", ValueError("no"))
    results = stored.results(["1", "2"])
    assert (results.failed(), results.successful()) == (True, False)
    with pytest.raises(ValueError, match="no"):
        results.maybe_throw()
    with pytest.raises(ValueError, match="no"):
        results.get(timeout=1)
    assert [type(value) for value in results.get(timeout=1, propagate=False)] == [int, ValueError]


def test_what_follows_is_not_known_before_a_call_has_ended(stored: Umbel) -> None:
    result = stored.AsyncResult("1")
    with pytest.raises(IncompleteStream):
        list(result.iterdeps())
    assert list(result.iterdeps(intermediate=True)) == [(None, result)]
    finish(stored, "1", 1, children=[[["2", None], None]])
    finish(stored, "2", 2, children=[])
    assert [value for _, value in result.collect()] == [1, 2]
    assert result.get_leaf() == 2
