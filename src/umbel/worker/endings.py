"""How the calls that a node holds end: the part of the node between its children, its judge and its settler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from umbel.core.policy import Ending
from umbel.errors import OperationalError
from umbel.ports import Outgoing, Park, Record, Release, ResultStore, Retry, Settlement
from umbel.worker.deadlines import Deadlines
from umbel.worker.inflight import Held, Inflight
from umbel.worker.journal import Journal
from umbel.worker.settlements import with_record
from umbel.worker.settler import Settler
from umbel.worker.verdict import Judge, Verdict

logger = logging.getLogger("umbel.worker")

AGAIN_SECONDS = 2.0
"""Between two attempts to reach a store that is away."""


class Endings:
    """Of one node."""

    def __init__(
        self,
        judge: Judge,
        journal: Journal,
        inflight: Inflight,
        deadlines: Deadlines,
        store: ResultStore | None,
    ) -> None:
        self._judge = judge
        self._journal = journal
        self._inflight = inflight
        self._deadlines = deadlines
        self._store = store
        self._jobs: set[asyncio.Task[None]] = set()
        self.parked: Callable[[str], None] = lambda task: None
        """Called with the name of a task whose message has been parked."""

    def go_through(self, settler: Settler) -> None:
        """Let all endings leave by this door."""
        self._settler = settler
        settler.refused = self.refused

    def end(self, held: Held, ending: Ending, reason: str) -> None:
        """End a call that no child can report on."""
        try:
            verdict = self._judge.conclude(held, ending, reason)
        except Exception:
            # Whatever is odd about the message, it must not be held for ever, nor take the node down at each delivery.
            logger.exception(
                "Cannot work out what follows from the ending of a message; it is buried as it is."
            )
            verdict = self._judge.bury(held, ending, reason)
        self._journal.ended(held, ending, reason, verdict)
        if verdict.awaited is None or held.lease_lost:
            self._carry_out(held, verdict)
        else:
            # Others wait for it, and the store has to be asked for them: not in this loop.
            self._begin(self._end_for_others(held, verdict))

    async def _end_for_others(self, held: Held, verdict: Verdict) -> None:
        assert verdict.awaited is not None
        while True:
            try:
                following = await asyncio.to_thread(verdict.awaited)
            except OperationalError as exc:
                logger.error(
                    "Those who wait for %s cannot be told how it has ended: %s", held.frame.task_id, exc
                )
                if held.receipt is not None:
                    self.release([held])  # it comes again, and is ended again
                    return
                await asyncio.sleep(AGAIN_SECONDS)  # acknowledged early, it lives here alone
            except Exception:
                logger.exception(
                    "What was to follow %s cannot be told that it has failed.", held.frame.task_id
                )
                break
            else:
                held.joined = following.joined
                verdict.follow(following.messages)
                for record in following.records:
                    self._settler.record(record)
                break
        self._carry_out(held, verdict)

    def _carry_out(self, held: Held, verdict: Verdict) -> None:
        record = None if held.lease_lost else verdict.record
        self.settle(held, with_record(verdict.settlement, record), record, verdict.then)

    def settle(
        self,
        held: Held,
        settlement: Settlement | None,
        record: Record | None,
        then: Sequence[Outgoing] = (),
    ) -> None:
        """Carry out what has been decided about a call; None: it was acknowledged early, and only what follows is stored."""
        self._deadlines.end(held)
        if settlement is not None:
            held.settlement = settlement
            held.parked = (settlement.task or held.frame.task_name) if isinstance(settlement, Park) else None
            self._settler.add(held.seq, settlement)
            return
        self._inflight.drop(held.seq)
        if record is not None:
            self._settler.record(record)
        if then:
            self._settler.send(then)
        if held.joined:
            self._begin(self._close_join(held.joined, after=self._settler.drained()))

    def settled(self, seq: int, stale: bool) -> None:
        """A settlement has been carried out."""
        held = self._inflight.get(seq)
        if held is None:
            return
        self._inflight.drop(seq)
        if stale and not held.lease_lost:
            self._journal.lease_lost(held)
        elif held.parked is not None:
            self.parked(held.parked)
        if held.joined and not stale:
            self._begin(self._close_join(held.joined))

    async def _close_join(self, join_id: str, after: Coroutine[Any, Any, None] | None = None) -> None:
        """What was to follow the join is stored, so it is not needed any more. Left open, it goes with time."""
        if after is not None:
            await after
        if self._store is not None:
            try:
                await self._store.close_joins([join_id])
            except OperationalError as exc:
                logger.info("The join %s stays until it expires: %s", join_id, exc)

    def _begin(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def refused(self, seq: int, settlement: Settlement, reason: str) -> None:
        """The broker will never take this settlement: what was to follow cannot be stored where it should be."""
        held = self._inflight.get(seq)
        if held is not None and isinstance(settlement, Retry):
            self.end(held, "refused", reason)  # there is no next try: whoever waits for the result must know
            return
        instead = self._settler.bury(seq, settlement, reason)
        if held is not None:
            held.settlement, held.parked = instead, None

    def release(self, calls: Iterable[Held]) -> None:
        """Give calls back that have not ended, uncounted."""
        for held in calls:
            self._deadlines.end(held)
            if held.receipt is not None:
                held.settlement = Release(receipt=held.receipt, counted=False)
                self._settler.add(held.seq, held.settlement)
            else:
                # Acknowledged early and not begun: it goes back as a new message.
                self._inflight.drop(held.seq)
                self._settler.send([self._judge.resend(held)])

    async def quiet(self) -> None:
        """Wait until nothing more has to be asked of the store."""
        while self._jobs:
            await asyncio.gather(*self._jobs)
