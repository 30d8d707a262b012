"""An account of a chaos test that is independent of what it tests: what was accepted, what ran, and what is missing.

The test sends through the ledger, which numbers the calls and keeps what the client said of each. Tasks write down when they
start and when they finish (``events``). Faults are written down too. ``settle_up`` waits until the broker has nothing left,
compares, prints one line, and complains of whatever should not be::

    accepted 5000 / lost 0 / duplicated 0 / dead 0 / time to recover 0.31 s (12 faults, 14 runs again, 3 in doubt, 0 refused)

- *accepted*: ``delay`` returned.
- *lost*: accepted, and neither finished nor among the dead letters, when nothing waits or is held any more.
- *duplicated*: finished twice or more.
- *dead*: among the dead letters.
- *time to recover*: the longest time from a fault to the new start of a run that it cut short (of a fault with ``over``: from
  its end to the first start after it).
- *in doubt*, *refused*: ``delay`` raised, and cannot or can say that nothing was sent.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chaos.events import FINISHED, STARTED, Event, Reader
from umbel.errors import OperationalError
from umbel.ports import Shelf
from umbel.states import SUCCESS
from worker.harness import Site, eventually

BATCH = 250
DRAIN_SECONDS = 90.0
"""Patience for the end of all work."""
UNTOLD_SECONDS = 2.0
"""A run that had finished for so long when its process was ended must have been told of, and must not be repeated for it."""
UNFINISHED: tuple[Shelf, ...] = ("waiting", "scheduled", "held", "parked")


@dataclass
class Fault:
    """Something that was broken on purpose."""

    what: str
    pids: frozenset[int]
    """The processes that it ended."""
    at: int
    over: int | None = None
    """When it was mended, for what can be; both by the ledger's clock, in nanoseconds."""


@dataclass
class Run:
    """One run of a call, as its task told it."""

    number: int
    pid: int
    started: int
    finished: int | None = None


@dataclass
class Account:
    """What ``settle_up`` found. Sets hold the numbers of calls."""

    accepted: int
    lost: set[int]
    duplicated: set[int]
    dead: set[int]
    recovery: float | None
    """Seconds; None: no fault cut anything short."""
    unexplained: set[int]
    """Ran again, though no fault had ended the process of the run before: during that run, or right after it."""
    ghosts: set[int]
    """Ran, though ``delay`` had said that nothing was sent."""
    without_outcome: set[int]
    """Finished, and their result is not there."""
    again: int
    """Runs beyond the first of each call."""
    faults: int
    in_doubt: int
    refused: int

    def __str__(self) -> str:
        recovery = "-" if self.recovery is None else f"{self.recovery:.2f} s"
        return (
            f"accepted {self.accepted} / lost {len(self.lost)} / duplicated {len(self.duplicated)} / "
            f"dead {len(self.dead)} / time to recover {recovery} "
            f"({self.faults} faults, {self.again} runs again, {self.in_doubt} in doubt, {self.refused} refused)"
        )


@dataclass
class Ledger:
    """Of one site. Calls may be sent from several threads."""

    site: Site
    task: str = "chaos.jobs.work"
    accepted: set[int] = field(default_factory=set)
    in_doubt: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    errors: list[Exception] = field(default_factory=list)
    """What ``delay`` raised."""
    longest_send: float = 0.0
    """Seconds that the slowest ``delay`` took, whether it returned or raised."""
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = Reader(self.site.directory)
        self._lock = threading.Lock()
        self._next = 0

    # -- sending

    def send(self, count: int, seconds: float = 0.0, *, batch: int = BATCH) -> list[int]:
        """Send `count` calls of tasks that take so long, by the batch; returns their numbers. What ``delay`` raises is
        written down."""
        numbers = self._numbers(count)
        for first in range(0, count, batch):
            self._send(numbers[first : first + batch], seconds)
        return list(numbers)

    def send_waiting(self, count: int, gate: str = "gate") -> list[int]:
        """Send calls that take until ``open_gate``."""
        numbers = self._numbers(count)
        self._send(numbers, gate, task="chaos.jobs.wait")
        return list(numbers)

    def open_gate(self, gate: str = "gate") -> None:
        (self.site.directory / gate).touch()

    @contextlib.contextmanager
    def sending(self, pause: float = 0.005, seconds: float = 0.0) -> Iterator[None]:
        """Meanwhile a thread sends one call after the other."""
        over = threading.Event()

        def keep_sending() -> None:
            while not over.wait(pause):
                self.send(1, seconds)

        thread = threading.Thread(target=keep_sending, name="producer")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _numbers(self, count: int) -> range:
        with self._lock:
            first = self._next
            self._next += count
        return range(first, first + count)

    def _send(self, numbers: Sequence[int], argument: object, task: str = "") -> None:
        calls = [
            self.site.app.signature(task or self.task, (number, argument), task_id=task_id(number))
            for number in numbers
        ]
        begun = time.monotonic()
        try:
            self.site.app.send_many(calls)
        except OperationalError as exc:
            with self._lock:
                self.errors.append(exc)
                (self.in_doubt if exc.in_doubt else self.refused).update(numbers)
        else:
            with self._lock:
                self.accepted.update(numbers)
        with self._lock:
            self.longest_send = max(self.longest_send, time.monotonic() - begun)

    # -- faults

    def fault(self, what: str, pids: Iterable[int] = ()) -> Fault:
        """Write down a fault that happens now. Say which processes it ends: their runs are what must recover."""
        fault = Fault(what, frozenset(pids), time.monotonic_ns())
        self.faults.append(fault)
        return fault

    @contextlib.contextmanager
    def outage(self, what: str) -> Iterator[Fault]:
        """A fault that lasts as long as the block."""
        fault = self.fault(what)
        try:
            yield fault
        finally:
            fault.over = time.monotonic_ns()

    # -- what has happened so far

    def events(self) -> list[Event]:
        """Everything that tasks have written down."""
        return self._reader.read()

    def started(self) -> set[int]:
        return {event.number for event in self.events() if event.kind == STARTED}

    def finished(self) -> set[int]:
        return {event.number for event in self.events() if event.kind == FINISHED}

    def runs(self) -> dict[int, list[Run]]:
        """The runs of each call, in the order of their starts."""
        runs: dict[int, list[Run]] = {}
        for event in self.events():
            mine = runs.setdefault(event.number, [])
            if event.kind == STARTED:
                mine.append(Run(event.number, event.pid, event.at))
            elif event.kind == FINISHED:
                next(run for run in reversed(mine) if run.pid == event.pid).finished = event.at
        return runs

    def running(self) -> set[int]:
        """Calls that have started and not finished."""
        return self.started() - self.finished()

    def wait_for_starts(self, numbers: Iterable[int]) -> None:
        wanted = set(numbers)
        eventually(lambda: wanted <= self.started(), f"the start of {len(wanted)} calls", DRAIN_SECONDS)

    def wait_for_runs(self, numbers: Iterable[int], count: int) -> None:
        """Until each of these calls has started so many times."""
        wanted = list(numbers)
        eventually(
            lambda: all(len(self.runs().get(number, ())) >= count for number in wanted),
            f"{count} starts of {len(wanted)} calls",
            DRAIN_SECONDS,
        )

    def wait_for_finished(self, count: int) -> None:
        """Until so many calls have finished."""
        eventually(lambda: len(self.finished()) >= count, f"{count} finished calls", DRAIN_SECONDS)

    # -- the account

    def recoveries(self) -> list[tuple[Fault, float]]:
        """Each fault that cut something short, and the seconds until all of it was running again."""
        runs = self.runs()
        starts = sorted(run.started for mine in runs.values() for run in mine)
        recoveries = []
        for fault in self.faults:
            if fault.over is not None:
                after = next((at for at in starts if at > fault.over), None)
                if after is not None:
                    recoveries.append((fault, (after - fault.over) / 1e9))
                continue
            longest = max((again - fault.at for again in _begun_again(runs.values(), fault)), default=None)
            if longest is not None:
                recoveries.append((fault, longest / 1e9))
        return recoveries

    def drain(self, patience: float = DRAIN_SECONDS) -> None:
        """Wait until nothing waits, is scheduled, held or parked."""
        eventually(self._is_drained, f"an empty broker; {len(self.finished())} calls have finished", patience)

    def _is_drained(self) -> bool:
        queues = self.site.ask(lambda broker: broker.queues())
        depths = self.site.ask(lambda broker: broker.depth(queues))
        return not any(getattr(depth, shelf) for depth in depths.values() for shelf in UNFINISHED)

    def account(self, *, results: bool = True) -> Account:
        """Compare, once the broker is drained. `results`: the tasks' results are kept, and looked up."""
        dead = {number_of(letter.task_id) for letter in self.site.shelf("dead")}
        runs = self.runs()
        ends = Counter(event.number for event in self.events() if event.kind == FINISHED)
        recoveries = [seconds for _, seconds in self.recoveries()]
        return Account(
            accepted=len(self.accepted),
            lost=self.accepted - set(ends) - dead,
            duplicated={number for number, count in ends.items() if count > 1},
            dead=dead,
            recovery=max(recoveries, default=None),
            unexplained=self._unexplained(runs.values()),
            ghosts=self.refused & set(runs),
            without_outcome=self._without_outcome(ends) if results else set(),
            again=sum(len(mine) - 1 for mine in runs.values()),
            faults=len(self.faults),
            in_doubt=len(self.in_doubt),
            refused=len(self.refused),
        )

    def _unexplained(self, calls: Iterable[Sequence[Run]]) -> set[int]:
        ended: dict[int, list[Fault]] = {}
        for fault in self.faults:
            for pid in fault.pids:
                ended.setdefault(pid, []).append(fault)
        return {
            run.number
            for mine in calls
            for run in mine[:-1]
            if not any(_excuses(fault, run) for fault in ended.get(run.pid, ()))
        }

    def _without_outcome(self, numbers: Iterable[int]) -> set[int]:
        return {number for number in numbers if self.site.app.AsyncResult(task_id(number)).state != SUCCESS}

    def settle_up(self, *, dead: int = 0, results: bool = True) -> Account:
        """Drain, print the account in one line, and complain of what is lost, of runs that were repeated though no fault had
        ended their process before they were told of, of more or fewer dead letters, of calls that ran though they were refused, and of finished
        calls without a result (unless no `results` are kept)."""
        try:
            self.drain()
        except AssertionError:
            print("not drained:", self.account(results=False))
            raise
        account = self.account(results=results)
        print(account)
        assert not account.lost, _some("accepted, and lost", account.lost)
        assert not account.ghosts, _some("refused, and run", account.ghosts)
        assert not account.without_outcome, _some("finished without a result", account.without_outcome)
        assert not account.unexplained, _some("run again without a reason", account.unexplained)
        assert len(account.dead) == dead, _some("dead", account.dead)
        return account


def task_id(number: int) -> str:
    """The id of a call. Known beforehand, so that it can be found even if ``delay`` raised."""
    return f"call-{number}"


def number_of(task_id: str) -> int:
    return int(task_id.removeprefix("call-"))


def _excuses(fault: Fault, run: Run) -> bool:
    """Whether `fault`, which ended the process of `run`, is a reason to run its call again."""
    # Written down before it happens: what began in between is cut short as well.
    latest = fault.at + UNTOLD_SECONDS * 1e9
    return run.started <= latest and (run.finished is None or run.finished >= fault.at - UNTOLD_SECONDS * 1e9)


def _begun_again(calls: Iterable[Sequence[Run]], fault: Fault) -> Iterator[int]:
    """When each run that `fault` cut short was followed by another one of its call."""
    for mine in calls:
        for run, following in itertools.pairwise(mine):
            if run.pid in fault.pids and run.finished is None and run.started <= fault.at:
                yield following.started


def _some(what: str, numbers: set[int]) -> str:
    return f"{len(numbers)} calls {what}: {sorted(numbers)[:20]}"
