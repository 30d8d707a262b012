"""What a task can do and what its caller sees of it: the same in every pool, on every backend."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from umbel.errors import EncodeError, Ignore, MaxRetriesExceededError, Reject, TimeoutError
from worker.conftest import Running
from worker.harness import eventually

WAIT = 20.0


# -- values and errors


@pytest.mark.parametrize("task", ["add", "add_async"])
def test_the_result_comes_back(running: Running, task: str) -> None:
    result = running.site.call(task, 2, 3)
    assert result.get(timeout=WAIT) == 5
    assert result.state == "SUCCESS"
    assert result.successful()
    assert result.date_done is not None
    assert abs((datetime.now(UTC) - result.date_done).total_seconds()) < 60


def test_many_results_come_back_in_order(running: Running) -> None:
    results = running.site.calls("add", [(n, n) for n in range(200)])
    assert running.site.app.results(results).get(timeout=WAIT) == [2 * n for n in range(200)]


def test_an_error_comes_back_as_itself(running: Running) -> None:
    result = running.site.call("fail", "such luck")
    with pytest.raises(ValueError, match="such luck") as caught:
        result.get(timeout=WAIT)
    assert result.state == "FAILURE"
    assert "in fail" in (result.traceback or "")
    assert "in fail" in str(caught.value.__cause__)


def test_the_log_shows_the_traceback_of_an_error(running: Running, unique: str) -> None:
    result = running.site.call("fail", unique)
    result.get(timeout=WAIT, propagate=False)
    running.worker.wait_for(rf"ERROR.*Task jobs\.fail\[{result.id}\] raised after .*ValueError: {unique}")
    running.worker.wait_for(rf"^ValueError: {unique}")


def test_the_log_shows_no_traceback_of_an_error_in_throws(running: Running) -> None:
    result = running.site.call("fail_as_expected")
    with pytest.raises(KeyError):
        result.get(timeout=WAIT)
    running.worker.wait_for(rf"jobs\.fail_as_expected\[{result.id}\].*KeyError: 'expected'")
    assert not any(line.startswith("KeyError") for line in running.worker.lines)


def test_a_value_that_cannot_be_written_is_a_failure(running: Running) -> None:
    result = running.site.call("unwritable")
    with pytest.raises(Exception, match="set"):
        result.get(timeout=WAIT)
    assert result.state == "FAILURE"


def test_sys_exit_ends_the_task_not_the_process(running: Running) -> None:
    pids = set(running.worker.child_pids)
    result = running.site.call("leave")
    with pytest.raises(BaseException, match="4"):
        result.get(timeout=WAIT)
    assert result.state == "FAILURE"
    assert set(running.worker.child_pids) == pids


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("surrogate", "ValueError"),
        ("unspeakable", "Unspeakable"),
        ("large", "ValueError"),
        ("circular", "ValueError"),
        ("recursion", "RecursionError"),
        ("group", "ExceptionGroup"),
        ("interrupt", "KeyboardInterrupt"),
        ("exit", "SystemExit"),
        ("stop", "StopIteration"),
        ("cancelled", "CancelledError"),
        ("generator", "GeneratorExit"),
        ("local", "Local"),
    ],
)
def test_an_error_that_is_hard_to_write_down_is_a_failure_like_any(
    running: Running, kind: str, name: str
) -> None:
    plain, coroutine = running.site.call("odd_error", kind), running.site.call("odd_error_async", kind)
    assert type(plain.get(timeout=WAIT, propagate=False)).__name__ == name
    # Python itself makes this one of a StopIteration that leaves a coroutine.
    expected = "RuntimeError" if kind == "stop" else name
    assert type(coroutine.get(timeout=WAIT, propagate=False)).__name__ == expected
    assert plain.state == coroutine.state == "FAILURE"


def test_text_that_utf_8_cannot_hold_comes_back(running: Running) -> None:
    assert running.site.call("odd_value").get(timeout=WAIT) == "caf\udce9"


def test_a_state_that_is_no_text_is_refused(running: Running) -> None:
    with pytest.raises(TypeError, match="state of a task is a string"):
        running.site.call("odd_state").get(timeout=WAIT)


def test_a_program_that_a_task_starts_can_be_terminated(running: Running) -> None:
    assert running.site.call("starts_a_program").get(timeout=WAIT) == -15


def test_ignored_results_are_not_kept(running: Running, unique: str) -> None:
    for fails in (False, True):
        result = running.site.call("forgettable", fails)
        running.site.call("mark", unique).get(timeout=WAIT)
        eventually(lambda: result.locate() is None)  # noqa: B023 - called at once
        assert running.site.app.store.get_now([result.id]) == {}


def test_a_call_may_keep_a_result_that_its_task_ignores(running: Running) -> None:
    assert running.site.call("forgettable", ignore_result=False).get(timeout=WAIT) == 1


def test_a_call_may_ignore_a_result_that_its_task_keeps(running: Running, unique: str) -> None:
    result = running.site.call("mark", unique, ignore_result=True)
    running.site.wait_for_note("ran", unique)
    eventually(lambda: result.locate() is None)
    assert result.get() is None
    assert running.site.app.store.get_now([result.id]) == {}


# -- retries


@pytest.mark.parametrize("tries", [0, 1, 3])
def test_a_retry_runs_again(running: Running, tries: int) -> None:
    assert running.site.call("retried", tries).get(timeout=WAIT) == tries


def test_autoretry_runs_again_until_its_tries_are_used_up(running: Running) -> None:
    result = running.site.call("autoretried")
    with pytest.raises(Exception, match="again"):
        result.get(timeout=WAIT)
    tries = [line for line in running.site.notes() if line.endswith(result.id)]
    assert tries == [f"try {n} {result.id}" for n in range(2)]


def test_what_autoretry_is_not_for_fails_at_once(running: Running) -> None:
    result = running.site.call("autoretried", True)
    with pytest.raises(Exception, match="hopeless"):
        result.get(timeout=WAIT)
    assert f"try 1 {result.id}" not in running.site.notes()


def test_a_backoff_is_waited_for_in_the_store(running: Running) -> None:
    result = running.site.call("backs_off")
    scheduled = eventually(
        lambda: next((m for m in running.site.shelf("scheduled") if m.task_id == result.id), None)
    )
    assert scheduled.due_in is not None
    assert 80 < scheduled.due_in <= 100
    assert result.state == "RETRY"
    assert "again" in str(result.info)


def test_after_max_retries_the_error_itself_comes(running: Running) -> None:
    result = running.site.call("never_enough", True)
    with pytest.raises(Exception, match="still broken") as caught:
        result.get(timeout=WAIT)
    assert type(caught.value).__name__ == "Flaky"


def test_after_max_retries_without_an_error_comes_max_retries_exceeded(running: Running) -> None:
    with pytest.raises(MaxRetriesExceededError, match="never_enough"):
        running.site.call("never_enough", False).get(timeout=WAIT)


def test_retry_without_throw_lets_the_run_go_on_and_then_runs_again(running: Running) -> None:
    assert running.site.call("goes_on").get(timeout=WAIT) == "second run"
    running.site.wait_for_note("goes on", "Retry")


@pytest.mark.parametrize("throw", [True, False])
def test_a_retry_that_cannot_be_written_is_a_failure(running: Running, throw: bool) -> None:
    result = running.site.call("retries_with_garbage", 1, throw)
    with pytest.raises(Exception, match="set"):
        result.get(timeout=WAIT)
    running.site.call("add", 1, 1).get(timeout=WAIT)


@pytest.mark.parametrize("kind", ["set", "object", "large", "surrogate"])
def test_a_retry_whose_headers_cannot_be_written_is_a_failure(running: Running, kind: str) -> None:
    with pytest.raises(EncodeError, match="A header of the message"):
        running.site.call("retries_with_header", kind).get(timeout=WAIT)


def test_an_error_without_words_can_be_retried(running: Running) -> None:
    assert running.site.call("retries_unspeakably").get(timeout=WAIT) == 1


# -- ending otherwise


def test_ignore_stores_nothing(running: Running, unique: str) -> None:
    result = running.site.call("ignores", unique)
    running.site.wait_for_note("ran", unique)
    eventually(lambda: result.locate() is None)
    assert result.state == "PENDING"
    assert not isinstance(result.result, Ignore)


def test_reject_goes_to_the_dead_letters(running: Running, unique: str) -> None:
    result = running.site.call("rejects", unique)
    with pytest.raises(Reject, match=unique):
        result.get(timeout=WAIT)
    dead = [letter for letter in running.site.shelf("dead") if letter.task_id == result.id]
    assert len(dead) == 1
    assert unique in dead[0].reason
    assert dead[0].task == "jobs.rejects"


def test_reject_with_requeue_runs_again_a_bounded_number_of_times(running: Running, unique: str) -> None:
    result = running.site.call("rejects", unique, True)
    letter = eventually(
        lambda: next((letter for letter in running.site.shelf("dead") if letter.task_id == result.id), None)
    )
    assert running.site.notes().count(f"ran {unique}") == 3
    assert "delivered 3 times" in letter.reason
    with pytest.raises(Exception, match="delivered 3 times"):
        result.get(timeout=WAIT)


# -- what a run says of itself


def test_progress_is_seen_by_the_caller(running: Running, unique: str) -> None:
    result = running.site.call("progress", unique)
    running.site.wait_for_note("half", unique)
    eventually(lambda: result.state == "PROGRESS")
    assert result.info == {"done": 1, "of": 2}
    running.site.open_gate(unique)
    assert result.get(timeout=WAIT) == "done"


def test_started_is_seen_where_it_is_tracked(running: Running, unique: str) -> None:
    result = running.site.call("tracked", unique)
    running.site.wait_for_note("begun", unique)
    eventually(lambda: result.state == "STARTED")
    assert result.info["pid"] in [running.worker.pid, *running.worker.child_pids]
    running.site.open_gate(unique)
    assert result.get(timeout=WAIT) == "done"


def test_started_is_not_seen_elsewhere(running: Running, unique: str) -> None:
    result = running.site.call("gated", unique)
    running.site.wait_for_note("begun", unique)
    assert result.state == "PENDING"
    running.site.open_gate(unique)
    result.get(timeout=WAIT)


def test_a_task_knows_its_request(running: Running) -> None:
    result = running.site.app.send_task(
        "jobs.request_of", (1,), {"two": 2}, headers={"x-trace": "abc"}, time_limit=60, soft_time_limit=50
    )
    request = result.get(timeout=WAIT)
    assert request["id"] == request["root_id"] == request["correlation_id"] == result.id
    assert request["task"] == "jobs.request_of"
    assert request["args"] == [1]
    assert request["kwargs"] == {"two": 2}
    assert request["retries"] == 0
    assert request["deliveries"] == 1
    assert request["parent_id"] is None
    assert request["hostname"].startswith("umbel@")
    assert request["timelimit"] == [60, 50]
    assert request["headers"]["x-trace"] == "abc"
    assert request["delivery_info"]["routing_key"] == "celery"
    assert not request["is_eager"]
    assert not request["called_directly"]


def test_a_call_made_inside_a_task_knows_its_family(running: Running) -> None:
    result = running.site.call("parent")
    child_id, root_id = result.get(timeout=WAIT)
    assert root_id == result.id
    assert [child.id for child in result.children] == [child_id]
    child = running.site.app.AsyncResult(child_id).get(timeout=WAIT)
    assert child["parent_id"] == result.id
    assert child["root_id"] == result.id


def test_waiting_inside_a_task_is_refused(running: Running) -> None:
    with pytest.raises(RuntimeError, match="Never call result"):
        running.site.call("waits_for_another").get(timeout=WAIT)


# -- hooks


def hooks_of(running: Running, task_id: str) -> list[str]:
    """What the hooks of a call noted, in order, without its id."""
    return [line.removesuffix(f" {task_id}") for line in running.site.notes() if line.endswith(task_id)]


def test_hooks_of_a_success(running: Running) -> None:
    result = running.site.call("hooked", "fine")
    result.get(timeout=WAIT)
    assert hooks_of(running, result.id) == [
        "before_start ['fine'] {}",
        "on_success fine",
        "after_return SUCCESS",
    ]


def test_hooks_of_a_failure(running: Running) -> None:
    result = running.site.call("hooked", "fail")
    result.get(timeout=WAIT, propagate=False)
    assert hooks_of(running, result.id) == [
        "before_start ['fail'] {}",
        "on_failure ValueError('fail') True",
        "after_return FAILURE",
    ]


def test_hooks_of_a_retry(running: Running) -> None:
    result = running.site.call("hooked", "retry")
    result.get(timeout=WAIT)
    assert hooks_of(running, result.id) == [
        "before_start ['retry'] {}",
        "on_retry Flaky('once')",
        "before_start ['retry'] {}",
        "on_success retry",
        "after_return SUCCESS",
    ]


def test_a_hook_that_raises_does_not_change_the_ending(running: Running) -> None:
    assert running.site.call("hook_raises").get(timeout=WAIT) == "fine"
    running.worker.wait_for("The hook after_return of task jobs.hook_raises raised")


# -- what follows


def test_link_is_called_with_the_result(running: Running) -> None:
    site = running.site
    after = site.signature("add", 10, task_id=None)
    callback_id = f"after-{datetime.now(UTC).timestamp()}"
    site.call("add", 1, 2, link=after.set(task_id=callback_id)).get(timeout=WAIT)
    assert site.app.AsyncResult(callback_id).get(timeout=WAIT) == 13


def test_link_error_is_called_with_the_id(running: Running) -> None:
    site = running.site
    result = site.call("fail", link_error=site.signature("errback"))
    result.get(timeout=WAIT, propagate=False)
    site.wait_for_note("errback", result.id)


def test_link_error_that_cannot_be_called_leaves_the_failure_as_it_was(running: Running) -> None:
    site = running.site
    result = site.call("fail", "the first error", link_error=site.signature("takes_nothing"))
    with pytest.raises(ValueError, match="the first error"):
        result.get(timeout=WAIT)
    site.call("add", 1, 1).get(timeout=WAIT)


def test_a_chain_goes_on_with_the_result(running: Running, unique: str) -> None:
    site = running.site
    tail = [site.signature("mark", task_id=f"last-{unique}"), site.signature("add", 10)]  # the next one last
    site.call("add", 1, 2, chain=tail).get(timeout=WAIT)
    assert site.app.AsyncResult(f"last-{unique}").get(timeout=WAIT) == 13


def test_a_chain_stops_at_a_failure(running: Running, unique: str) -> None:
    site = running.site
    tail = [site.signature("mark", unique, immutable=False)]
    site.call("fail", chain=tail).get(timeout=WAIT, propagate=False)
    site.call("mark", f"{unique}-later").get(timeout=WAIT)
    assert f"ran {unique}" not in site.notes()


# -- time


def test_a_countdown_is_kept_in_the_store(running: Running, unique: str) -> None:
    site = running.site
    result = site.call("mark", unique, countdown=3600)
    eventually(lambda: (located := result.locate()) is not None and located.shelf == "scheduled")
    soon = site.call("mark", f"{unique}-soon", countdown=0.2)
    soon.get(timeout=WAIT)
    assert f"ran {unique}" not in site.notes()


def test_expired_calls_are_not_run(running: Running, unique: str) -> None:
    site = running.site
    result = site.call("mark", unique, expires=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(Exception, match="expired"):
        result.get(timeout=WAIT)
    assert result.state == "REVOKED"
    assert f"ran {unique}" not in site.notes()
    running.worker.wait_for(rf"{result.id}\] expired")


# -- concurrency


@pytest.mark.parametrize("task", ["gated", "gated_async"])
def test_tasks_run_at_the_same_time(running: Running, unique: str, task: str) -> None:
    """Both have begun while neither has ended; alone in ``solo``."""
    site = running.site
    names = [f"{unique}-1", f"{unique}-2"]
    results = site.calls(task, [(name, name) for name in names])
    site.wait_for_note("begun", names[0])
    if running.pool != "solo":
        site.wait_for_note("begun", names[1])
    with pytest.raises(TimeoutError):
        results[0].get(timeout=0.01)
    for name in reversed(names):
        site.open_gate(name)
    assert site.app.results(results).get(timeout=WAIT) == names
    if running.pool == "solo":
        noted = [line for line in site.notes() if unique in line]
        assert [re.split(" ", line)[0] for line in noted] == ["begun", "ended", "begun", "ended"]


def test_pools_run_tasks_where_they_say(running: Running) -> None:
    places = running.site.app.results(running.site.calls("where", [()] * 20)).get(timeout=WAIT)
    pids = {place["pid"] for place in places}
    if running.pool == "solo":
        assert pids == {running.worker.pid}
    else:
        assert pids <= set(running.worker.child_pids)
        assert len(running.worker.child_pids) == (2 if running.pool == "prefork" else 1)
    names = {place["name"] for place in places}
    assert (names == {"MainThread"}) == (running.pool in ("prefork", "solo"))
