"""A rolling deploy: calls of a new task meet workers of the old release, which keep them for those of the new one."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from umbel import AsyncResult
from worker.harness import Site, eventually

WAIT = 30.0
TASKS = 150


class Callers(threading.Thread):
    """A program that goes on calling, the old task and the new one, until it is told to stop."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.known: list[AsyncResult[Any]] = []
        self.added: list[AsyncResult[Any]] = []
        self._site, self._enough = site, threading.Event()

    def run(self) -> None:
        while not self._enough.wait(0.002):
            number = len(self.known)
            self.known.append(self._site.call("shop.known", number))
            self.added.append(self._site.call("shop.added", number))

    def stop(self) -> None:
        self._enough.set()
        self.join()

    def wait_for_calls(self, count: int) -> None:
        eventually(lambda: len(self.added) >= count, f"{count} calls")


def _check(site: Site, callers: Callers) -> None:
    """Every call has run, once."""
    numbers = list(range(len(callers.known)))
    assert site.app.results(callers.known).get(timeout=2 * WAIT) == numbers
    assert site.app.results(callers.added).get(timeout=2 * WAIT) == numbers
    notes = site.notes()
    assert sorted(notes) == sorted(set(notes)), "something ran twice"
    assert sum(line.startswith("added ") for line in notes) == len(numbers)
    site.assert_nothing_left()


def test_the_callers_are_deployed_first(site: Site) -> None:
    """The old worker parks what it does not know; the new one, started beside it, runs it; then the old one goes."""
    callers = Callers(site)
    with site.worker("-n", "old@%h", app="old_release") as old:
        callers.start()
        try:
            callers.wait_for_calls(TASKS // 3)
            parked = site.wait_for_shelf("parked", 10)
            assert {message.task for message in parked} == {"shop.added"}
            assert "No worker here knows the task 'shop.added'" in parked[0].reason
            with site.worker("-n", "new@%h", app="new_release") as new:
                callers.wait_for_calls(2 * TASKS // 3)
                assert old.stop() == 0
                callers.wait_for_calls(TASKS)
                callers.stop()
                new.wait_for("Brought back [0-9]+ parked messages")
                _check(site, callers)
                assert new.stop() == 0
        finally:
            callers.stop()


def test_the_workers_are_deployed_first(site: Site) -> None:
    """Both releases serve the queue when the first call of the new task comes: each ends up with the new worker."""
    callers = Callers(site)
    with (
        site.worker("-n", "old@%h", app="old_release") as old,
        site.worker("-n", "new@%h", app="new_release") as new,
    ):
        callers.start()
        try:
            callers.wait_for_calls(TASKS)
        finally:
            callers.stop()
        _check(site, callers)
        assert any(line.startswith("old ") for line in site.notes())
        assert old.stop() == new.stop() == 0


@pytest.mark.parametrize("first", ["old", "new"])
def test_one_release_replaces_the_other(site: Site, first: str) -> None:
    """Never both: what the old worker has parked waits until there is a new one."""
    callers = Callers(site)
    order = ["old", "new"] if first == "old" else ["new", "old", "new"]
    callers.start()
    try:
        for turn, release in enumerate(order):
            with site.worker("-n", f"{turn}@%h", app=f"{release}_release") as worker:
                goal = len(callers.added) + TASKS // 3
                callers.wait_for_calls(goal)
                if turn == len(order) - 1:
                    callers.stop()
                    _check(site, callers)
                assert worker.stop() == 0
    finally:
        callers.stop()
