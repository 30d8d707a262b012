"""Calls of a Celery client, run by an Umbel worker; the results are read by the Celery client."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from interop.harness import CeleryClient, Place, Process, eventually
from interop.harness import umbel_worker as start_umbel_worker
from interop.values import DESCRIBED, VALUES
from umbel import Umbel
from umbel.testing.worker import start_worker

pytestmark = pytest.mark.usefixtures("umbel_worker")


# -------------------------------------------------------------------------------------- values and results


def test_a_call_and_its_result(celery: CeleryClient) -> None:
    assert celery("[add.delay(1, 2).get(timeout=10), side.delay().get(timeout=10)]") == [3, "umbel"]


def test_the_worker_has_nothing_of_celery_in_it(celery: CeleryClient) -> None:
    assert celery("imported.delay('celery', 'kombu', 'billiard', 'umbel').get(timeout=10)") == ["umbel"]


def test_every_type_of_json_arrives_and_returns(celery: CeleryClient) -> None:
    assert celery("describe.delay(*values).get(timeout=10)", values=VALUES) == DESCRIBED
    args, kwargs = celery("echo.delay(*values, nested={'all': values}).get(timeout=10)", values=VALUES)
    assert args == list(VALUES)
    assert [type(value) for value in args] == [type(value) for value in VALUES]
    assert kwargs == {"nested": {"all": list(VALUES)}}


def test_keyword_arguments(celery: CeleryClient) -> None:
    assert celery("add.delay(x='ä', y='☂').get(timeout=10)") == "ä☂"
    assert celery("add.apply_async(args=[1], kwargs={'y': 2}).get(timeout=10)") == 3


def test_a_large_message(celery: CeleryClient) -> None:
    assert celery("len(add.delay('x' * 2_000_000, 'y' * 2_000_000).get(timeout=10))") == 4_000_000


def test_the_result_is_pushed(celery: CeleryClient, place: Place, fresh: str) -> None:
    """Celery's client reads the store once, when it begins to wait; what comes later must be published."""
    task_id = celery("r = wait.delay(gate); r.id", gate=fresh)
    place.arrived(fresh)
    channel = f"celery-task-meta-{task_id}"
    listener = place.results.pubsub()
    listener.subscribe(channel)
    celery.ask("r.get(timeout=10)")
    eventually(lambda: place.results.pubsub_numsub(channel)[0][1] == 2, "the client subscribed")
    place.open(fresh)
    assert celery.answer() == "passed"
    said = next(message["data"] for message in listener.listen() if message["type"] == "message")
    listener.close()
    assert said == place.record(task_id)
    assert 0 < place.results.ttl(channel) <= 86400


def test_several_results_at_once(celery: CeleryClient) -> None:
    assert celery("group(add.s(n, n) for n in range(20))().get(timeout=10)") == [n + n for n in range(20)]


def test_ignored_results(celery: CeleryClient, place: Place, fresh: str) -> None:
    by_task, by_call = celery(
        "[silent.delay(key).id, note.apply_async((1, key), ignore_result=True).id]", key=fresh
    )
    place.noted(fresh)
    place.noted(fresh)
    assert celery("add.delay(1, 1).get(timeout=10)") == 2  # settled after them by the same worker, mostly
    assert place.record(by_task) is None
    assert place.record(by_call) is None


def test_extended_results(celery: CeleryClient, place: Place, fresh: str) -> None:
    with start_umbel_worker(place, fresh, result_extended=True):
        said = celery(
            """
            r = add.apply_async((1,), {"y": 2}, queue=queue)
            r.get(timeout=10)
            [r.name, r.args, r.kwargs, r.worker, r.retries, r.queue]
            """,
            queue=fresh,
        )
    assert said == ["jobs.add", [1], {"y": 2}, f"umbel-{fresh}@interop", 0, fresh]


def test_children(celery: CeleryClient) -> None:
    assert celery(
        """
        r = family.delay(3)
        r.get(timeout=10)
        [[child.get(timeout=10) for child in r.children], len(list(r.collect()))]
        """
    ) == [[0, 2, 4], 4]


def test_the_request(celery: CeleryClient) -> None:
    task_id, said = celery(
        """
        r = request.apply_async(headers={"x-trace": "abc"}, time_limit=20, soft_time_limit=10)
        [r.id, r.get(timeout=10)]
        """
    )
    assert said == {
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "correlation_id": task_id,
        "retries": 0,
        "timelimit": [20, 10],
        "headers": {"x-trace": "abc"},
        "routing_key": "to-umbel",
    }


# ------------------------------------------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("call", "module", "name", "arguments"),
    [
        ("fail.delay('ValueError', 'no', 42)", "builtins", "ValueError", ["no", 42]),
        ("fail.delay('KeyError', 'k')", "builtins", "KeyError", ["k"]),
        ("fail.delay('OutOfStock', 'pears', 3)", "interop.jobs", "OutOfStock", ["pears", 3]),
        ("raise_own.delay('TaskRevokedError', 'x')", "celery.exceptions", "TaskRevokedError", ["x"]),
        ("refuse.delay()", "celery.exceptions", "Reject", ["not for us", False]),
        ("add.delay(1)", "builtins", "TypeError", None),
    ],
)
def test_failures_come_back_as_their_class(
    celery: CeleryClient, call: str, module: str, name: str, arguments: list[object] | None
) -> None:
    if call == "add.delay(1)":
        call = "app.send_task('jobs.add', (1,))"  # which does not check the arguments
    seen = celery(f"outcome({call})")
    assert (seen["state"], seen["module"], seen["class"]) == ("FAILURE", module, name)
    assert arguments is None or seen["args"] == arguments
    assert f"{name}" in seen["traceback"]
    assert "Traceback (most recent call last)" in seen["traceback"]


def test_a_traceback_tells_the_place_and_the_cause(celery: CeleryClient) -> None:
    seen = celery("outcome(fail.delay('caused'))")
    assert "jobs.py" in seen["traceback"]
    assert "KeyError: 'absent'" in seen["traceback"]
    assert "raise ValueError" in seen["traceback"]


def test_exceptions_that_cannot_travel_whole(celery: CeleryClient) -> None:
    unwritable = celery("outcome(fail.delay('unwritable'))")
    assert unwritable["class"] == "Unwritable"
    assert unwritable["args"][0] == "plain"
    local = celery("outcome(fail.delay('local', 'hidden'))")
    assert local["class"].endswith("Hidden")
    assert local["args"] == ["hidden"]


def test_a_result_that_cannot_be_written(celery: CeleryClient) -> None:
    seen = celery("outcome(app.send_task('jobs.unwritable_result'))")
    assert seen["state"] == "FAILURE"
    assert seen["class"] == "EncodeError"


def test_states_of_the_task(celery: CeleryClient, place: Place, fresh: str) -> None:
    celery("r = progress.delay(gate); r.id", gate=fresh)
    place.arrived(fresh)
    eventually(lambda: celery("r.state") == "PROGRESS", "the state was seen")
    assert celery("r.info") == {"done": 3, "of": 10}
    place.open(fresh)
    assert celery("[r.get(timeout=10), r.state]") == ["over", "SUCCESS"]


def test_the_state_started(celery: CeleryClient, place: Place, fresh: str) -> None:
    celery("r = started.delay(gate); r.id", gate=fresh)
    pid = place.arrived(fresh)
    eventually(lambda: celery("r.state") == "STARTED", "the state was seen")
    assert celery("r.info") == {"pid": pid, "hostname": "umbel-to-umbel@interop"}
    place.open(fresh)
    assert celery("r.get(timeout=10)") == "over"


def test_time_limits(celery: CeleryClient) -> None:
    assert celery("clean_up.apply_async((10,), soft_time_limit=0.2).get(timeout=10)") == "cleaned up"
    soft = celery("outcome(sleep.apply_async((10,), soft_time_limit=0.2))")
    assert (soft["module"], soft["class"]) == ("billiard.exceptions", "SoftTimeLimitExceeded")
    hard = celery("outcome(sleep.apply_async((10,), time_limit=0.3))")
    assert (hard["module"], hard["class"]) == ("billiard.exceptions", "TimeLimitExceeded")


def test_a_task_that_kills_its_process(celery: CeleryClient) -> None:
    seen = celery("outcome(die.delay())")
    assert (seen["module"], seen["class"]) == ("billiard.exceptions", "WorkerLostError")
    assert "SIGKILL" in seen["args"][0]


# ---------------------------------------------------------------------------------------------------- time


def test_countdown(celery: CeleryClient) -> None:
    sent, ran = celery(
        "import time; sent = time.time(); [sent, when.apply_async(countdown=0.7).get(timeout=10)]"
    )
    assert 0.7 <= ran - sent < 3


def test_eta(celery: CeleryClient) -> None:
    due, ran = celery(
        """
        from datetime import datetime, timedelta, timezone
        due = datetime.now(timezone(timedelta(hours=-5))) + timedelta(seconds=0.7)
        [due.timestamp(), when.apply_async(eta=due).get(timeout=10)]
        """
    )
    assert 0 <= ran - due < 3


def test_a_waiting_call_survives_the_worker_and_costs_it_nothing(
    celery: CeleryClient, place: Place, fresh: str
) -> None:
    with start_umbel_worker(place, fresh):
        sent = celery(
            "import time; sent = time.time(); r = when.apply_async(queue=queue, countdown=3); sent",
            queue=fresh,
        )
        eventually(lambda: place.messages.zcard(f"umbel:{{{fresh}}}:due") == 1, "the store keeps it")
        assert place.messages.llen(fresh) == 0
        before = place.messages.info("commandstats")
        assert celery("time.sleep(1); r.state") == "PENDING"
        after = place.messages.info("commandstats")
        calls = sum(
            after[command]["calls"] - before.get(command, {"calls": 0})["calls"]
            for command in after
            if command in ("cmdstat_evalsha", "cmdstat_blmove", "cmdstat_eval")
        )
        assert calls < 30, "the call is fetched again and again while it waits"
    assert place.messages.zcard(f"umbel:{{{fresh}}}:due") == 1
    with start_umbel_worker(place, fresh):
        ran = celery("r.get(timeout=10)")
    assert 3 <= ran - sent < 6


def test_expired_calls_are_revoked(celery: CeleryClient, place: Place, fresh: str) -> None:
    celery(
        """
        late = note.apply_async(("ran", queue), queue=queue, expires=0.1)
        in_time = note.apply_async(("in time", queue), queue=queue, expires=60)
        import time; time.sleep(0.2)
        """
        "late.id",
        queue=fresh,
    )
    with start_umbel_worker(place, fresh):
        assert celery("in_time.get(timeout=10)") == "in time"
        seen = celery("outcome(late)")
    assert (seen["state"], seen["module"], seen["class"]) == (
        "REVOKED",
        "celery.exceptions",
        "TaskRevokedError",
    )
    assert seen["args"] == ["expired"]
    assert place.notes.lrange(fresh, 0, -1) == [b"in time"]


def test_retries(celery: CeleryClient) -> None:
    assert celery("flaky.delay(3).get(timeout=10)") == 3
    assert celery("automatic.delay().get(timeout=10)") == 2


def test_the_state_retry(celery: CeleryClient) -> None:
    """Celery's client sees that, and why, a call is going to be tried again."""
    celery("r = flaky.delay(1, pause=1.0); r.id")
    eventually(lambda: celery("r.state") == "RETRY", "the state was seen")
    assert celery("[type(r.info).__name__, r.info.args, r.ready()]") == ["ValueError", ("not yet",), False]
    assert celery("[r.get(timeout=10), r.state]") == [1, "SUCCESS"]


def test_retries_run_out(celery: CeleryClient) -> None:
    with_exc, without = celery("[outcome(hopeless.delay(True)), outcome(hopeless.delay(False))]")
    assert (with_exc["class"], with_exc["args"]) == ("ValueError", ["never"])
    assert (without["module"], without["class"]) == ("celery.exceptions", "MaxRetriesExceededError")


def test_the_order_of_priorities(celery: CeleryClient, place: Place, fresh: str) -> None:
    celery(
        """
        for priority in (9, 3, 0, 6, 9, 0, 6, 3):
            note.apply_async((priority, queue), queue=queue, priority=priority)
        """
        "1",
        queue=fresh,
    )
    with start_umbel_worker(place, fresh):
        assert [place.noted(fresh) for _ in range(8)] == list("00336699")


# ------------------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "zlib", "lzma", "brotli"])
def test_compressions(celery: CeleryClient, compression: str) -> None:
    assert (
        celery("add.apply_async(('ab' * 50, 1 * 'c'), compression=c).get(timeout=10)", c=compression)
        == "ab" * 50 + "c"
    )


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack"])
def test_serializers(celery: CeleryClient, serializer: str) -> None:
    assert celery(
        "echo.apply_async((1, ['ä', None], {'k': 1.5}), serializer=s).get(timeout=10)", s=serializer
    ) == [
        [1, ["ä", None], {"k": 1.5}],
        {},
    ]


def test_pickle_is_refused_unless_asked_for(
    celery: CeleryClient, app: Umbel, place: Place, fresh: str, run_umbel: Callable[..., str]
) -> None:
    task_id, failure = celery("r = add.apply_async((1, 2), serializer='pickle'); [r.id, outcome(r)]")
    assert (failure["state"], failure["module"], failure["class"]) == (
        "FAILURE",
        "kombu.exceptions",
        "ContentDisallowed",
    )
    [letter] = [entry for entry in json.loads(run_umbel("list", "dead", "--json")) if entry["id"] == task_id]
    assert "application/x-python-serialize" in letter["reason"]
    with start_umbel_worker(place, fresh, accept_content=["json", "pickle"]):
        call = "echo.apply_async(({1, 2},), serializer='pickle', queue=queue)"
        assert (
            celery(f"outcome({call})", queue=fresh)["class"] == "EncodeError"
        )  # a set, into a result of JSON
        call = "total.apply_async(({1, 2},), serializer='pickle', queue=queue)"
        assert celery(f"{call}.get(timeout=10)", queue=fresh) == 3


def test_protocol_1(celery: CeleryClient) -> None:
    assert celery(
        """
        import time
        old = make_app(task_protocol=1).send_task
        sent = time.time()
        [
            old("jobs.add", (1, 2)).get(timeout=10),
            outcome(old("jobs.fail", ("ValueError", "no")))["class"],
            old("jobs.flaky", (1,)).get(timeout=10),
            0.5 <= old("jobs.when", countdown=0.5).get(timeout=10) - sent < 5,
            outcome(old("jobs.add", (1, 2), expires=-1))["state"],
            outcome(old("jobs.sleep", (10,), soft_time_limit=0.2))["class"],
            outcome(old("jobs.sleep", (10,), time_limit=0.3))["class"],
        ]
        """
    ) == [3, "ValueError", 1, True, "REVOKED", "SoftTimeLimitExceeded", "TimeLimitExceeded"]


# ----------------------------------------------------------------------------------------------- what follows


def test_link(celery: CeleryClient, place: Place, fresh: str) -> None:
    celery(
        "r = add.apply_async((1, 2), link=[note.s(key), add.s(10).set(link=note.s(key))]); r.id", key=fresh
    )
    assert {place.noted(fresh), place.noted(fresh)} == {"3", "13"}
    assert celery("sorted(child.get(timeout=10) for child in r.children)") == [3, 13]


def test_link_error(celery: CeleryClient, place: Place, fresh: str) -> None:
    task_id = celery("fail.apply_async(('ValueError',), link_error=on_error.s(key)).id", key=fresh)
    assert place.noted(fresh) == task_id
    task_id = celery("refuse.apply_async(link_error=on_error.si('never', key)).id", key=fresh)
    task_id = celery("sleep.apply_async((10,), time_limit=0.3, link_error=on_error.s(key)).id", key=fresh)
    assert place.noted(fresh) == task_id


def test_link_error_with_request_exception_and_traceback(
    celery: CeleryClient, place: Place, fresh: str
) -> None:
    """The errback that Celery's documentation shows takes three arguments."""
    task_id = celery(
        "fail.apply_async(('ValueError', 'no'), link_error=on_error_in_full.s(key=key)).id", key=fresh
    )
    assert place.noted(fresh) == f"{task_id} ValueError('no') Traceback"


def test_chain(celery: CeleryClient) -> None:
    assert celery(
        """
        r = chain(add.s(1, 2), add.s(10), mul.s(2), side.si())()
        [r.get(timeout=10), r.parent.get(), r.parent.parent.get(), r.parent.parent.parent.get()]
        """
    ) == ["umbel", 26, 13, 3]


def test_a_chain_that_breaks(celery: CeleryClient, place: Place, fresh: str) -> None:
    celery(
        "r = chain(add.s(1, 2), fail.si('ValueError', 'no'), note.si('never', key)).apply_async(link_error=on_error.s(key)); r.id",
        key=fresh,
    )
    seen = celery("outcome(r.parent)")
    assert seen["class"] == "ValueError"
    assert place.noted(fresh) == celery("r.parent.id")
    assert celery("outcome(r)")["class"] == "ValueError"  # its parent's


def test_a_chain_across_both_workers(celery: CeleryClient, celery_worker: Process) -> None:
    assert celery(
        """
        here, there = {"queue": "to-umbel"}, {"queue": "to-celery"}
        r = chain(side.s().set(**here), side.s().set(**there), side.s().set(**here), echo.s().set(**there))()
        [r.get(timeout=10), r.parent.get(), r.parent.parent.get(), r.parent.parent.parent.get()]
        """
    ) == [[["umbel"], {}], "umbel", "celery", "umbel"]


def test_a_chord_is_joined(celery: CeleryClient, place: Place, fresh: str) -> None:
    with start_umbel_worker(place, fresh):
        assert celery(
            """
            r = (group(add.s(n, n).set(queue=q) for n in range(3)) | total.s().set(queue=q))()
            [r.get(timeout=10), [member.get(timeout=10) for member in r.parent.results]]
            """,
            q=fresh,
        ) == [6, [0, 2, 4]]
    eventually(
        lambda: not place.results.keys(f"celery-taskset-meta-{celery('r.parent.id')}.[jtsd]"),
        "the join is closed",
    )


# ------------------------------------------------------------------------------------------------ revoking


def test_revoked_by_umbel(celery: CeleryClient, app: Umbel, place: Place, fresh: str) -> None:
    task_id = celery("r = note.apply_async(('ran', queue), queue=queue); r.id", queue=fresh)
    app.AsyncResult(task_id).revoke()
    with start_umbel_worker(place, fresh):
        seen = celery("outcome(r)")
        assert (
            celery("note.apply_async(('after', queue), queue=queue).get(timeout=10)", queue=fresh) == "after"
        )
    assert (seen["state"], seen["class"], seen["args"]) == ("REVOKED", "TaskRevokedError", ["revoked"])
    assert place.notes.lrange(fresh, 0, -1) == [b"after"]


def test_terminated_by_umbel(celery: CeleryClient, app: Umbel, place: Place, fresh: str) -> None:
    task_id = celery("r = wait.delay(gate); r.id", gate=fresh)
    place.arrived(fresh)
    app.AsyncResult(task_id).revoke(terminate=True)
    seen = celery("outcome(r)")
    assert (seen["state"], seen["class"], seen["args"]) == ("REVOKED", "TaskRevokedError", ["terminated"])


# ------------------------------------------------------------------------------------------------ the pools


@pytest.mark.parametrize("pool", ["threads", "asyncio", "solo"])
def test_in_every_pool(celery: CeleryClient, place: Place, fresh: str, pool: str) -> None:
    with start_umbel_worker(place, fresh, pool=pool):
        assert celery(
            """
            there = {"queue": queue}
            [
                [add.apply_async((n, n), **there).get(timeout=10) for n in range(5)],
                outcome(fail.apply_async(("ValueError", "no"), **there))["class"],
                flaky.apply_async((2,), **there).get(timeout=10),
            ]
            """,
            queue=fresh,
        ) == [[0, 2, 4, 6, 8], "ValueError", 2]


def test_a_worker_in_the_test_process(celery: CeleryClient, app: Umbel, fresh: str) -> None:
    with start_worker(app, queues=[fresh]):
        assert celery("add.apply_async((1, 2), queue=queue).get(timeout=10)", queue=fresh) == 3
