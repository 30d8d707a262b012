"""The node: one event loop between the broker and the children. It holds every lease and runs no user code.

A delivery is admitted (or refused, with a named end), buffered, handed to a child, reported back and settled.
The loops below are all there is: fetch, renew, settle, watch the clock, announce, listen for hints.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable

from umbel import faults
from umbel.ports import (
    Broker,
    NodeHealth,
    Record,
    ResultStore,
    Signal,
)
from umbel.worker.connection import Connection
from umbel.worker.control import Commands
from umbel.worker.crew import IDLE_SECONDS, Child, Crew
from umbel.worker.deadlines import Deadlines, TimeLimits
from umbel.worker.deaths import Deaths
from umbel.worker.endings import Endings
from umbel.worker.events import Events
from umbel.worker.fetcher import Fetcher
from umbel.worker.health import Health
from umbel.worker.inflight import Held, Inflight
from umbel.worker.ipc import Begun, Done, Dropped, Heard, Progress, Ready, Unreadable
from umbel.worker.journal import Journal
from umbel.worker.leases import Leases
from umbel.worker.line import Line
from umbel.worker.pace import Pace
from umbel.worker.presence import Presence
from umbel.worker.revoking import Revoking
from umbel.worker.settings import NodeSettings
from umbel.worker.settlements import is_spared, sentence, settlement_of
from umbel.worker.settler import Settler
from umbel.worker.upkeep import Upkeep
from umbel.worker.verdict import Judge
from umbel.worker.watchdog import guard

logger = logging.getLogger("umbel.worker")

BUFFER_SECONDS = 1.0
"""What has waited in the buffer for so long goes back to its queue: another worker may be free."""
BACKLOG = 2000
"""So many endings that are not stored yet, and nothing more is fetched."""
AHEAD = 4
"""So many calls for each slot may wait for their turn under a rate limit before nothing more is fetched, as in Celery."""
TICK = 0.020
LINGER_SECONDS = 0.2
"""How long the connection of a dead child may stay open. It does where a process that the task forked has inherited it."""
LISTEN_SECONDS = 1.0
"""How long a worker that is ready otherwise waits until it hears commands, before it says so."""
FLUSH_SECONDS = 10.0
"""How long a shutdown waits for the broker to take the last endings."""


class Node:
    """See the module. ``run`` returns when the worker has shut down."""

    def __init__(
        self,
        settings: NodeSettings,
        broker: Broker,
        store: ResultStore | None,
        judge: Judge,
        journal: Journal,
    ) -> None:
        self.settings = settings
        self.broker = broker
        self.store = store
        self.judge = judge
        self.journal = journal
        self.health = Health()
        self.crew = Crew()
        self.crew.refuse = lambda held, why: self.endings.end(held, "refused", why)
        self.inflight = Inflight()
        self.kill: Callable[[Child], None] = Child.kill
        """How a child is killed."""
        self.on_ready: Callable[[], None] = lambda: None
        self.shut_down: Callable[[], None] = self.stop
        """How the whole worker is ended."""
        self.commands = Commands(self, "celery.pidbox", dict)
        self.events = journal.events = self._make_events()
        self.queues: tuple[str, ...] = settings.queues
        self.size = settings.children
        """How many children there shall be."""
        self.per_worker_rates = settings.rates is not None
        self.pace = Pace(settings.rates or {}, self._begin)
        self.time_limits = TimeLimits()
        self.tell_size: Callable[[int], None] | None = None
        """Tells the supervisor how many children there shall be. None: that is fixed."""
        self._upkeep = Upkeep(settings, broker, store, judge.known_tasks())
        self.presence = Presence(
            settings,
            broker,
            started=journal.started_at,
            tasks=sorted(judge.known_tasks()),
            counters=self._counters,
            heed=self._heed,
        )
        self.presence.health = self.report
        self.health.hindrance = self._hindrance
        self._ticking: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        self._cold = asyncio.Event()
        self._quiet = asyncio.Event()
        self._connection = Connection(
            settings, broker, store, presence=self.presence, health=self.health, stop=self._stop
        )
        self._deaths = Deaths()
        self._burials: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(self._execute)
        self.endings = Endings(judge, journal, self.inflight, self._deadlines, store)
        self.endings.parked = self._upkeep.parked
        self.revoking = Revoking(self.inflight, self.crew, self.pace, self.endings, self._execute)
        self._leases = Leases(settings, broker, self.inflight, self.crew, journal, self.health, self._execute)

    def _make_events(self) -> Events:
        settings, journal = self.settings, self.journal
        events = Events(
            self.broker,
            settings.name,
            exchange=settings.event_exchange,
            active=self.crew.busy,
            processed=lambda: sum(journal.counters.values()),
        )
        if settings.send_events and not events.enable():
            logger.warning(
                "%s carries no events: -E and worker_send_task_events have no effect.", self.broker.caps.name
            )
        return events

    # -- life ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until ``stop``. Raises whatever one of the loops could not handle, after giving work back."""
        self._loop = asyncio.get_running_loop()
        adopted = self.store is not None and self.broker.adopt(self.store)
        self.settler = Settler(
            self.broker,
            self.store,
            adopted=adopted,
            settled=self.endings.settled,
            lease=self.settings.lease,
        )
        self.settler.on_flush = lambda: self.fetcher.credit()
        self.endings.go_through(self.settler)
        self.fetcher = self._make_fetcher()
        await self._connection.open()
        fetching = asyncio.create_task(
            guard(self.fetcher, self.broker.patience, self.settings.limits).run(), name="watchdog"
        )
        jobs = [
            fetching,
            asyncio.create_task(self.settler.run(), name="settle"),
            asyncio.create_task(self._leases.run(), name="renew"),
            asyncio.create_task(self._watch(), name="watch"),
            asyncio.create_task(self._upkeep.run(), name="upkeep"),
            asyncio.create_task(self.presence.announce(), name="announce"),
            asyncio.create_task(self.presence.listen(), name="signals"),
            asyncio.create_task(self.commands.run(), name="commands"),
            asyncio.create_task(self.events.run(), name="events"),
        ]
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.commands.listening.wait(), LISTEN_SECONDS)
        if not self._stop.is_set():
            self.on_ready()
        clean = False
        try:
            done, _ = await asyncio.wait([stopping, *jobs], return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                finished.result()
            await self._shut_down(fetching)
            clean = True
        finally:
            for job in [stopping, *jobs]:
                job.cancel()
            await asyncio.gather(stopping, *jobs, return_exceptions=True)
            await self.events.leave()
            await self._connection.close(clean=clean)

    def _make_fetcher(self) -> Fetcher:
        fetcher = Fetcher(self.settings, self.broker, self.inflight, self.settler, self.judge, self.journal)
        fetcher.health = self.health
        fetcher.wanted = self._wanted
        fetcher.renew = self._leases.renew
        fetcher.admit = self._admit
        fetcher.end = self.endings.end
        self.pace.go_through(fetcher)
        self.broker.on_step = fetcher.step
        return fetcher

    def stop(self, *, cold: bool = False) -> None:
        """Begin to shut down: warm (running tasks may finish), or cold (they are killed and given back)."""
        if cold:
            self._cold.set()
        self._stop.set()

    async def _shut_down(self, fetching: asyncio.Task[None]) -> None:
        # 1. Reserve nothing more.
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        # 2. Hand back what has not begun.
        await self.pace.quiet()
        self.endings.release([*self.crew.recall_all(self._now()), *self.pace.take_all()])
        # 3. Wait for what runs, for the grace period or until told not to.
        if self.crew.busy() and not self._cold.is_set():
            busy = self.crew.busy()
            logger.warning("Warm shutdown: waiting for %d running task%s.", busy, "" if busy == 1 else "s")
            await self._wait_for_quiet()
        # 4. Kill the rest and give it back, uncounted.
        for child in list(self.crew.children.values()):
            interrupted = list(child.handed.values())
            if interrupted:
                logger.warning(
                    "Interrupting %d running tasks; they go back to their queue.", len(interrupted)
                )
                child.retiring = True
                child.handed.clear()
                self.kill(child)
                for held in interrupted:
                    if held.doomed is not None:
                        self.endings.end(held, held.doomed, sentence(held, "was killed"))
                    elif held.receipt is None:
                        self.endings.end(held, "lost", "the worker was stopped")
                    else:
                        self.endings.release([held])
        # 5. Let the last endings reach the store, then let the children go.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.endings.quiet()
                await self.settler.drained()
                await self.endings.quiet()
        for child in list(self.crew.children.values()):
            child.dismiss()

    async def _wait_for_quiet(self) -> None:
        waiters = [asyncio.create_task(self._quiet.wait()), asyncio.create_task(self._cold.wait())]
        self._quiet.clear()
        if self.crew.busy():
            await asyncio.wait(waiters, timeout=self.settings.grace, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

    # -- from the broker -------------------------------------------------------------------------------

    def _wanted(self) -> int:
        # While endings cannot be stored, every further task would only add to what this process has to remember.
        if self.settler.backlog() > BACKLOG or self.pace.waiting >= AHEAD * self.size * self.settings.slots:
            return 0
        return self.crew.wanted()

    def _admit(self, calls: list[Held]) -> None:
        self.time_limits.apply(calls)
        self.pace.take_in(calls) if self.pace else self._begin(calls)

    def _begin(self, calls: list[Held]) -> None:
        self.crew.offer(calls)
        self._deal()

    # -- from the children -----------------------------------------------------------------------------

    async def attach(self, child: Child) -> None:
        """Connect a child that the supervisor has started."""
        child.most = self.settings.max_tasks_per_child
        self.crew.add(child)
        await asyncio.get_running_loop().create_connection(
            lambda: Line(child, self.reports, self.lost_child), sock=child.sock
        )

    def child_died(self, pid: int, how: str) -> None:
        """The supervisor's word on how a child ended."""
        child = next((child for child in self.crew.children.values() if child.pid == pid), None)
        self._deaths.tell(pid, how, known=child is not None)
        if child is not None and not child.gone:
            self._loop.call_later(LINGER_SECONDS, child.hang_up)

    def reports(self, child: Child, reports: Iterable[Heard]) -> None:
        """What a child said, in order."""
        finished = 0
        for report in reports:
            if isinstance(report, Done):
                held = child.handed.pop(report.seq, None)
                if held is not None:
                    finished += 1
                    self._done(held, report)
            elif isinstance(report, Dropped):
                child.owed -= 1
            elif isinstance(report, Begun):
                self._begun(child, report)
            elif isinstance(report, Progress):
                held = child.handed.get(report.seq)
                if held is not None and not held.lease_lost:
                    self.settler.record(
                        Record(
                            task_id=report.task_id, state=report.state, payload=report.payload, ttl=report.ttl
                        )
                    )
            elif isinstance(report, Ready):
                child.ready = True
            elif isinstance(report, Unreadable):
                finished += self._misheard(child, report)
        if finished:
            child.measure(finished, self._now())
            self._retire_if_due(child)
        if self._stop.is_set():
            self._hush()
        else:
            self._deal()
            self.fetcher.credit()

    def _begun(self, child: Child, report: Begun) -> None:
        held = child.handed.get(report.seq)
        if held is None:
            return
        held.began = time.time()
        if self.events.on:
            self.events.started(held)
        if report.payload is not None and not held.lease_lost:
            self.settler.record(
                Record(task_id=held.frame.task_id, state="STARTED", payload=report.payload, ttl=report.ttl)
            )
        if report.hard is not None:
            self._deadlines.begin(child, held, report.hard)

    def _misheard(self, child: Child, report: Unreadable) -> bool:
        """Returns whether a call has ended by it."""
        logger.error("Child %d has sent a report that cannot be read: %s", child.pid, report.why)
        held = child.handed.pop(report.seq, None) if report.done else None
        if held is not None:
            self.endings.end(held, "refused", f"It has run, and its outcome cannot be read: {report.why}")
        return held is not None

    def _done(self, held: Held, done: Done) -> None:
        faults.point("node.heard")
        if not held.lease_lost:
            self.journal.done(held, done)
        record = None
        if done.payload is not None and not held.lease_lost:
            record = Record(task_id=done.task_id, state=done.state, payload=done.payload, ttl=done.ttl)
        then = [*done.then, done.replacement] if done.replacement is not None else done.then
        if not held.lease_lost:
            held.joined = done.joined
            for task_id, state, payload, ttl in done.records:
                self.settler.record(Record(task_id=task_id, state=state, payload=payload, ttl=ttl))
        if held.receipt is None and done.settle == "release":
            self.endings.end(held, "lost", done.reason)  # there is no message to be delivered again
            return
        self.endings.settle(held, settlement_of(done, held.receipt, record), record, then)

    def lost_child(self, child: Child) -> None:
        """The connection to a child has ended: all its reports are in."""
        self.crew.offer(child.take_back(), first=True)
        child.gone = True
        if child.handed or not child.retiring:
            burial = self._loop.create_task(self._bury_child(child))
            self._burials.add(burial)
            burial.add_done_callback(self._burials.discard)
        else:
            self._deaths.forget(child.pid)
            self._forget_child(child)

    async def _bury_child(self, child: Child) -> None:
        how = await self._deaths.of(child.pid, lambda: self.kill(child))
        faults.point("node.child_lost")
        calls = list(child.handed.values())
        culprit = child.culprit()
        known = child.executed or culprit is not None
        child.handed.clear()
        neighbours = []
        for held in calls:
            if held.lease_lost:
                self._deadlines.end(held)
                self.inflight.drop(held.seq)
            elif held.doomed is not None:
                self.endings.end(held, held.doomed, sentence(held, how))
            elif held is not culprit and held.receipt is not None and is_spared(held, known=known):
                neighbours.append(held)
            else:
                # Acknowledged early, it must not run twice: that is what early acknowledgement is chosen for.
                self.endings.end(held, "lost", how)
        self.journal.shared(neighbours, how)
        self.crew.offer(neighbours, first=True)
        self._forget_child(child)

    def _forget_child(self, child: Child) -> None:
        child.forget()
        self.crew.remove(child)
        if self._stop.is_set():
            self.endings.release(self.crew.recall_all(self._now()))
            self._hush()
        else:
            self._deal()
            self.fetcher.credit()

    def _hush(self) -> None:
        """Let a shutdown go on when nothing runs any more. One child that is done says nothing of the others."""
        if not self.crew.busy():
            self._quiet.set()

    def _retire_if_due(self, child: Child) -> None:
        if child.most is not None and child.finished >= child.most and not child.retiring:
            self._retire(child)
        if child.retiring and not child.handed:
            child.dismiss()

    def retire(self, child: Child) -> None:
        """Let it end what it runs, and go."""
        self._retire(child)
        self._retire_if_due(child)

    def _retire(self, child: Child) -> None:
        child.retiring = True
        back = child.take_back()
        self.crew.offer(back, first=True)

    # -- the clock -------------------------------------------------------------------------------------

    def _deal(self) -> None:
        self.crew.deal(self._now())
        soon = self.crew.uneven()
        if soon and self._ticking is not None and self._ticking.when() > self._loop.time() + IDLE_SECONDS:
            self._ticking.cancel()
            self._ticking = None
        if self._ticking is None and (self.crew.buffer or self.crew.busy()):
            self._ticking = self._loop.call_later(IDLE_SECONDS if soon else TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        if self._stop.is_set():
            return
        now = self._now()
        self.crew.recall(now)
        self.endings.release(self.crew.overdue(now, BUFFER_SECONDS))
        self._deal()
        if self._wanted() > 0:
            # The trial of a suspect ends by time, and no report tells of it.
            self.fetcher.credit()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for child in self.crew.overweight(self.settings.max_memory_per_child):
                self.retire(child)

    # -- how it is --------------------------------------------------------------------------------------

    def report(self) -> NodeHealth:
        """How this node is, for whoever asks."""
        return self.health.report(stopping=self._stop.is_set())

    def _hindrance(self) -> str | None:
        if self._wanted() > 0:
            return None
        if (backlog := self.settler.backlog()) > BACKLOG:
            return f"{backlog} endings have to be stored first"
        return self.crew.hindrance()

    # -- hints -----------------------------------------------------------------------------------------

    def _counters(self) -> dict[str, int]:
        return {**self.journal.counters, "active": self.crew.busy(), "held": len(self.inflight)}

    def _heed(self, hint: Signal) -> None:
        self._upkeep.heed(hint)
        self.revoking.heed(hint)

    def _execute(self, child: Child) -> None:
        """Kill it on account of one of its calls: the others are not to blame, not even the last that is left."""
        child.executed = True
        self.kill(child)

    def _now(self) -> float:
        return time.monotonic()
