"""What breaks every broker, done to the database broker: in a file and in PostgreSQL, while tasks are sent, run, and finish.

The scenarios are those of ``tests/chaos``; here they get sites whose queues are in a Django project's database.
"""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Iterator

import pytest
from django.db import connections
from tests.django.chaos_site import environment

from chaos import (
    test_clocks,
    test_deploy,
    test_fault_points,
    test_gil,
    test_joins,
    test_kills,
    test_poison,
    test_recovery,
    test_shutdown_under_load,
    test_superseded,
    test_watchdog,
)
from chaos.ledger import Ledger
from chaos.points import Points
from chaos.storm import SOAK_SECONDS
from worker.harness import Site

DATABASES = ["default", "postgres"]
NAMES = [name.values[1] for name in test_fault_points.visits(["sql"])]


@pytest.fixture(
    params=[
        pytest.param(
            alias,
            marks=pytest.mark.django_db(
                transaction=True, databases=[alias], available_apps=["umbel.contrib.django"]
            ),
        )
        for alias in DATABASES
    ]
)
def site(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Site]:
    """Queues and results in one database, which is empty."""
    request.getfixturevalue("transactional_db")
    database = connections[request.param]
    files = [pathlib.Path(database.settings_dict["NAME"])] if database.vendor == "sqlite" else []
    url = f"django://{request.param}"
    made = Site(tmp_path, url, environment=environment(tmp_path / "path"), files=files)
    yield made
    made.close()


@pytest.fixture
def ledger(site: Site) -> Ledger:
    return Ledger(site)


# -- killed


def test_killing_anything_loses_nothing(ledger: Ledger) -> None:
    test_kills.test_killing_anything_loses_nothing(ledger)


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_killing_children_with_many_slots_loses_nothing(ledger: Ledger, pool: str) -> None:
    test_kills.test_killing_children_with_many_slots_loses_nothing(ledger, pool)


@pytest.mark.soak
@pytest.mark.parametrize("pool", test_kills.POOLS)
def test_killing_anything_for_minutes_loses_nothing(ledger: Ledger, pool: str) -> None:
    with test_kills.storm(ledger, pool).running() as weather:
        weather.blow(SOAK_SECONDS, test_kills.KILLS)
        ledger.settle_up()


@pytest.mark.parametrize("name", NAMES)
def test_a_process_killed_there_loses_nothing_and_doubles_nothing(site: Site, name: str) -> None:
    if site.broker_url == "django://postgres" and name == "sql.settle_removed":
        return  # there, settling is one statement
    for faulty in test_fault_points._faulty(site, apart=False):
        test_fault_points.test_a_process_killed_there_loses_nothing_and_doubles_nothing(faulty, name)


@pytest.mark.parametrize("name", ["client.prepared", "client.sent", "sql.send_written"])
def test_a_program_killed_while_it_calls_has_sent_it_or_not(
    site: Site, tmp_path: pathlib.Path, name: str
) -> None:
    test_fault_points.test_a_program_killed_while_it_calls_has_sent_it_or_not(
        tmp_path, lambda *_: site, "sql", name
    )


def test_a_command_killed_while_it_requeues_has_done_so_or_not(site: Site, tmp_path: pathlib.Path) -> None:
    points = Points(tmp_path / "points")
    with site.worker(app="outcome_jobs"):
        result = site.call("outcome_jobs.is_rejected")
        site.wait_for_shelf("dead")
    command = ("-m", "umbel", "-A", "outcome_jobs", "dead", "requeue", result.id)
    points.arm("sql.requeue_written")
    assert test_fault_points._run(site, points, *command) == -signal.SIGKILL
    assert len(site.shelf("dead")) + len(site.shelf("waiting")) == 1
    points.disarm("sql.requeue_written")
    if site.shelf("dead"):
        assert test_fault_points._run(site, points, *command) == 0
    (message,) = site.shelf("waiting")
    assert (message.task_id, site.shelf("dead")) == (result.id, [])


# -- chords


@pytest.mark.parametrize("point", test_joins.POINTS)
def test_whoever_completes_a_join_dies(site: Site, point: str) -> None:
    test_joins.joins_that_complete_while_somebody_dies(site, point)


def test_no_chord_is_lost_in_a_storm(site: Site) -> None:
    test_joins.chords_in_a_storm(site)


# -- recovery, by the clock


@pytest.mark.serial
@pytest.mark.parametrize(
    "scenario",
    [
        test_recovery.test_the_work_of_a_killed_child_is_running_again_within_a_second,
        test_recovery.test_the_work_of_a_killed_node_is_running_again_within_five_seconds,
        test_recovery.test_the_work_of_a_killed_supervisor_goes_to_the_next_worker_within_five_seconds,
        test_recovery.test_the_work_of_a_lost_machine_is_running_again_when_its_lease_has_ended,
    ],
    ids=lambda scenario: scenario.__name__.removeprefix("test_the_work_of_a_"),
)
def test_the_work_of_what_was_killed_is_running_again(ledger: Ledger, scenario: object) -> None:
    assert callable(scenario)
    scenario(ledger)


# -- everything else


@pytest.mark.parametrize(
    "scenario",
    [
        test_shutdown_under_load.test_a_warm_shutdown_without_a_deadline_repeats_nothing,
        test_shutdown_under_load.test_a_warm_shutdown_with_a_deadline_repeats_only_what_it_interrupts,
        test_shutdown_under_load.test_a_second_signal_ends_it_at_once,
    ],
    ids=lambda scenario: scenario.__name__.removeprefix("test_"),
)
def test_shutdowns(ledger: Ledger, scenario: object) -> None:
    assert callable(scenario)
    scenario(ledger)


@pytest.mark.parametrize(
    "scenario",
    [
        test_clocks.test_a_lease_does_not_end_for_a_wrong_clock,
        test_deploy.test_the_callers_are_deployed_first,
        test_deploy.test_the_workers_are_deployed_first,
        test_gil.test_a_task_that_holds_the_gil_for_three_leases_runs_once,
        test_poison.test_over_its_hard_limit_it_is_kept_and_replayed,
        test_watchdog.test_a_stopped_node_is_replaced_and_nothing_is_lost,
        test_watchdog.test_a_worker_that_was_stopped_as_a_whole_goes_on,
    ],
    ids=lambda scenario: scenario.__name__.removeprefix("test_"),
)
def test_as_on_every_broker(site: Site, scenario: object) -> None:
    assert callable(scenario)
    scenario(site)


@pytest.mark.parametrize("first", ["old", "new"])
def test_one_release_replaces_the_other(site: Site, first: str) -> None:
    test_deploy.test_one_release_replaces_the_other(site, first)


@pytest.mark.parametrize("late", ["running", "finished"])
def test_a_run_that_wakes_up_late_writes_nothing(site: Site, late: str) -> None:
    test_superseded.test_a_run_that_wakes_up_late_writes_nothing(site, "prefork", late)
