"""Every message has a named end: unknown, unreadable, refused, expired, revoked."""

from __future__ import annotations

import pytest

from servers import RedisServer
from umbel import AsyncResult
from umbel.core.frame import DELIVERIES_HEADER, HISTORY_HEADER, Frame
from umbel.errors import ContentDisallowed, TaskRevokedError
from umbel.ports import Outgoing
from worker.harness import Site, eventually

WAIT = 20.0
EXTRA = """
from jobs import app, note

@app.task(name="extra.known_here")
def known_here(value):
    note("ran", value)
    return value
"""


def send_frame(site: Site, frame: Frame) -> None:
    """Put a frame into the queue as it is."""
    site.ask(lambda broker: broker.send([Outgoing(frame=frame, queue="celery")]))


def frame_of(site: Site, task: str, task_id: str, *args: object) -> Frame:
    """The frame of a call, to be tampered with."""
    return site.app.client.prepare(f"jobs.{task}", args, {}, {"task_id": task_id}).outgoing.frame


# -- unknown


def test_an_unknown_task_is_parked_until_a_worker_knows_it(site: Site) -> None:
    (site.directory / "extra.py").write_text(EXTRA)
    with site.worker() as worker:
        result = site.call("extra.known_here", 5)
        (parked,) = site.wait_for_shelf("parked")
        assert parked.task == "extra.known_here"
        assert "extra.known_here" in parked.reason
        assert not result.ready()
        worker.wait_for(rf"extra\.known_here\[{result.id}\] unknown")
        # A worker of the next release starts beside the old one: the parked message is run without anybody's help.
        with site.worker("-n", "new@%h", app="extra"):
            assert result.get(timeout=WAIT) == 5
    site.assert_nothing_left()


# -- unreadable and refused


def test_what_is_no_message_is_buried(
    tmp_path_factory: pytest.TempPathFactory, redis_process: RedisServer
) -> None:
    # Only in Redis can somebody else write into a queue what is no message at all.
    site = Site(tmp_path_factory.mktemp("garbage"), redis_process.url(db=0))
    redis_process.command("LPUSH", "garbage", b"\x00 what is this?")
    with site.worker("-Q", "garbage") as worker:
        (letter,) = eventually(lambda: site.ask(lambda broker: broker.browse("dead", ["garbage"])))
        assert b"what is this?" in letter.raw
        assert letter.reason
        worker.wait_for("Buried a message of queue garbage")
        assert site.call("add", 1, 1, queue="garbage").get(timeout=WAIT) == 2
    site.close()


def test_a_body_that_cannot_be_read_is_a_failure_and_a_dead_letter(site: Site) -> None:
    frame = frame_of(site, "add", "torn", 1, 2)
    frame.body = b'[[1, 2], {}, {"callb'
    send_frame(site, frame)
    with site.worker():
        with pytest.raises(Exception, match=r"[Cc]annot|[Dd]ecode|JSON"):
            site.app.AsyncResult("torn").get(timeout=WAIT)
        assert site.app.AsyncResult("torn").state == "FAILURE"
        assert [letter.task_id for letter in site.wait_for_shelf("dead")] == ["torn"]


def test_a_refused_content_type_is_a_failure_and_a_dead_letter_and_is_not_decoded(site: Site) -> None:
    frame = frame_of(site, "add", "pickled", 1, 2)
    frame.content_type = "application/x-python-serialize"
    # Would leave a file behind if anybody loaded it.
    frame.body = b"cos\nsystem\n(S'touch " + str(site.directory / "loaded").encode() + b"'\ntR."
    send_frame(site, frame)
    with site.worker():
        with pytest.raises(ContentDisallowed, match="application/x-python-serialize"):
            site.app.AsyncResult("pickled").get(timeout=WAIT)
        (letter,) = site.wait_for_shelf("dead")
        assert letter.task_id == "pickled"
        assert "application/x-python-serialize" in letter.reason
    assert not (site.directory / "loaded").exists()


@pytest.mark.parametrize(
    "headers",
    [
        {DELIVERIES_HEADER: "many", HISTORY_HEADER: 7},
        {"timelimit": 5},
        {"timelimit": {"hard": 1}},
        {"expires": 12345},
        {"ignore_result": "maybe"},
        {"retries": "lots"},
        {"eta": "tomorrow"},
        {"stamps": 5, "stamped_headers": "x"},
        {"group": 5, "root_id": [], "parent_id": {}},
    ],
    ids=lambda headers: "-".join(headers),
)
def test_odd_headers_of_a_stranger_do_not_stop_the_worker(site: Site, headers: dict[str, object]) -> None:
    """Run, or buried; with a crash on top. The node lives on either way."""
    for task, task_id in (("add", "odd"), ("exits", "odd-crash")):
        frame = frame_of(site, task, task_id, *((1, 2) if task == "add" else (3,)))
        frame.headers.update(headers)
        send_frame(site, frame)
    with site.worker(settings={"task_max_deliveries": 2}) as worker:
        assert site.call("add", 1, 1).get(timeout=WAIT) == 2
        for task_id in ("odd", "odd-crash"):
            eventually(lambda: site.app.AsyncResult(task_id).ready())  # noqa: B023 - called at once
        eventually(lambda: not site.shelf("held") and not site.shelf("waiting"))
        assert "The node" not in worker.log
        assert worker.stop() == 0


def test_a_broken_errback_in_a_message_does_not_stop_the_node(site: Site) -> None:
    frame = frame_of(site, "exits", "torn", 3)
    frame.body = b'[[3], {}, {"callbacks": null, "errbacks": [{"task": 5, "kwargs": "no"}], "chain": null, "chord": null}]'
    send_frame(site, frame)
    with site.worker(settings={"task_max_deliveries": 1}) as worker:
        assert site.app.AsyncResult("torn").get(timeout=WAIT, propagate=False) is not None
        assert site.call("add", 1, 1).get(timeout=WAIT) == 2
        assert "The node" not in worker.log


# -- expired


def test_an_expired_call_is_revoked_and_kept(site: Site) -> None:
    result = site.call("mark", 1, expires=0.001)
    with site.worker() as worker:
        with pytest.raises(TaskRevokedError, match="expired"):
            result.get(timeout=WAIT)
        assert result.state == "REVOKED"
        (letter,) = site.wait_for_shelf("dead")
        assert letter.task_id == result.id
        assert "expired" in letter.reason
        worker.wait_for(rf"{result.id}\] expired")
    assert site.notes() == []


# -- revoked


def test_a_call_that_is_revoked_before_it_is_delivered_does_not_run(site: Site) -> None:
    result = site.call("mark", 1)
    result.revoke()
    with site.worker() as worker:
        with pytest.raises(TaskRevokedError, match="revoked"):
            result.get(timeout=WAIT)
        assert result.state == "REVOKED"
        assert site.call("mark", 2).get(timeout=WAIT) == 2
        worker.wait_for(rf"{result.id}\] revoked")
    assert site.notes() == ["ran 2"]


def test_a_scheduled_call_can_be_revoked(site: Site) -> None:
    with site.worker():
        result = site.call("mark", 1, countdown=0.5)
        result.revoke()
        with pytest.raises(TaskRevokedError):
            result.get(timeout=WAIT)
    assert site.notes() == []


def test_revoke_does_not_touch_what_runs(site: Site) -> None:
    with site.worker():
        result = site.call("gated", "a", "kept")
        site.wait_for_note("begun", "a")
        result.revoke()
        site.open_gate("a")
        assert result.get(timeout=WAIT) == "kept"


def terminate(result: AsyncResult[object]) -> None:
    """Ask until it has ended: asking is a hint, lost on a worker that does not listen yet."""

    def ended() -> bool:
        result.revoke(terminate=True)
        try:
            result.get(timeout=1, propagate=False)
        except TimeoutError:
            return False
        return True

    eventually(ended)


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_terminate_ends_what_runs_and_nothing_else(site: Site, pool: str) -> None:
    task = "gated_counting_async" if pool == "asyncio" else "gated_counting"
    with site.worker(pool=pool) as worker:
        doomed, neighbour = site.calls(task, [("a",), ("b",)])
        site.wait_for_note("begun", "a")
        site.wait_for_note("begun", "b")
        terminate(doomed)
        with pytest.raises(TaskRevokedError, match="terminated"):
            doomed.get(timeout=WAIT)
        assert doomed.state == "REVOKED"
        site.open_gate("b")
        assert neighbour.get(timeout=WAIT) == 1
        assert [letter.task_id for letter in site.wait_for_shelf("dead")] == [doomed.id]
        assert site.call("add", 1, 1).get(timeout=WAIT) == 2
        assert worker.stop() == 0
    assert site.notes().count("begun a") == 1
