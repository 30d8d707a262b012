"""Workflows in a fleet of both: whoever sends them, and whoever runs which of their calls, they end alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import umbel
from interop import harness
from interop.harness import CeleryClient, Place
from interop.umbel_side import make_app
from umbel import Umbel

FLOW = "flow"
TIMES = 3
"""How often each is sent, so that its calls are dealt out in different ways."""

# In the words of both.
CANVASES = {
    "chain(add.s(1, 2), add.s(3), add.s(4))": 10,
    "group(add.s(1, 1), add.s(2, 2), add.s(3, 3))": [2, 4, 6],
    "chord([add.s(n, n) for n in range(10)], total.s())": 90,
    "chord([add.s(1, 1)], total.s())": 2,
    "group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(10)": 16,
    "add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(1)": 8,
    "add.s(1, 1) | group(add.s(1), add.s(2))": [3, 4],
    "group(add.s(1, 1), add.s(2, 2)) | group(total.s(), total.s()) | total.s()": 12,
    "chord([add.s(1, 1) | add.s(1), add.s(2, 2)], total.s() | add.s(1))": 8,
    "chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], total.s())": 12,
    "chord([add.s(1, 1) | group(add.s(1), add.s(2)) | total.s(), add.s(3, 3)], total.s())": 13,
    "chord([add.s(1, 1), add.s(2, 2)], group(total.s(), total.s()))": [6, 6],
    "chord([flaky.s(1), add.s(2, 2)], total.s())": 5,
    "group(chord([add.s(1, 1), add.s(2, 2)], total.s()) for _ in range(4)) | total.s()": 24,
}


class Fleet:
    """A worker and a client of each side, on one queue."""

    def __init__(self, app: Umbel, celery: CeleryClient) -> None:
        self.app = app
        self.celery = celery
        names = {name.removeprefix("jobs."): task for name, task in app.tasks.items()}
        self._names: dict[str, Any] = {
            **names,
            "chain": umbel.chain,
            "group": umbel.group,
            "chord": umbel.chord,
        }

    def ours(self, source: str) -> list[Any]:
        return [eval(source, dict(self._names)).apply_async() for _ in range(TIMES)]


@pytest.fixture(scope="module")
def fleet(place: Place) -> Iterator[Fleet]:
    client = CeleryClient(place, FLOW)
    with (
        harness.umbel_worker(place, FLOW, concurrency=2),
        harness.celery_worker(place, FLOW, concurrency=2),
    ):
        yield Fleet(make_app(place.broker, place.backend, FLOW), client)
    client.close()


@pytest.mark.parametrize("source", CANVASES)
def test_what_umbel_sends(fleet: Fleet, source: str) -> None:
    value = CANVASES[source]
    got = [result.get(timeout=20) for result in fleet.ours(source)]
    assert got == [value] * TIMES


@pytest.mark.parametrize("source", CANVASES)
def test_what_celery_sends(fleet: Fleet, source: str) -> None:
    value = CANVASES[source]
    got = fleet.celery(
        f"from celery import chain, chord, group\n"
        f"sent = [({source}).apply_async() for _ in range(times)]\n"
        f"[result.get(timeout=20) for result in sent]",
        times=TIMES,
    )
    assert got == [value] * TIMES


# Not among them: a chord that fails within a chord. Where a worker of Celery finds out, it tells the outer one nothing.
FAILURES = {
    "chain(add.s(1, 2), fail.si('OutOfStock', 'tea', 3), add.s(1))": "OutOfStock",
    "chord([add.s(1, 1), fail.s('OutOfStock', 'tea', 3)], total.s())": "ChordError",
    "chord([add.s(1, 1) | fail.si('OutOfStock', 'tea', 3) | add.s(1), add.s(1, 1)], total.s())": "ChordError",
    "chord([fail.s('OutOfStock', 'tea', 3)], total.s()) | add.s(1) | add.s(2)": "ChordError",
}


@pytest.mark.parametrize("source", FAILURES)
def test_failures_of_what_umbel_sends(fleet: Fleet, source: str) -> None:
    for result in fleet.ours(source):
        error = result.get(timeout=20, propagate=False)
        assert (type(error).__name__, result.state) == (FAILURES[source], "FAILURE")


@pytest.mark.parametrize("source", FAILURES)
def test_failures_of_what_celery_sends(fleet: Fleet, source: str) -> None:
    got = fleet.celery(
        f"from celery import chain, chord, group\n"
        f"sent = [({source}).apply_async() for _ in range(times)]\n"
        f"[type(result.get(timeout=20, propagate=False, disable_sync_subtasks=False)).__name__ for result in sent]",
        times=TIMES,
    )
    assert got == [FAILURES[source]] * TIMES
