"""The checker itself: it must see what is wrong, or the suite proves nothing."""

from __future__ import annotations

import os
import re
import signal

import pytest

from chaos.events import FINISHED, STARTED, Writer
from chaos.ledger import Ledger


@pytest.fixture
def writer(ledger: Ledger) -> Writer:
    """Writes in the place of tasks."""
    return Writer(ledger.site.directory)


def test_an_honest_account(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    with ledger.site.worker(app="chaos.jobs") as worker:
        ledger.send(500)
        ledger.drain()  # or one of them may have finished and not been told when its process dies, which is no fault
        (long,) = ledger.send(1, 1.0)
        ledger.wait_for_starts([long])
        pids = worker.child_pids
        ledger.fault("kill children", pids)
        for signum in (signal.SIGSTOP, signal.SIGKILL):  # or the last to die begins what the first one ran
            for pid in pids:
                os.kill(pid, signum)
        ledger.settle_up()
        assert worker.stop() == 0
    assert len(ledger.runs()[long]) == 2
    line = r"accepted 501 / lost 0 / duplicated 0 / dead 0 / time to recover \d\.\d\d s \(1 faults, \d runs again, .*\)\n"
    assert re.fullmatch(line, capsys.readouterr().out)


def test_what_was_accepted_and_has_vanished_is_lost(ledger: Ledger, writer: Writer) -> None:
    ledger.send(3)
    ledger.site.ask(lambda broker: broker.purge(["celery"]))
    writer.write(STARTED, 1)
    writer.write(FINISHED, 1)
    assert ledger.account(results=False).lost == {0, 2}
    with pytest.raises(AssertionError, match="2 calls accepted, and lost"):
        ledger.settle_up(results=False)


def test_what_finishes_twice_is_duplicated_and_wants_a_reason(ledger: Ledger, writer: Writer) -> None:
    for kind in (STARTED, FINISHED, STARTED, FINISHED):
        writer.write(kind, 7)
    assert ledger.account(results=False).duplicated == {7}
    with pytest.raises(AssertionError, match="1 calls run again without a reason"):
        ledger.settle_up(results=False)
    fault = ledger.fault("this process dies", [os.getpid()])
    fault.at = ledger.events()[1].at
    assert ledger.settle_up(results=False).duplicated == {7}


def test_a_fault_long_after_a_run_is_no_reason_to_repeat_it(ledger: Ledger, writer: Writer) -> None:
    for kind in (STARTED, FINISHED, STARTED, FINISHED):
        writer.write(kind, 7)
    fault = ledger.fault("this process dies", [os.getpid()])
    fault.at = ledger.events()[1].at + 5_000_000_000
    assert ledger.account(results=False).unexplained == {7}


def test_a_run_that_was_cut_short_is_repeated_for_a_reason(ledger: Ledger, writer: Writer) -> None:
    for kind in (STARTED, STARTED, FINISHED):
        writer.write(kind, 7)
    fault = ledger.fault("this process dies", [os.getpid()])
    fault.at = ledger.events()[0].at + 5_000_000_000  # it had run for a while
    assert ledger.account(results=False).unexplained == set()


def test_what_finishes_without_an_outcome_is_told(ledger: Ledger, writer: Writer) -> None:
    writer.write(STARTED, 7)
    writer.write(FINISHED, 7)
    with pytest.raises(AssertionError, match="1 calls finished without a result"):
        ledger.settle_up()


def test_a_run_that_was_refused_is_a_ghost(ledger: Ledger, writer: Writer) -> None:
    ledger.refused.add(7)
    writer.write(STARTED, 7)
    with pytest.raises(AssertionError, match="1 calls refused, and run"):
        ledger.settle_up(results=False)
