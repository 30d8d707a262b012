"""A worker is stopped again and again in the middle of its work: nothing is lost, and nothing is counted against a task."""

from __future__ import annotations

import pathlib
import signal
import time
import uuid

from chaos.events import FINISHED, STARTED, Writer
from chaos.ledger import Ledger
from umbel.testing import start_worker
from worker.harness import Site

TASKS = 600
ROUNDS = 2
GRACE = 0.3


def assert_nothing_is_counted(site: Site) -> None:
    """What the worker has left behind waits, as if it had never been delivered."""
    assert site.shelf("held") == []
    assert {message.deliveries for message in site.shelf("waiting")} <= {0}


def test_a_warm_shutdown_without_a_deadline_repeats_nothing(ledger: Ledger) -> None:
    ledger.send(TASKS)
    with ledger.sending():
        for round_ in range(ROUNDS):
            with ledger.site.worker(app="chaos.jobs") as worker:
                ledger.send(2, 0.3)
                ledger.wait_for_finished((round_ + 1) * TASKS // (ROUNDS + 2))
                assert worker.stop() == 0
                assert worker.left_behind() == []
            assert_nothing_is_counted(ledger.site)
    with ledger.site.worker(app="chaos.jobs"):
        account = ledger.settle_up()
    assert account.again == 0


def test_a_warm_shutdown_with_a_deadline_repeats_only_what_it_interrupts(ledger: Ledger) -> None:
    """More often than a task may be delivered: an interruption is no delivery."""
    rounds = 3
    settings = {"worker_shutdown_timeout": GRACE, "task_max_deliveries": rounds - 1}
    held = ledger.send_waiting(1)
    ledger.send(TASKS)
    with ledger.sending():
        for round_ in range(rounds):
            with ledger.site.worker(app="chaos.jobs", settings=settings) as worker:
                ledger.wait_for_runs(held, round_ + 1)
                ledger.wait_for_finished(len(ledger.finished()) + 20)
                ledger.fault("deadline", worker.child_pids)
                assert worker.stop() == 0
                assert "Interrupting" in worker.log
            assert_nothing_is_counted(ledger.site)
    ledger.open_gate()
    with ledger.site.worker(app="chaos.jobs"):
        account = ledger.settle_up()
    assert len(ledger.runs()[held[0]]) == rounds + 1
    assert account.again <= rounds * 2  # processes


def test_a_second_signal_ends_it_at_once(ledger: Ledger) -> None:
    held = ledger.send_waiting(2)
    ledger.send(TASKS)
    with ledger.site.worker(app="chaos.jobs") as worker, ledger.sending():
        ledger.wait_for_starts(held)
        ledger.fault("second signal", worker.child_pids)
        worker.signal(signal.SIGTERM)
        worker.wait_for("waiting for 2 running task")
        begun = time.monotonic()
        worker.signal(signal.SIGINT)
        assert worker.wait() == 0
        print(f"ended {time.monotonic() - begun:.2f} s after the second signal")
        assert worker.left_behind() == []
    assert_nothing_is_counted(ledger.site)
    ledger.open_gate()
    with ledger.site.worker(app="chaos.jobs"):
        account = ledger.settle_up()
    assert account.again == 2


def test_in_process_workers_on_memory(tmp_path: pathlib.Path) -> None:
    """What can be disturbed where there is but one process: workers come and go."""
    site = Site(tmp_path, f"memory://{uuid.uuid4()}")
    writer, ledger = Writer(tmp_path), Ledger(site)

    @site.app.task(name=ledger.task)
    def work(number: int, seconds: float) -> int:
        writer.write(STARTED, number)
        writer.write(FINISHED, number)
        return number

    ledger.send(TASKS)
    with ledger.sending():
        for round_ in range(3 * ROUNDS):
            with start_worker(site.app, concurrency=4):
                ledger.wait_for_finished((round_ + 1) * TASKS // (3 * ROUNDS + 1))
            assert_nothing_is_counted(site)
    with start_worker(site.app):
        account = ledger.settle_up()
    assert account.again == 0
    site.close()
