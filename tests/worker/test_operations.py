"""What an operator meets: brokers that are away, two workers of one name, reloads, logs, exit codes."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from servers import RedisServer, free_port
from umbel.errors import WorkerLostError
from worker.harness import Site, eventually

WAIT = 30.0


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, which keeps what it is told over a restart."""
    with RedisServer(tmp_path / "redis", aof=True) as server:
        yield server


# -- brokers that are away


def test_a_worker_waits_for_its_broker_and_says_so(tmp_path: pathlib.Path) -> None:
    server = RedisServer(tmp_path / "redis", password="secret", port=free_port())
    site = Site(tmp_path / "site", server.url())
    with site.worker(ready=False) as worker:
        worker.wait_for("Cannot reach the broker: .*Trying again in", count=2)
        try:
            server.start()
            worker.wait_for(r" ready\.")
            assert site.call("add", 1, 2).get(timeout=WAIT) == 3
            assert worker.stop() == 0
        finally:
            site.close()
            server.stop()
        assert "secret" not in worker.log
        assert "redis://:***@" in worker.log


def test_a_worker_goes_on_when_its_broker_has_been_restarted(
    tmp_path: pathlib.Path, server: RedisServer
) -> None:
    site = Site(tmp_path / "site", server.url())
    with site.worker() as worker:
        running = site.call("gated", "a", "kept")
        waiting = site.calls("add", [(n, n) for n in range(20)], countdown=0.5)
        site.wait_for_note("begun", "a")
        node = worker.node_pid
        server.stop()
        worker.wait_for("Cannot fetch")
        # It ends while there is nobody to tell; the outcome is kept until there is.
        site.open_gate("a")
        worker.wait_for("Cannot settle 1 finished task")
        server.start()
        assert running.get(timeout=WAIT) == "kept"
        assert site.app.results(waiting).get(timeout=WAIT) == [2 * n for n in range(20)]
        worker.wait_for("Connected again to redis://")
        assert worker.node_pid == node
        assert worker.stop() == 0
    assert site.notes() == ["begun a", "ended a"]
    site.assert_nothing_left()
    site.close()


def test_an_early_acknowledging_worker_survives_a_restart_of_its_broker(
    tmp_path: pathlib.Path, server: RedisServer
) -> None:
    site = Site(tmp_path / "site", server.url())
    with site.worker(settings={"task_acks_late": "false"}) as worker:
        site.call("add", 1, 1).get(timeout=WAIT)
        server.stop()
        worker.wait_for("Cannot fetch")
        server.start()
        assert site.call("add", 2, 2).get(timeout=WAIT) == 4
        assert worker.stop() == 0
        assert "The node" not in worker.log
    site.close()


# -- neighbours


def test_two_workers_of_one_name_are_warned_of(site: Site) -> None:
    with site.worker("-n", "twin@here") as first:
        eventually(lambda: len(site.ask(lambda broker: broker.nodes())) == 1)
        with site.worker("-n", "twin@here") as second:
            second.wait_for("Another worker named twin@here is alive")
        with site.worker("-n", "other@here") as third:
            assert "Another worker" not in third.log
        assert "Another worker" not in first.log


def test_a_worker_consumes_only_its_queues(site: Site) -> None:
    with site.worker("-Q", "mail,video", "-X", "video"):
        mine = site.call("add", 1, 1, queue="mail")
        others = [site.call("add", 2, 2, queue=queue) for queue in ("video", "celery")]
        assert mine.get(timeout=WAIT) == 2
        assert [result.locate().shelf for result in others] == ["waiting", "waiting"]


def test_purge_deletes_what_waits_first(site: Site) -> None:
    site.calls("mark", [(n,) for n in range(5)])
    with site.worker("--purge") as worker:
        worker.wait_for("5")
        site.call("add", 1, 1).get(timeout=WAIT)
    assert site.notes() == []


def test_larger_priorities_are_served_sooner(site: Site) -> None:
    order = [0, -50, 100, 7, -100, 50]
    for priority in order:
        site.call("mark", priority, priority=priority)
    with site.worker(pool="solo") as worker:
        site.wait_for_note("ran", -100)
        assert worker.stop() == 0
    assert site.notes() == [f"ran {priority}" for priority in sorted(order, reverse=True)]


def test_results_may_live_elsewhere(tmp_path: pathlib.Path, redis_process: RedisServer) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db", redis_process.url(db=999))
    with site.worker() as worker:
        assert site.call("add", 1, 2).get(timeout=WAIT) == 3
        assert site.call("retried", 2).get(timeout=WAIT) == 2
        assert site.call("crashes_once", "a").get(timeout=WAIT) == "second delivery"
        assert worker.stop() == 0
    site.assert_nothing_left()
    site.close()


def test_arguments_that_a_result_cannot_hold_do_not_cost_it_the_outcome(tmp_path: pathlib.Path) -> None:
    """Arguments that pickle carries and JSON, the serializer of results, does not."""
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    settings = {"result_extended": "true", "accept_content": '["json", "pickle"]', "task_max_deliveries": 1}
    with site.worker(settings=settings) as worker:
        with pytest.raises(ValueError, match=r"\{1, 2\}"):
            site.call("fail", {1, 2}, serializer="pickle").get(timeout=WAIT)
        good = site.call("forget_argument", {1, 2}, serializer="pickle")
        assert good.get(timeout=WAIT) == "fine"
        assert good.args == ["{1, 2}"]
        with pytest.raises(WorkerLostError, match="exited with code 3"):
            site.call("exits", 3, {1, 2}, serializer="pickle").get(timeout=WAIT)
        assert worker.stop() == 0
    assert len(site.shelf("dead")) == 1
    site.close()


# -- reloading


def test_autoreload_starts_anew_when_a_source_file_changes(site: Site) -> None:
    module = site.directory / "changing.py"
    text = "from jobs import app\n@app.task(name='changing.answer')\ndef answer():\n    return {}\n"
    module.write_text(text.format(1))
    with site.worker("--autoreload", app="changing") as worker:
        assert site.call("changing.answer").get(timeout=WAIT) == 1
        pid = worker.pid
        # Coarse clocks: the time of the change must differ from that of the first version.
        module.write_text(text.format(2))
        later = time.time() + 2
        os.utime(module, (later, later))
        worker.wait_for(r"changing\.py has changed")
        worker.wait_for(r" ready\.", count=2)
        assert site.call("changing.answer").get(timeout=WAIT) == 2
        assert worker.process.pid == pid
        assert worker.stop() == 0


# -- logs


def test_the_log_has_a_line_for_each_thing_that_happens(site: Site) -> None:
    with site.worker() as worker:
        good, bad, again = site.call("add", 1, 2), site.call("fail", "no luck"), site.call("retried", 1)
        for result in (good, bad, again):
            result.get(timeout=WAIT, propagate=False)
        assert worker.stop() == 0
    stamp = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: "
    worker.wait_for(rf"{stamp}INFO/node\] Task jobs\.add\[{good.id}\] received$")
    worker.wait_for(rf"{stamp}INFO/node\] Task jobs\.add\[{good.id}\] succeeded in \d+\.\d+s: 3$")
    worker.wait_for(
        rf"{stamp}ERROR/node\] Task jobs\.fail\[{bad.id}\] raised after \d+\.\d+s: ValueError: no luck$"
    )
    worker.wait_for(rf"{stamp}INFO/node\] Task jobs\.retried\[{again.id}\] retry after .*Flaky")


def test_the_log_can_be_json(site: Site) -> None:
    with site.worker("--log-format", "json", "-q") as worker:
        result = site.call("add", 1, 2)
        result.get(timeout=WAIT)
        site.call("fail").get(timeout=WAIT, propagate=False)
        assert worker.stop() == 0
    records = [json.loads(line) for line in worker.lines if line]
    succeeded = next(record for record in records if record.get("event") == "succeeded")
    assert succeeded["task"] == "jobs.add"
    assert succeeded["task_id"] == result.id
    assert succeeded["level"] == "INFO"
    assert isinstance(succeeded["runtime"], float)
    failed = next(record for record in records if record.get("event") == "failed")
    assert "no luck" in failed["message"]


def test_a_quiet_level_says_nothing_of_tasks_that_go_well(site: Site) -> None:
    with site.worker(loglevel="warning", ready=False) as worker:
        site.call("add", 1, 2).get(timeout=WAIT)
        assert worker.stop() == 0
    assert "succeeded" not in worker.log


def test_the_banner_masks_passwords(tmp_path: pathlib.Path) -> None:
    site = Site(tmp_path, "redis://:secret@localhost:1/0")
    with site.worker(ready=False) as worker:
        worker.wait_for(r"\.> results:")
        worker.wait_for(r"  \. jobs\.add$")
    assert "secret" not in worker.log
    site.close()


def test_what_a_task_prints_goes_to_the_log(site: Site) -> None:
    with site.worker() as worker:
        site.call("prints").get(timeout=WAIT)
        worker.wait_for("WARNING/child-.*printed by a task")


# -- exit codes


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-A", "no_such_module", "worker"], 2, "no_such_module"),
        (["-A", "jobs", "worker", "-P", "gevent"], 2, "gevent"),
        (["-A", "jobs", "worker", "-P", "fibers"], 2, "fibers"),
        (["-A", "jobs", "worker", "-c", "0"], 2, "0"),
        (["-A", "jobs", "worker", "-Q", "a", "-X", "a"], 2, "No queue is left"),
        (["-A", "jobs", "-b", "memory://", "worker"], 2, "one process"),
    ],
    ids=["no app", "no gevent", "no such pool", "no concurrency", "no queue", "memory"],
)
def test_a_worker_that_cannot_start_says_why_in_one_sentence(
    tmp_path: pathlib.Path, arguments: list[str], code: int, says: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "umbel", *arguments],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(pathlib.Path(__file__).parent),
            "JOBS_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
