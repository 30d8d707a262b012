"""Mishaps at the edges of a run: each of them once cost a task, a slot or a whole worker."""

from __future__ import annotations

import os
import pathlib
import signal

import pytest

from servers import RedisServer
from umbel.core.kombu_json import dump_frame
from worker.conftest import Running
from worker.harness import PATIENCE, Site


def test_a_recycled_child_does_not_cut_short_the_tasks_of_others(site: Site) -> None:
    with site.worker("--max-tasks-per-child", "1") as worker:
        first, second = site.call("gated", "first", 1), site.call("gated", "second", 2)
        site.wait_for_note("begun", "first")  # what has not begun is handed back
        site.wait_for_note("begun", "second")
        worker.signal(signal.SIGTERM)
        worker.wait_for("waiting for 2 running tasks")
        site.open_gate("first")
        assert first.get(timeout=PATIENCE) == 1
        site.open_gate("second")
        assert second.get(timeout=PATIENCE) == 2
        assert worker.wait() == 0
        assert "Interrupting" not in worker.log


def test_what_was_acknowledged_early_is_not_run_twice(site: Site) -> None:
    with site.worker() as worker:
        result = site.call("gated_early", "never")
        worker.wait_for("received")
        site.wait_for_note("begun", "never")
        worker.signal(signal.SIGQUIT)
        worker.wait()
    assert result.get(timeout=PATIENCE, propagate=False).__class__.__name__ == "WorkerLostError"
    with site.worker():
        assert site.call("add", 1, 2).get(timeout=PATIENCE) == 3
    assert site.notes().count("begun never") == 1


def test_a_hook_that_exits_takes_nothing_with_it(running: Running) -> None:
    results = [running.site.call("hook_exits", n) for n in range(6)]
    assert [result.get(timeout=PATIENCE) for result in results] == list(range(6))
    assert running.site.call("add", 1, 2).get(timeout=PATIENCE) == 3


def test_text_that_is_not_utf_8_costs_no_slot(running: Running) -> None:
    for _ in range(4):
        assert running.site.call("odd_value").get(timeout=PATIENCE) == "caf\udce9"
        with pytest.raises(ValueError, match="caf"):
            running.site.call("odd_error", "surrogate").get(timeout=PATIENCE)


def test_a_worker_whose_node_dies_again_and_again_can_be_stopped(site: Site) -> None:
    with site.worker() as worker:
        for count in range(1, 4):
            os.kill(worker.node_pid, signal.SIGKILL)
            worker.wait_for("The node .* was killed by SIGKILL", count=count)
            worker.wait_for(r" ready\.", count=count + 1) if count < 3 else None
        worker.signal(signal.SIGTERM)
        assert worker.wait() in (0, 1)


def test_a_wrong_password_is_one_sentence(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "server"
    directory.mkdir()
    with RedisServer(directory, password="right") as server:
        url = server.url().replace("right", "wrong")
        site = Site(tmp_path / "site", url)
        with site.worker(ready=False) as worker:
            assert worker.wait() == 69
            assert worker.log.count("refuses this login") == 1
            assert "Traceback" not in worker.log
            assert "wrong" not in worker.log
        site.close()


@pytest.mark.parametrize("task", ["retried", "crashes_once"])
def test_a_message_goes_back_to_the_queue_it_came_from(
    tmp_path: pathlib.Path, redis_process: RedisServer, task: str
) -> None:
    """Celery writes exchange and routing key into a message, which need not be the name of its queue."""
    site = Site(tmp_path, redis_process.url(db=999))
    prepared = site.app.client.prepare(f"jobs.{task}", [1 if task == "retried" else "routed"], {})
    prepared.outgoing.frame.properties["delivery_info"] = {"exchange": "mail", "routing_key": "mail.send"}
    entry = dump_frame(prepared.outgoing.frame, routing_key="mail.send", delivery_tag=task)
    redis_process.command("SELECT", "999")
    with site.worker():
        redis_process.command(
            "EVAL", "redis.call('SELECT', 999) redis.call('LPUSH', 'celery', ARGV[1])", "0", entry
        )
        assert prepared.result.get(timeout=PATIENCE) == (1 if task == "retried" else "second delivery")
    site.assert_nothing_left()
    site.close()
