"""Memory, SQLite and Redis do the same, whatever is done to them: random programs, beside a model that is plain to read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from servers import RedisServer

from .machine import BrokerMachine
from .sides import all_sides

SETTINGS = settings(
    max_examples=16,
    stateful_step_count=30,
    derandomize=True,  # what fails in one run fails in the next; new programs are the soak's business
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SOAK = settings(SETTINGS, max_examples=50, stateful_step_count=60, derandomize=False)


def test_the_backends_agree(redis_process: RedisServer, tmp_path: Path) -> None:
    def machine() -> BrokerMachine:
        return BrokerMachine(lambda: all_sides(redis_process, tmp_path))

    run_state_machine_as_test(machine, settings=SETTINGS)


@pytest.mark.soak
def test_the_backends_agree_for_long(redis_process: RedisServer, tmp_path: Path) -> None:
    def machine() -> BrokerMachine:
        return BrokerMachine(lambda: all_sides(redis_process, tmp_path))

    until = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "120"))
    while time.monotonic() < until:
        run_state_machine_as_test(machine, settings=SOAK)
