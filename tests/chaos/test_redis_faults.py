"""Redis restarted, paused, cut off, half-open, slow, full, read-only: while tasks are sent, run, and finish."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Iterator

import pytest

from chaos.ledger import Ledger
from chaos.redis_rig import Rig, make_rig
from chaos.storm import KILLS, SEED, SOAK_SECONDS, Storm
from umbel.errors import BrokerUnavailable, StoreFull
from worker.harness import eventually

TASKS = 500
LEASE = {"worker_lease": 6}
SEND_SECONDS = 5.0
"""``broker_send_timeout``."""
BUSY_SECONDS = 5.0
"""A busy machine may be so late."""


@pytest.fixture
def rig(tmp_path: pathlib.Path) -> Iterator[Rig]:
    with make_rig(tmp_path) as made:
        yield made


def progress(ledger: Ledger, count: int) -> None:
    """Wait until so many more calls have finished."""
    ledger.wait_for_finished(len(ledger.finished()) + count)


def assert_sends_kept_their_deadline(ledger: Ledger) -> None:
    assert ledger.longest_send < SEND_SECONDS + BUSY_SECONDS


def test_restarted(rig: Rig) -> None:
    ledger = rig.ledger
    with rig.worker(settings=LEASE):
        held = ledger.send_waiting(1)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        with ledger.sending():
            for _ in range(3):
                progress(ledger, 100)
                rig.restart()
            progress(ledger, 100)
        ledger.open_gate()
        ledger.settle_up()
    assert_sends_kept_their_deadline(ledger)


def test_cut_again_and_again(rig: Rig) -> None:
    ledger = rig.ledger
    with rig.worker(settings=LEASE):
        held = ledger.send_waiting(1)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        with ledger.sending():
            for _ in range(8):
                progress(ledger, 40)
                ledger.fault("cut")
                rig.proxy.cut()
        ledger.open_gate()
        ledger.settle_up()
    assert all(isinstance(error, BrokerUnavailable) for error in ledger.errors)


def test_out_of_reach_while_another_worker_is_not(rig: Rig) -> None:
    """For less than a lease: what the one runs is not given to the other."""
    ledger = rig.ledger
    with rig.worker(settings=LEASE) as cut_off:
        held = ledger.send_waiting(2)
        ledger.wait_for_starts(held)
        with rig.direct_worker(LEASE):
            with ledger.outage("refused"):
                rig.proxy.refuse()
                cut_off.wait_for("Cannot renew leases")
                rig.proxy.heal()
            cut_off.wait_for("Leases are renewed again")
            ledger.open_gate()
            ledger.settle_up()


@pytest.mark.parametrize("lost", ["requests", "answers"])
def test_half_open(rig: Rig, lost: str) -> None:
    go_half_open(rig, lost, LEASE)


@pytest.mark.soak
@pytest.mark.parametrize("lost", ["requests", "answers"])
def test_half_open_with_the_default_settings(tmp_path: pathlib.Path, lost: str) -> None:
    with make_rig(tmp_path, timeout=None) as rig:
        go_half_open(rig, lost, {})


def go_half_open(rig: Rig, lost: str, settings: dict[str, object]) -> None:
    """Until the worker has noticed, while another one has a way of its own."""
    ledger = rig.ledger
    with rig.worker(settings=settings) as worker, rig.direct_worker(settings):
        held = ledger.send_waiting(2)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        with ledger.outage("half-open"):
            rig.proxy.swallow(lost)  # type: ignore[arg-type]
            ledger.send(1)
            worker.wait_for("no answer within|no connection within")
            rig.proxy.heal()
        ledger.send(TASKS)
        ledger.open_gate()
        ledger.settle_up()
    assert_sends_kept_their_deadline(ledger)
    [error] = ledger.errors
    assert isinstance(error, BrokerUnavailable)


def test_paused(rig: Rig) -> None:
    """For less than a lease, and for longer than a connection waits."""
    ledger = rig.ledger
    with rig.worker(settings=LEASE) as worker:
        held = ledger.send_waiting(2)
        ledger.wait_for_starts(held)
        with rig.direct_worker(LEASE):
            ledger.send(TASKS)
            progress(ledger, 100)
            with ledger.sending(), rig.paused():
                worker.wait_for("Cannot renew leases")
            ledger.open_gate()
            ledger.settle_up()
    assert_sends_kept_their_deadline(ledger)


def test_slow(rig: Rig) -> None:
    ledger = rig.ledger
    rig.proxy.delay(0.02)
    with rig.worker(settings=LEASE):
        ledger.send(TASKS, batch=TASKS)
        with ledger.sending():
            progress(ledger, TASKS // 2)
            rig.proxy.trickle(0.0)
            ledger.send(5, batch=1)
            progress(ledger, 5)
            rig.proxy.heal()
        ledger.settle_up()


def test_out_of_memory(rig: Rig) -> None:
    """What waits is still run, and its results are kept; what is sent is refused and said to be."""
    ledger = rig.ledger
    with rig.worker(settings=LEASE):
        held = ledger.send_waiting(1)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        with ledger.outage("full"):
            rig.server.command("CONFIG", "SET", "maxmemory", "1mb")
            with ledger.sending():
                eventually(lambda: len(ledger.refused) >= 20, "refused calls")
            ledger.wait_for_finished(TASKS)
            rig.server.command("CONFIG", "SET", "maxmemory", "0")
        ledger.send(TASKS)
        ledger.open_gate()
        ledger.settle_up()
    assert not ledger.in_doubt
    assert all(isinstance(error, StoreFull) for error in ledger.errors)


def test_read_only(rig: Rig) -> None:
    """The server becomes a replica, as after a failover that nobody has told us of, and then the master again."""
    ledger = rig.ledger
    with rig.worker(settings=LEASE) as worker:
        held = ledger.send_waiting(1)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        progress(ledger, 100)
        with ledger.outage("read-only"):
            rig.server.command("REPLICAOF", "127.0.0.1", "1")
            with ledger.sending():
                worker.wait_for("Cannot (fetch|settle|renew)")
                eventually(lambda: len(ledger.refused) >= 20, "refused calls")
            rig.server.command("REPLICAOF", "NO", "ONE")
        ledger.send(TASKS)
        ledger.open_gate()
        ledger.settle_up()
    assert not ledger.in_doubt


@pytest.mark.soak
def test_all_of_it_for_minutes(rig: Rig) -> None:
    ledger, proxy = rig.ledger, rig.proxy

    def half_open() -> None:
        swallowed = proxy.swallowed
        with ledger.outage("half-open"):
            proxy.swallow()
            eventually(lambda: proxy.swallowed > swallowed, "something to swallow")
            proxy.heal()

    def cut() -> None:
        ledger.fault("cut")
        proxy.cut()

    def pause() -> None:
        with rig.paused():
            threading.Event().wait(1.5)

    def fill() -> None:
        with ledger.outage("full"):
            rig.server.command("CONFIG", "SET", "maxmemory", "1mb")
            progress(ledger, 50)
            rig.server.command("CONFIG", "SET", "maxmemory", "0")

    faults = {"half-open": half_open, "cut": cut, "pause": pause, "full": fill, "restart": rig.restart}
    weather = Storm(ledger, SEED, settings={"worker_lease": 8})
    weather.blows.update(faults)
    with weather.running():
        with ledger.sending(pause=0.02):
            weather.blow(SOAK_SECONDS, [*faults, *faults, *KILLS])
        ledger.settle_up()


@pytest.mark.soak
def test_paused_for_20_seconds_with_the_default_settings(tmp_path: pathlib.Path) -> None:
    """No task runs twice for that, neither in the worker that had it nor in another one."""
    with make_rig(tmp_path, timeout=None) as rig:
        ledger = rig.ledger
        with rig.worker():
            held = ledger.send_waiting(1)
            ledger.wait_for_starts(held)
            with rig.direct_worker():
                ledger.send(10 * TASKS)
                progress(ledger, 100)
                with ledger.sending(), rig.paused():
                    threading.Event().wait(20.0)
                ledger.open_gate()
                ledger.settle_up()
        assert_sends_kept_their_deadline(ledger)
