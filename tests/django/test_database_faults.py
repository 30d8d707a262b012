"""PostgreSQL restarted, cut off, half-open, paused, slow, read-only, behind a pooler: while tasks are sent, run, and finish."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker
from tests.django.chaos_site import environment
from tests.django.postgres_rig import Rig, make_rig
from tests.servers import Pooler, free_port

from chaos.ledger import Ledger
from chaos.storm import KILLS, SEED, SOAK_SECONDS, Storm
from umbel.errors import BrokerUnavailable, StoreFull
from worker.harness import eventually

TASKS = 500
LEASE = {"worker_lease": 8}
SEND_SECONDS = 5.0
"""``broker_send_timeout``."""
BUSY_SECONDS = 5.0
"""A busy machine may be so late."""


@pytest.fixture
def rig(tmp_path: pathlib.Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Rig]:
    with django_db_blocker.unblock(), make_rig(tmp_path, environment(tmp_path / "path")) as made:
        yield made


def progress(ledger: Ledger, count: int) -> None:
    """Wait until so many more calls have finished."""
    ledger.wait_for_finished(len(ledger.finished()) + count)


def assert_sends_kept_their_deadline(ledger: Ledger) -> None:
    assert ledger.longest_send < SEND_SECONDS + BUSY_SECONDS


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["crashed", "stopped"])
def test_restarted(rig: Rig, how: signal.Signals) -> None:
    ledger = rig.ledger
    with rig.worker(settings=LEASE):
        held = ledger.send_waiting(1)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        with ledger.sending():
            for _ in range(3):
                progress(ledger, 100)
                rig.restart(how)
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
            for number in range(8):
                progress(ledger, 40)
                ledger.fault("cut")
                if number % 2:
                    rig.proxy.cut()
                else:
                    rig.ask(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                        "AND datname = 'umbel'"
                    )
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
    """Until the worker has noticed, while another one has a way of its own."""
    ledger = rig.ledger
    with rig.worker(settings=LEASE) as worker, rig.direct_worker(LEASE):
        held = ledger.send_waiting(2)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        with ledger.outage("half-open"):
            rig.proxy.swallow(lost)  # type: ignore[arg-type]
            ledger.send(1)
            worker.wait_for("no answer within|cannot be reached")
            rig.proxy.heal()
        ledger.send(TASKS)
        ledger.open_gate()
        ledger.settle_up()
    assert_sends_kept_their_deadline(ledger)
    assert all(isinstance(error, BrokerUnavailable) for error in ledger.errors)


def test_paused(rig: Rig) -> None:
    """For less than a lease, and for longer than a statement may take."""
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
            rig.proxy.heal()
        ledger.settle_up()


def test_read_only(rig: Rig) -> None:
    """As after a failover to a standby that nobody has told us of, and then back."""
    ledger = rig.ledger
    with rig.worker(settings=LEASE) as worker:
        held = ledger.send_waiting(1)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        progress(ledger, 100)
        with ledger.outage("read-only"):
            rig.ask("ALTER SYSTEM SET default_transaction_read_only = on")
            rig.ask("SELECT pg_reload_conf()")
            with ledger.sending():
                worker.wait_for("Cannot (fetch|settle|renew)")
                eventually(lambda: len(ledger.refused) >= 5, "refused calls")
            rig.ask("ALTER SYSTEM RESET default_transaction_read_only")
            rig.ask("SELECT pg_reload_conf()")
        ledger.send(TASKS)
        ledger.open_gate()
        ledger.settle_up()
    assert not ledger.in_doubt
    assert all(isinstance(error, StoreFull) for error in ledger.errors)


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

    faults = {"half-open": half_open, "cut": cut, "restart": rig.restart}
    weather = Storm(ledger, SEED, settings={"worker_lease": 8})
    weather.blows.update(faults)
    with weather.running():
        with ledger.sending(pause=0.02):
            weather.blow(SOAK_SECONDS, [*faults, *faults, *KILLS])
        ledger.settle_up()


def test_behind_a_pooler_that_swallows_notifications(
    tmp_path: pathlib.Path, django_db_blocker: DjangoDbBlocker
) -> None:
    """pgbouncer gives each transaction another session: nobody is told of anything, and all goes on by looking."""
    port = free_port()
    with (
        django_db_blocker.unblock(),
        make_rig(tmp_path, environment(tmp_path / "path"), tcp_port=port) as rig,
        Pooler(rig.server.directory.parent / "pooler", port, rig.server.port),
        rig.worker(settings=LEASE),
    ):
        results = [rig.ledger.site.call("chaos.jobs.work", number) for number in range(20)]
        assert [result.get(timeout=30) for result in results] == list(range(20))
