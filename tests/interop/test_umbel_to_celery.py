"""Calls of an Umbel client, run by a Celery worker; the results are read by the Umbel client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from interop.harness import CeleryClient, Place, Process, eventually
from interop.harness import celery_worker as start_celery_worker
from interop.jobs import OutOfStock
from interop.umbel_side import make_app
from interop.values import DESCRIBED, VALUES
from umbel import Umbel, errors

pytestmark = pytest.mark.usefixtures("celery_worker")

PRIORITIES = (0, -100, -33, -66, 0, -1, -100, -34, -67)


# -------------------------------------------------------------------------------------- values and results


def test_a_call_and_its_result(app: Umbel) -> None:
    assert app.tasks["jobs.add"].delay(1, 2).get(timeout=10) == 3
    assert app.tasks["jobs.side"].delay().get(timeout=10) == "celery"
    assert app.send_task("jobs.add", (1,), {"y": 2}).get(timeout=10) == 3


def test_every_type_of_json_arrives_and_returns(app: Umbel) -> None:
    assert app.tasks["jobs.describe"].delay(*VALUES).get(timeout=10) == DESCRIBED
    args, kwargs = app.tasks["jobs.echo"].delay(*VALUES, nested={"all": VALUES}).get(timeout=10)
    assert args == list(VALUES)
    assert [type(value) for value in args] == [type(value) for value in VALUES]
    assert kwargs == {"nested": {"all": list(VALUES)}}


def test_a_large_message(app: Umbel) -> None:
    assert len(app.tasks["jobs.add"].delay("x" * 2_000_000, "y" * 2_000_000).get(timeout=10)) == 4_000_000


def test_many_in_one_round_trip(app: Umbel) -> None:
    results = app.tasks["jobs.add"].starmap_async([(n, n) for n in range(100)])
    assert app.results(results).get(timeout=20) == [n + n for n in range(100)]


async def _await_one(app: Umbel) -> list[Any]:
    first, second = await asyncio.gather(
        app.tasks["jobs.add"].adelay(1, 2), app.asend_task("jobs.fail", ("ValueError", "no"))
    )
    value = await first.aget(timeout=10)
    error = await second.aget(timeout=10, propagate=False)
    return [value, type(error), error.args]


def test_from_coroutines(app: Umbel) -> None:
    assert asyncio.run(_await_one(app)) == [3, ValueError, ("no",)]


def test_the_result_is_pushed(app: Umbel, place: Place, fresh: str) -> None:
    result = app.tasks["jobs.wait"].delay(fresh)
    place.arrived(fresh)
    channel = f"celery-task-meta-{result.id}"
    with pytest.raises(errors.TimeoutError):
        result.get(timeout=0.1)

    async def wait() -> Any:
        waiting = asyncio.ensure_future(result.aget(timeout=10))
        await asyncio.to_thread(
            eventually, lambda: place.results.pubsub_numsub(channel)[0][1] == 1, "the client subscribed"
        )
        place.open(fresh)
        return await waiting

    assert asyncio.run(wait()) == "passed"


def test_ignored_results(app: Umbel, place: Place, fresh: str) -> None:
    silent = app.tasks["jobs.silent"].delay(fresh)
    by_call = app.tasks["jobs.note"].apply_async(("value", fresh), ignore_result=True)
    place.noted(fresh)
    place.noted(fresh)
    assert silent.get(timeout=10) is None
    assert app.tasks["jobs.add"].delay(1, 1).get(timeout=10) == 2
    assert place.record(silent.id) is None
    assert place.record(by_call.id) is None


def test_children(app: Umbel) -> None:
    result = app.tasks["jobs.family"].delay(3)
    assert result.get(timeout=10) == "sent"
    assert [child.get(timeout=10) for child in result.children] == [0, 2, 4]


def test_the_request(app: Umbel) -> None:
    result = app.tasks["jobs.request"].apply_async(
        headers={"x-trace": "abc"}, time_limit=20, soft_time_limit=10
    )
    assert result.get(timeout=10) == {
        "id": result.id,
        "root_id": result.id,
        "parent_id": None,
        "correlation_id": result.id,
        "retries": 0,
        "timelimit": [20, 10],
        "headers": {"x-trace": "abc"},
        "routing_key": "to-celery",
    }


# ------------------------------------------------------------------------------------------------- endings


def test_failures_come_back_as_their_class(app: Umbel) -> None:
    fail = app.tasks["jobs.fail"]
    with pytest.raises(ValueError, match="no") as caught:
        fail.delay("ValueError", "no", 42).get(timeout=10)
    assert caught.value.args == ("no", 42)
    assert "in fail" in str(caught.value.__cause__)
    result = fail.delay("OutOfStock", "pears", 3)
    with pytest.raises(OutOfStock) as stock:
        result.get(timeout=10)
    assert (stock.value.item, stock.value.wanted) == ("pears", 3)
    assert result.failed()
    assert "jobs.py" in (result.traceback or "")
    with pytest.raises(KeyError):
        fail.delay("KeyError", "k").get(timeout=10)


def test_exceptions_that_cannot_travel_whole(app: Umbel) -> None:
    error = app.tasks["jobs.fail"].delay("unwritable").get(timeout=10, propagate=False)
    assert type(error).__name__ == "Unwritable"
    assert error.args[0] == "plain"  # type: ignore[attr-defined]
    error = app.tasks["jobs.fail"].delay("local", "hidden").get(timeout=10, propagate=False)
    assert type(error) is ValueError  # Celery's children send the nearest class that can be pickled


def test_celerys_exceptions_without_celery(app: Umbel, place: Place, fresh: str) -> None:
    """What Celery raises comes back as ours in a process that cannot import Celery."""
    sent = {
        "TaskRevokedError": app.tasks["jobs.add"].apply_async((1, 2), expires=-1),
        "MaxRetriesExceededError": app.tasks["jobs.hopeless"].delay(False),
        "SoftTimeLimitExceeded": app.tasks["jobs.sleep"].apply_async((10,), soft_time_limit=0.3),
        "TimeLimitExceeded": app.tasks["jobs.sleep"].apply_async((10,), time_limit=0.6),
        "Reject": app.tasks["jobs.refuse"].delay(),
        "EncodeError": app.send_task("jobs.unwritable_result"),
        "NotRegistered": app.send_task("jobs.raise_own", ("NotRegistered", "jobs.absent")),
        "ImproperlyConfigured": app.send_task("jobs.raise_own", ("ImproperlyConfigured", "no such setting")),
        "WorkerLostError": app.tasks["jobs.die"].delay(),
    }
    code = """
        import json, sys
        for name in ("celery", "kombu", "billiard", "vine", "amqp"):
            sys.modules[name] = None  # as if they were not installed
        from umbel import Umbel, errors
        broker, backend, ids = json.loads(sys.argv[1])
        app = Umbel("reader", broker=broker, backend=backend)
        for name, task_id in ids.items():
            error = app.AsyncResult(task_id).get(timeout=20, propagate=False)
            ours = isinstance(error, getattr(errors, name, errors.TaskError))
            print(json.dumps([name, type(error).__name__, ours, str(error)]))
    """
    ids = {name: result.id for name, result in sent.items()}
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), json.dumps([place.broker, place.backend, ids])],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    seen = [json.loads(line) for line in said.splitlines()]
    assert [(name, cls, ours) for name, cls, ours, _ in seen] == [(name, name, True) for name in sent]
    texts = {name: text for name, _, _, text in seen}
    assert texts["TaskRevokedError"] == "expired"
    assert "no such setting" in texts["ImproperlyConfigured"]


def test_a_result_that_cannot_be_written(app: Umbel) -> None:
    result = app.send_task("jobs.unwritable_result")
    with pytest.raises(errors.EncodeError):
        result.get(timeout=10)


def test_states_of_the_task(app: Umbel, place: Place, fresh: str) -> None:
    result = app.tasks["jobs.progress"].delay(fresh)
    place.arrived(fresh)
    assert result.state == "PROGRESS"
    assert result.info == {"done": 3, "of": 10}
    assert not result.ready()
    place.open(fresh)
    assert result.get(timeout=10) == "over"
    assert result.state == "SUCCESS"


def test_the_state_started(app: Umbel, place: Place, fresh: str) -> None:
    result = app.tasks["jobs.started"].delay(fresh)
    pid = place.arrived(fresh)
    assert result.state == "STARTED"
    assert result.info == {"pid": pid, "hostname": "celery-to-celery@interop"}
    place.open(fresh)
    assert result.get(timeout=10) == "over"


def test_time_limits(app: Umbel) -> None:
    clean_up = app.tasks["jobs.clean_up"].apply_async((10,), soft_time_limit=0.3)
    assert clean_up.get(timeout=10) == "cleaned up"
    with pytest.raises(errors.SoftTimeLimitExceeded):
        app.tasks["jobs.sleep"].apply_async((10,), soft_time_limit=0.3).get(timeout=10)
    with pytest.raises(errors.TimeLimitExceeded):
        app.tasks["jobs.sleep"].apply_async((10,), time_limit=0.6).get(timeout=10)


# ---------------------------------------------------------------------------------------------------- time


def test_countdown(app: Umbel) -> None:
    sent = time.time()
    ran = app.tasks["jobs.when"].apply_async(countdown=1.0).get(timeout=10)
    assert 1.0 <= ran - sent < 5


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-5)), None])
def test_eta(app: Umbel, zone: timezone | None) -> None:
    due = datetime.now(zone or UTC) + timedelta(seconds=1)
    ran = app.tasks["jobs.when"].apply_async(eta=due if zone else due.replace(tzinfo=None)).get(timeout=10)
    assert 0 <= ran - due.timestamp() < 5


def test_expires(app: Umbel, place: Place, fresh: str) -> None:
    late = app.tasks["jobs.note"].apply_async(("ran", fresh), queue=fresh, expires=0.1)
    in_time = app.tasks["jobs.note"].apply_async(
        ("in time", fresh), queue=fresh, expires=datetime.now(UTC) + timedelta(minutes=1)
    )
    time.sleep(0.2)  # until it has expired
    with start_celery_worker(place, fresh):
        assert in_time.get(timeout=10) == "in time"
        with pytest.raises(errors.TaskRevokedError, match="expired"):
            late.get(timeout=10)
    assert late.state == "REVOKED"
    assert place.notes.lrange(fresh, 0, -1) == [b"in time"]


def test_retries(app: Umbel) -> None:
    assert app.tasks["jobs.flaky"].delay(2).get(timeout=20) == 2
    assert app.tasks["jobs.automatic"].delay().get(timeout=20) == 2


def test_the_state_retry(app: Umbel) -> None:
    result = app.tasks["jobs.flaky"].delay(1, pause=2.0)
    eventually(lambda: result.state == "RETRY", "the state was seen")
    error = result.info
    assert isinstance(error, ValueError)
    assert error.args == ("not yet",)
    assert not result.ready()
    assert result.get(timeout=10) == 1


def test_retries_run_out(app: Umbel) -> None:
    with pytest.raises(ValueError, match="never"):
        app.tasks["jobs.hopeless"].delay(True).get(timeout=20)
    with pytest.raises(errors.MaxRetriesExceededError):
        app.tasks["jobs.hopeless"].delay(False).get(timeout=20)


def test_the_order_of_priorities(app: Umbel, place: Place, fresh: str) -> None:
    for number, priority in enumerate(PRIORITIES):
        app.tasks["jobs.note"].apply_async((f"{priority} {number}", fresh), queue=fresh, priority=priority)
    bands = {0: 0, -1: 1, -33: 1, -34: 2, -66: 2, -67: 3, -100: 3}
    expected = sorted(range(len(PRIORITIES)), key=lambda number: (bands[PRIORITIES[number]], number))
    with start_celery_worker(place, fresh):
        served = [int(place.noted(fresh).split()[1]) for _ in PRIORITIES]
    assert served == expected


def test_higher_priorities_than_celery_knows_are_served_in_order_of_arrival(
    app: Umbel, place: Place, fresh: str
) -> None:
    """Nothing is sooner than Celery's 0, which is our 0 as well; what matters is that they all arrive."""
    for priority in (0, 100, 50):
        app.tasks["jobs.note"].apply_async((priority, fresh), queue=fresh, priority=priority)
    with start_celery_worker(place, fresh):
        assert [place.noted(fresh) for _ in range(3)] == ["0", "100", "50"]


# ------------------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "zlib", "lzma", "brotli"])
def test_compressions(app: Umbel, compression: str) -> None:
    result = app.tasks["jobs.add"].apply_async(("ab" * 50, "c"), compression=compression)
    assert result.get(timeout=10) == "ab" * 50 + "c"


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
def test_serializers(app: Umbel, serializer: str) -> None:
    result = app.tasks["jobs.echo"].apply_async((1, ["ä", None], {"k": 1.5}), serializer=serializer)
    assert result.get(timeout=10) == [[1, ["ä", None], {"k": 1.5}], {}]


@pytest.mark.parametrize("serializer", ["yaml", "msgpack", "pickle"])
def test_serializers_of_results(place: Place, fresh: str, serializer: str) -> None:
    mine = make_app(
        place.broker, place.backend, fresh, result_serializer=serializer, result_accept_content=[serializer]
    )
    with start_celery_worker(
        place,
        fresh,
        result_serializer=serializer,
        result_accept_content=[serializer],
        result_compression="gzip",
    ):
        assert mine.tasks["jobs.echo"].delay("ä", [1]).get(timeout=10) == [["ä", [1]], {}]
        with pytest.raises(ValueError, match="no"):
            mine.tasks["jobs.fail"].delay("ValueError", "no").get(timeout=10)


def test_extended_results(app: Umbel, place: Place, fresh: str) -> None:
    with start_celery_worker(place, fresh, result_extended=True):
        result = app.tasks["jobs.add"].apply_async((1,), {"y": 2}, queue=fresh)
        assert result.get(timeout=10) == 3
    assert [result.name, result.args, result.kwargs, result.worker, result.retries, result.queue] == [
        "jobs.add",
        [1],
        {"y": 2},
        f"celery-{fresh}@interop",
        0,
        fresh,
    ]


def test_protocol_1(place: Place) -> None:
    old = make_app(place.broker, place.backend, "to-celery", task_protocol=1)
    assert old.tasks["jobs.add"].delay(1, 2).get(timeout=10) == 3
    with pytest.raises(ValueError, match="no"):
        old.tasks["jobs.fail"].delay("ValueError", "no").get(timeout=10)
    assert old.tasks["jobs.flaky"].delay(1).get(timeout=20) == 1
    with pytest.raises(errors.TaskRevokedError):
        old.tasks["jobs.add"].apply_async((1, 2), expires=-1).get(timeout=10)
    sent = time.time()
    assert 1 <= old.tasks["jobs.when"].apply_async(countdown=1).get(timeout=10) - sent < 5


# --------------------------------------------------------------------------------------------- what follows


def test_link(app: Umbel, place: Place, fresh: str) -> None:
    note, add = app.tasks["jobs.note"], app.tasks["jobs.add"]
    result = add.apply_async((1, 2), link=[note.s(fresh), add.s(10).set(link=[note.s(fresh)])])
    assert {place.noted(fresh), place.noted(fresh)} == {"3", "13"}
    [callbacks] = result.children  # Celery makes a group of them
    assert callbacks.get(timeout=10) == [3, 13]


def test_link_error(app: Umbel, place: Place, fresh: str) -> None:
    on_error = app.tasks["jobs.on_error"]
    result = app.tasks["jobs.fail"].apply_async(("ValueError",), link_error=on_error.s(fresh))
    assert place.noted(fresh) == result.id


def test_the_rest_of_a_chain(app: Umbel, fresh: str) -> None:
    """In Celery's order: reversed, each with the id that its call is going to have."""
    echo, mul = app.tasks["jobs.echo"], app.tasks["jobs.mul"]
    last, second = echo.s().set(task_id=f"{fresh}-3"), mul.s(10).set(task_id=f"{fresh}-2")
    result = app.tasks["jobs.add"].apply_async((1, 2), chain=[last, second])
    assert app.AsyncResult(f"{fresh}-3").get(timeout=10) == [[30], {}]
    [child] = result.children
    assert (child.id, child.get(timeout=10)) == (f"{fresh}-2", 30)


# ----------------------------------------------------------------------------------------- between processes


def test_read_by_celery_too(app: Umbel, celery: CeleryClient) -> None:
    result = app.tasks["jobs.add"].delay(1, 2)
    assert celery("AsyncResult(i).get(timeout=10)", i=result.id) == 3
    assert result.get(timeout=10) == 3
    celery("AsyncResult(i).forget(); 0", i=result.id)
    assert app.AsyncResult(result.id).state == "PENDING"


def test_the_commands_call_and_result(run_umbel: Callable[..., str], celery_worker: Process) -> None:
    task_id = run_umbel("call", "jobs.add", "--args", "[1, 2]", "--queue", "to-celery").split()[-1]
    assert run_umbel("result", task_id, "--wait", "10").strip().endswith("3")
