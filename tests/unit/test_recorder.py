"""``record_tasks``: what was sent, runs in the test's thread, and a clock that is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from umbel import Umbel
from umbel.errors import EncodeError, NotRegistered, Reject, TaskRevokedError
from umbel.testing import TaskRecorder, record_tasks

seen: list[Any] = []


@pytest.fixture
def app() -> Iterator[Umbel]:
    seen.clear()
    app = Umbel("recorded", broker="memory://elsewhere", backend="memory://elsewhere", set_as_current=False)

    @app.task(name="note")
    def note(what: Any, *, loud: bool = False) -> Any:
        seen.append(what)
        return [what, loud]

    @app.task(name="again", bind=True, max_retries=3)
    def again(self: Any, fail: int) -> int:
        seen.append(self.request.retries)
        if self.request.retries < fail:
            raise self.retry(exc=OSError("not yet"), countdown=60)
        return int(self.request.retries)

    @app.task(name="twice")
    def twice(what: str) -> None:
        note.delay(what)
        note.apply_async((what + " later",), countdown=30)

    @app.task(name="for_ever")
    def for_ever() -> None:
        for_ever.delay()

    @app.task(name="reject")
    def reject() -> None:
        raise Reject("no")

    @app.task(name="coroutine")
    async def coroutine(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    with app:
        yield app


@pytest.fixture
def tasks(app: Umbel) -> Iterator[TaskRecorder]:
    with record_tasks(app) as tasks:
        yield tasks


def test_nothing_runs_and_what_was_sent_is_known(app: Umbel, tasks: TaskRecorder) -> None:
    note = app.tasks["note"]
    note.apply_async((1,), {"loud": True}, queue="other", priority=7, countdown=5, headers={"tenant": "a"})
    (sent,) = tasks.sent
    assert (sent.task, sent.args, sent.kwargs) == ("note", (1,), {"loud": True})
    assert (sent.queue, sent.priority, sent.countdown, sent.headers) == ("other", 7, 5.0, {"tenant": "a"})
    assert tasks.of(note) == tasks.of("note") == [sent]
    assert seen == []


def test_assertions(app: Umbel, tasks: TaskRecorder) -> None:
    note = app.tasks["note"]
    tasks.assert_not_sent()
    with pytest.raises(AssertionError, match=r"note was not sent. Nothing was sent at all\.$"):
        tasks.assert_sent(note)
    sent = note.delay((1, 2), loud=True)
    assert tasks.assert_sent(note).id == sent.id
    tasks.assert_sent(note, [1, 2], loud=True)
    tasks.assert_sent("note", what=(1, 2), loud=True)  # by name or by position, and as it travels
    with pytest.raises(
        AssertionError, match=r"note\(\[1, 3\]\) was not sent. Sent were:\n  note\(\[1, 2\], loud=True\)"
    ):
        tasks.assert_sent(note, [1, 3])
    tasks.assert_not_sent("twice")
    with pytest.raises(AssertionError, match="note was sent"):
        tasks.assert_not_sent(note)
    with pytest.raises(AssertionError, match="Something was sent"):
        tasks.assert_not_sent()
    tasks.clear()
    tasks.assert_not_sent()
    assert tasks.run() == []


def test_it_ends_with_the_block(app: Umbel) -> None:
    before = app.conf.broker_url
    with record_tasks(app) as tasks:
        app.tasks["note"].delay(1)
        inside = app.conf.broker_url
    assert inside != before == app.conf.broker_url
    with record_tasks(app) as others:
        app.tasks["note"].delay(2)
        assert [call.args for call in others.sent] == [(2,)]
    assert len(tasks.sent) == 1


def test_a_run_takes_the_way_through_the_message(app: Umbel, tasks: TaskRecorder) -> None:
    result = app.tasks["note"].delay(("a", 1))
    (ran,) = tasks.run()
    assert seen == [["a", 1]]  # a list: it has travelled
    assert (ran.task, ran.id, ran.ending, ran.result) == ("note", result.id, "success", [["a", 1], False])
    assert result.get() == ran.result
    with pytest.raises(EncodeError):
        app.tasks["note"].delay({1, 2})


def test_what_a_task_sends_runs_too_and_what_is_due_later_waits(app: Umbel, tasks: TaskRecorder) -> None:
    app.tasks["twice"].delay("x")
    assert [ran.task for ran in tasks.run()] == ["twice", "note"]
    assert seen == ["x"]
    assert tasks.advance(29.9) == []
    assert [ran.task for ran in tasks.advance(0.2)] == ["note"]
    assert seen == ["x", "x later"]
    assert [call.task for call in tasks.sent] == ["twice", "note", "note"]


def test_by_priority(app: Umbel, tasks: TaskRecorder) -> None:
    for priority in (0, 5, -3, 5):
        app.tasks["note"].apply_async((priority,), priority=priority)
    tasks.run()
    assert seen == [5, 5, 0, -3]


def test_retries_on_the_clock(app: Umbel, tasks: TaskRecorder) -> None:
    result = app.tasks["again"].delay(2)
    (first,) = tasks.run()
    assert (first.ending, first.countdown, first.retries) == ("retry", 60.0, 0)
    assert result.state == "RETRY"
    assert tasks.advance(timedelta(seconds=59)) == []
    assert [ran.ending for ran in tasks.advance(61.5)] == ["retry", "success"]
    assert result.get() == 2
    assert len(tasks.sent) == 1, "retries are not calls"


def test_drain_waits_for_nobody(app: Umbel, tasks: TaskRecorder) -> None:
    app.tasks["again"].apply_async((3,), countdown=86_400 * 3)
    assert [ran.ending for ran in tasks.drain()] == ["retry", "retry", "retry", "success"]
    assert seen == [0, 1, 2, 3]


def test_a_failure_is_raised_or_looked_at(app: Umbel, tasks: TaskRecorder) -> None:
    app.tasks["again"].delay(9)
    with pytest.raises(OSError, match="not yet") as caught:
        tasks.drain()
    assert "raised by again[" in caught.value.__notes__[0]
    assert 'raise self.retry(exc=OSError("not yet")' in caught.value.__notes__[0]
    app.tasks["again"].delay(9)
    ended = tasks.drain(propagate=False)[-1]
    assert (ended.ending, ended.error) == ("failure", "OSError: not yet")
    app.tasks["reject"].delay()
    with pytest.raises(Reject, match="no"):
        tasks.run()


def test_unknown_revoked_and_expired_tasks_end_as_they_do_in_a_worker(
    app: Umbel, tasks: TaskRecorder
) -> None:
    app.send_task("nobody.knows")
    with pytest.raises(NotRegistered, match=r"nobody\.knows"):
        tasks.run()
    revoked = app.tasks["note"].delay(1)
    revoked.revoke()
    expired = app.tasks["note"].apply_async((2,), expires=10, countdown=60)
    assert [ran.ending for ran in tasks.advance(120)] == ["revoked", "expired"]
    for result in (revoked, expired):
        with pytest.raises(TaskRevokedError):
            result.get()
    assert seen == []


def test_a_task_that_sends_itself_is_noticed(app: Umbel, tasks: TaskRecorder) -> None:
    app.tasks["for_ever"].delay()
    with pytest.raises(RuntimeError, match="100 tasks have run, and more are due"):
        tasks.run(limit=100)


def test_inline(app: Umbel) -> None:
    with record_tasks(app, mode="inline") as tasks:
        assert app.tasks["note"].delay(1).get() == [1, False]
        app.tasks["twice"].delay("x")
        assert seen == [1, "x"]
        tasks.advance(30)
        assert seen == [1, "x", "x later"]
        with pytest.raises(Reject):
            app.tasks["reject"].delay()


def test_asynchronous_tasks_and_senders(app: Umbel, tasks: TaskRecorder) -> None:
    async def send() -> Any:
        return await app.tasks["coroutine"].adelay(1)

    result = asyncio.run(send())
    tasks.run()
    assert result.get() == 2


def test_a_worker_on_the_same_queue_and_clock(app: Umbel, tasks: TaskRecorder) -> None:
    with tasks.worker():
        assert app.tasks["note"].delay("now").get(timeout=20) == ["now", False]
        later = app.tasks["again"].apply_async((0,), countdown=3600)
        assert not later.ready()
        tasks.advance(3600)
        # The worker and this thread are two that take what is due: either may have had it.
        assert later.get(timeout=20) == 0


def test_always_eager_is_off_inside(app: Umbel) -> None:
    app.conf.task_always_eager = True
    with record_tasks(app) as tasks:
        app.tasks["note"].delay(1)
        assert seen == []
        tasks.assert_sent("note", 1)
    assert app.conf.task_always_eager is True
