"""How soon the work of what has died is running again, with the default settings: by the clock of the tasks themselves."""

from __future__ import annotations

import os
import signal

import pytest

from chaos.ledger import Ledger
from worker.harness import Worker

CHILD_SECONDS, NODE_SECONDS, MACHINE_SECONDS = 1.0, 5.0, 30.0
SHORT_LEASE = 3
pytestmark = pytest.mark.serial


def recover(ledger: Ledger, numbers: list[int]) -> float:
    """Wait until all of these calls run again, let them end, and tell how long it took."""
    ledger.wait_for_runs(numbers, 2)
    ledger.open_gate()
    recovery = ledger.settle_up().recovery
    assert recovery is not None
    return recovery


def test_the_work_of_a_killed_child_is_running_again_within_a_second(ledger: Ledger) -> None:
    with ledger.site.worker(app="chaos.jobs", concurrency=1) as worker:
        numbers = ledger.send_waiting(1)
        ledger.wait_for_starts(numbers)
        ledger.fault("child", worker.child_pids)
        os.kill(worker.child_pids[0], signal.SIGKILL)
        assert recover(ledger, numbers) < CHILD_SECONDS


def test_the_work_of_a_killed_node_is_running_again_within_five_seconds(ledger: Ledger) -> None:
    with ledger.site.worker(app="chaos.jobs") as worker:
        numbers = ledger.send_waiting(2)
        ledger.wait_for_starts(numbers)
        ledger.fault("node", worker.child_pids)
        os.kill(worker.node_pid, signal.SIGKILL)
        assert recover(ledger, numbers) < NODE_SECONDS


def test_the_work_of_a_killed_supervisor_goes_to_the_next_worker_within_five_seconds(ledger: Ledger) -> None:
    with ledger.site.worker(app="chaos.jobs") as worker:
        numbers = ledger.send_waiting(2)
        ledger.wait_for_starts(numbers)
        with ledger.site.worker("-n", "other@%h", app="chaos.jobs"):
            ledger.fault("supervisor", worker.child_pids)
            os.kill(worker.pid, signal.SIGKILL)
            assert recover(ledger, numbers) < NODE_SECONDS


def lose_a_machine(ledger: Ledger, settings: dict[str, object]) -> float:
    """Every process of a worker is killed at once while another worker, elsewhere, is idle."""

    def worker(name: str) -> Worker:
        return Worker(ledger.site, "-n", name, app="chaos.jobs", settings=settings)

    lost, other = worker("lost@%h"), worker("other@%h")
    try:
        lost.start()
        numbers = ledger.send_waiting(2)
        ledger.wait_for_starts(numbers)
        other.start()
        ledger.fault("machine", lost.child_pids)
        lost.kill_everything()
        return recover(ledger, numbers)
    finally:
        for each in (lost, other):
            each.kill_everything()


def test_the_work_of_a_lost_machine_is_running_again_when_its_lease_has_ended(ledger: Ledger) -> None:
    assert lose_a_machine(ledger, {"worker_lease": SHORT_LEASE}) < SHORT_LEASE + 2


@pytest.mark.soak
def test_the_work_of_a_lost_machine_is_running_again_within_half_a_minute(ledger: Ledger) -> None:
    assert lose_a_machine(ledger, {}) < MACHINE_SECONDS
