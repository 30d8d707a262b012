"""``celery.contrib.testing.manager``: waits for results and asks workers, for integration tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from umbel.errors import TimeoutError, UmbelError
from umbel.result import AsyncResult

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Manager", "ManagerMixin", "Sentinel"]


class Sentinel(Exception):
    """What was waited for has not come."""


class ManagerMixin:
    """The methods; ``Manager`` has the app."""

    app: Umbel
    block_timeout = 30 * 60.0
    no_join = False

    def remark(self, message: str, sep: str = "-") -> None:
        """Say something in the output of the test."""
        print(f"{sep}{message}")  # noqa: T201 - that is what it is for

    def missing_results(self, results: Iterable[AsyncResult[Any]]) -> list[str]:
        """The ids of those that have not ended."""
        return [result.id for result in results if not result.ready()]

    def wait_for(
        self,
        fun: Callable[[], Any],
        catch: type[BaseException] | tuple[type[BaseException], ...],
        desc: str = "thing",
        args: tuple[Any, ...] = (),
        max_retries: int | None = 10,
        interval_start: float = 0.1,
        **unused: Any,
    ) -> Any:
        """Call `fun` until it does not raise `catch`, `max_retries` times at most. Raises what it raised last."""
        attempt = 0
        while True:
            try:
                return fun(*args)
            except catch:
                attempt += 1
                if max_retries is not None and attempt > max_retries:
                    raise
                time.sleep(min(interval_start * attempt, 1.0))

    def ensure_not_for_a_while(
        self,
        fun: Callable[[], Any],
        catch: type[BaseException] | tuple[type[BaseException], ...],
        **options: Any,
    ) -> None:
        """`fun` must go on raising `catch` for a while."""
        try:
            self.wait_for(fun, catch, **options)
        except catch:
            return
        raise AssertionError("It should not have happened.")

    def join(self, result: Any, propagate: bool = False, max_retries: int = 10, **options: Any) -> Any:
        """Wait for `result`, in several attempts. Raises AssertionError."""
        for _ in range(max_retries):
            try:
                return result.get(propagate=propagate, **{"timeout": 3.0, **options})
            except TimeoutError as exc:
                self.remark(f"waiting for {result!r}: {exc}", "!")
        raise AssertionError(f"The result has not come: {result!r}")

    def inspect(self, timeout: float = 3.0) -> Any:
        """``app.control.inspect()``."""
        return self.app.control.inspect(timeout=timeout)

    def query_tasks(self, ids: Iterable[str], timeout: float = 0.5) -> Iterable[tuple[str, Any]]:
        """What workers have of these calls."""
        return (self.inspect(timeout).query_task(*ids) or {}).items()

    def query_task_states(self, ids: Iterable[str], timeout: float = 0.5) -> dict[str, set[str]]:
        """The ids by where they are: "reserved", "active"."""
        found: dict[str, set[str]] = {}
        for _, calls in self.query_tasks(list(ids), timeout):
            for task_id, (state, _) in calls.items():
                found.setdefault(state, set()).add(task_id)
        return found

    def is_accepted(self, ids: Iterable[str], interval: float = 0.5) -> bool:
        """Whether all of them run."""
        wanted = set(ids)
        return wanted <= self.query_task_states(wanted, interval).get("active", set())

    def is_received(self, ids: Iterable[str], interval: float = 0.5) -> bool:
        """Whether workers have all of them."""
        wanted = set(ids)
        return wanted <= set().union(*self.query_task_states(wanted, interval).values())

    def assert_accepted(
        self, ids: Iterable[str], interval: float = 0.5, desc: str = "", **policy: Any
    ) -> Any:
        """Wait until all of them run."""
        return self._assert(lambda: self.is_accepted(ids, interval), **policy)

    def assert_received(
        self, ids: Iterable[str], interval: float = 0.5, desc: str = "", **policy: Any
    ) -> Any:
        """Wait until workers have all of them."""
        return self._assert(lambda: self.is_received(ids, interval), **policy)

    def assert_result_tasks_in_progress_or_completed(
        self, async_results: Iterable[AsyncResult[Any]], interval: float = 0.5, desc: str = "", **policy: Any
    ) -> Any:
        """Wait until each of them has begun or ended."""
        wanted = ("STARTED", "SUCCESS")
        return self._assert(lambda: all(result.state in wanted for result in async_results), **policy)

    def _assert(self, holds: Callable[[], bool], **policy: Any) -> Any:
        return self.wait_for(lambda: self.true_or_raise(holds), (Sentinel, UmbelError), **policy)

    def true_or_raise(self, fun: Callable[..., bool], *args: Any, **kwargs: Any) -> bool:
        """What `fun` returns, if it is true. Raises Sentinel."""
        value = fun(*args, **kwargs)
        if not value:
            raise Sentinel
        return value

    def wait_until_idle(self) -> None:
        """Wait until no worker runs anything, then delete what waits."""
        self._assert(lambda: not any((self.inspect(0.5).active() or {}).values()))
        self.app.control.purge()


class Manager(ManagerMixin):
    """Of one app."""

    def __init__(self, app: Umbel, **unused: Any) -> None:
        self.app = app
