"""The three mechanisms behind soft time limits, one by one: they raise inside the run, and never in the next one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from umbel.errors import SoftTimeLimitExceeded
from umbel.worker import limits

WAIT = 20.0


def spin(seconds: float = WAIT) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.0005)  # a step of the work, not a wait
    return "done"


def in_thread(function: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(WAIT)


# -- by signal


def test_a_signal_interrupts_even_a_blocking_call() -> None:
    begun = time.monotonic()
    with pytest.raises(SoftTimeLimitExceeded) as caught, limits.by_signal(0.05):
        threading.Event().wait(WAIT)
    assert time.monotonic() - begun < WAIT / 2
    assert caught.value.args == (0.05,)


def test_the_timer_and_the_handler_are_put_back() -> None:
    def mine(*_: object) -> None:
        """The task's own handler."""

    before = signal.signal(signal.SIGALRM, mine)
    try:
        with limits.by_signal(30):
            assert signal.getsignal(signal.SIGALRM) is not mine
        assert signal.getsignal(signal.SIGALRM) is mine
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_no_signal_comes_late() -> None:
    for n in range(200):
        try:
            with limits.by_signal(0.001):
                spin(0.0009 + n * 1e-6)
        except SoftTimeLimitExceeded:
            continue
    spin(0.01)


# -- in threads


def test_an_exception_is_raised_in_the_thread_that_is_late() -> None:
    limit = limits.ThreadLimits()

    def late() -> object:
        with pytest.raises(SoftTimeLimitExceeded) as caught, limit(0.05):
            spin()
        return caught.value.args

    assert in_thread(late) == (0.05,)


def test_only_that_thread_is_hit() -> None:
    limit = limits.ThreadLimits()
    with ThreadPoolExecutor(4) as pool:

        def run(seconds: float) -> str:
            try:
                with limit(seconds):
                    return spin(0.3)
            except SoftTimeLimitExceeded:
                return "limit"

        runs = [pool.submit(run, seconds) for seconds in (0.05, 30, 0.1, 30)]
        assert [run.result(WAIT) for run in runs] == ["limit", "done", "limit", "done"]


def test_a_thread_may_catch_it_and_go_on() -> None:
    limit = limits.ThreadLimits()

    def caught() -> object:
        with limit(0.02):
            try:
                spin()
            except SoftTimeLimitExceeded:
                return spin(0.05)
        return None

    assert in_thread(caught) == "done"


def test_no_exception_comes_late_into_the_next_task_of_the_thread() -> None:
    """Runs that end at the very moment of their limit, in several threads at once."""
    limit = limits.ThreadLimits()

    def race(offset: int) -> int:
        hits = 0
        for n in range(150):
            try:
                with limit(0.001):
                    spin(0.0008 + (n + offset) % 40 * 1e-5)
            except SoftTimeLimitExceeded:
                hits += 1
            # The next task, without a limit: nothing may be raised here.
            for _ in range(200):
                len("next")
        return hits

    with ThreadPoolExecutor(4) as pool:
        hits = [future.result(WAIT) for future in [pool.submit(race, 10 * n) for n in range(4)]]
    assert 0 < sum(hits) <= 600
    # And the mechanism still works.
    assert in_thread(lambda: _is_limited(limit)) is True


def _is_limited(limit: limits.ThreadLimits) -> bool:
    try:
        with limit(0.01):
            spin()
    except SoftTimeLimitExceeded:
        return True
    return False


def test_an_error_of_the_task_is_not_replaced() -> None:
    limit = limits.ThreadLimits()

    def fails() -> None:
        with limit(30):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        in_thread(fails)


def test_deadlines_of_runs_that_have_ended_do_not_pile_up() -> None:
    limit = limits.ThreadLimits()

    def many() -> int:
        for _ in range(10_000):
            with limit(3600):
                pass
        return len(limit._deadlines)

    assert in_thread(many) < 1_000


# -- in coroutines


async def _sleeps() -> str:
    await asyncio.sleep(WAIT)
    return "slept"


async def _catches() -> str:
    try:
        await asyncio.sleep(WAIT)
    except SoftTimeLimitExceeded as exc:
        await asyncio.sleep(0)  # it can go on awaiting
        return f"caught {exc.args[0]}"
    return "slept"


def test_a_coroutine_is_interrupted_where_it_awaits() -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        asyncio.run(limits.in_coroutine(_sleeps(), 0.02))


def test_a_coroutine_may_catch_it() -> None:
    assert asyncio.run(limits.in_coroutine(_catches(), 0.02)) == "caught 0.02"


def test_a_coroutine_below_others_is_reached() -> None:
    async def outer() -> str:
        return await asyncio.gather(_sleeps(), _sleeps())

    with pytest.raises(SoftTimeLimitExceeded):
        asyncio.run(limits.in_coroutine(outer(), 0.02))


def test_a_cancellation_of_someone_else_stays_one() -> None:
    async def main() -> None:
        task = asyncio.create_task(limits.in_coroutine(_sleeps(), 30))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_its_own_timeouts_still_work() -> None:
    async def own() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(WAIT)
        except TimeoutError:
            return "its own"
        return "none"

    assert asyncio.run(limits.in_coroutine(own(), 30)) == "its own"


def test_after_the_limit_the_task_is_not_left_cancelled() -> None:
    async def main() -> str:
        with pytest.raises(SoftTimeLimitExceeded):
            await limits.in_coroutine(_sleeps(), 0.01)
        await asyncio.sleep(0.01)  # would raise CancelledError
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return "alive"

    assert asyncio.run(main()) == "alive"


def test_no_limit_comes_late_into_the_next_coroutine() -> None:
    async def main() -> None:
        for n in range(100):
            with contextlib.suppress(SoftTimeLimitExceeded):
                await limits.in_coroutine(asyncio.sleep(0.0009 + n * 2e-6), 0.001)
            await asyncio.sleep(0)

    asyncio.run(main())
