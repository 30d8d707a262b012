"""The steps of a worker for one delivery, in the caller's thread: judged, run, concluded."""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import msgspec

from umbel import integration, portal, records
from umbel.core.frame import DELIVERIES_HEADER
from umbel.ports import Bury, Delivery, Record, Settlement
from umbel.worker import limits
from umbel.worker.inflight import Inflight
from umbel.worker.ipc import Begun, Done, Handed, Progress, Report
from umbel.worker.runner import Runner
from umbel.worker.settlements import settlement_of, with_record
from umbel.worker.verdict import Judge

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Outcome", "Steps"]

HOSTNAME = "test@here"


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a delivery."""

    settlement: Settlement
    task: str
    ending: str
    error: str = ""
    traceback: str = ""
    countdown: float | None = None
    """Seconds until the next try."""


class Steps:
    """A worker's steps for the tasks of one app."""

    def __init__(self, app: Umbel) -> None:
        self._app = app
        self._runner = Runner(
            app, hostname=HOSTNAME, report=self._report, soft_limit=limits.ThreadLimits(), describe=False
        )
        framework = integration.active()
        if framework is not None:
            # This thread, and what is open in it, belong to the test: they are not tidied up as a worker's are.
            self._runner.framework = None
            self._runner.run_coroutine = framework.run_coroutine
        self._inflight = Inflight()
        self._numbers = itertools.count(1)
        self._task_id = ""

    def run(self, delivery: Delivery, now: float, around: AbstractContextManager[None]) -> Outcome:
        """Judge, run and conclude `delivery`. `now`: by the broker's clock. `around` surrounds the run."""
        frame = delivery.frame
        if frame is None:
            reason = delivery.problem or "not a message"
            return Outcome(
                settlement=Bury(receipt=delivery.receipt, reason=reason),
                task="",
                ending="refused",
                error=reason,
            )
        judge = Judge(self._app, HOSTNAME)  # anew: the test may have made another task
        held = self._inflight.add(delivery, frame, 0.0)
        self._inflight.drop(held.seq)
        refusal = judge.refuse(held, revoked=delivery.revoked, now=now)
        if refusal is not None:
            verdict = judge.conclude(held, *refusal)
            settlement = with_record(verdict.settlement, verdict.record)
            assert settlement is not None  # it holds a receipt
            return Outcome(settlement=settlement, task=frame.task_name, ending=refusal[0], error=refusal[1])
        self._task_id = frame.task_id
        deliveries = delivery.count + (frame.headers.get(DELIVERIES_HEADER) or 0)
        handed = Handed(next(self._numbers), frame, deliveries, True, delivery.receipt.queue)
        with around:
            done = self._runner.run(handed)
        return self._concluded(delivery, done)

    def _concluded(self, delivery: Delivery, done: Done) -> Outcome:
        record = None
        if done.payload is not None:
            record = Record(task_id=done.task_id, state=done.state, payload=done.payload, ttl=done.ttl)
        settlement = settlement_of(done, delivery.receipt, record)
        assert settlement is not None  # there is a receipt
        return Outcome(
            settlement=settlement,
            task=done.name,
            ending=done.ending,
            error=done.reason,
            traceback=done.traceback,
            countdown=None if done.replacement is None else done.replacement.due_in or 0.0,
        )

    def _report(self, report: Report) -> None:
        """What a run says of itself is stored at once."""
        if isinstance(report, Progress):
            record = Record(
                task_id=report.task_id, state=report.state, payload=report.payload, ttl=report.ttl
            )
            portal.run(records.put(self._app, record))
        elif isinstance(report, Begun) and report.payload is not None:
            record = Record(task_id=self._task_id, state="STARTED", payload=report.payload, ttl=report.ttl)
            portal.run(records.put(self._app, record))

    def close(self) -> None:
        """Close the event loop in which asynchronous tasks ran."""
        self._runner.leave()
