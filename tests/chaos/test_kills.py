"""SIGKILL of a child, of the node, of the supervisor, of everything, again and again, in the middle of thousands of tasks."""

from __future__ import annotations

import pytest

from chaos.ledger import Ledger
from chaos.storm import KILLS, SEED, SOAK_SECONDS, Storm

SECONDS = 6.0
POOLS = {"prefork": 2, "threads": 8, "asyncio": 8}


def storm(ledger: Ledger, pool: str) -> Storm:
    if pool == "asyncio":
        ledger.task = "chaos.jobs.work_async"
    return Storm(ledger, SEED, {"pool": pool, "concurrency": POOLS[pool]})


def test_killing_anything_loses_nothing(ledger: Ledger) -> None:
    with storm(ledger, "prefork").running() as weather:
        weather.blow(SECONDS, KILLS)
        ledger.settle_up()


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_killing_children_with_many_slots_loses_nothing(ledger: Ledger, pool: str) -> None:
    with storm(ledger, pool).running() as weather:
        weather.blow(SECONDS / 3, ["child"])
        ledger.settle_up()


@pytest.mark.soak
@pytest.mark.parametrize("pool", POOLS)
def test_killing_anything_for_minutes_loses_nothing(ledger: Ledger, pool: str) -> None:
    with storm(ledger, pool).running() as weather:
        weather.blow(SOAK_SECONDS, KILLS)
        ledger.settle_up()
