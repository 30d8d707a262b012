"""The node's view of its children, and who gets which call.

The crew keeps one small buffer for all children. A child is handed as many calls as it is likely to finish in
about ten milliseconds, judged by its last ones; what turns out to wait behind a long call is taken back (see
``ipc``) and goes to a child that is free. So tiny tasks travel by the hundred, and a long task delays nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable

from umbel import faults
from umbel.worker.inflight import Held
from umbel.worker.ipc import Handed, encode

logger = logging.getLogger("umbel.worker")

AHEAD_SECONDS = 0.010
"""How much work a child is handed before it has reported the previous one."""
AHEAD_CALLS = 250
STUCK_SECONDS = 0.020
"""A child that reports nothing for so long loses what it has not begun …"""
IDLE_SECONDS = 0.005
"""… and after so long already when another child has nothing to do."""
TRIAL_SECONDS = 1.0
"""So long after a suspect no other call is begun in its process: if that dies, it was the suspect."""
_SMOOTHING = 0.2
_UNLIMITED = 1 << 30
_UNMEASURED = 0.050
"""The time per call that is assumed of a child that has not finished any."""


class Child:
    """One child process (or thread, in tests) as the node sees it."""

    def __init__(
        self,
        index: int,
        pid: int,
        slots: int,
        ends: tuple[socket.socket, int, int],
    ) -> None:
        self.index = index
        self.pid = pid
        self.slots = slots
        self.sock, self._tokens_read, self._tokens_write = ends
        self._tokens = [self._tokens_read, self._tokens_write]
        self._spare = self.sock.dup()
        self.transport: asyncio.Transport | None = None
        """Set by the node when the connection is up."""
        self.handed: dict[int, Held] = {}
        """Calls it has, in the order in which it begins them."""
        self.owed = 0
        """Calls taken back of which the child does not know yet. Until it says so, it gets nothing new:
        a new token could otherwise begin an old call."""
        self.finished = 0
        self.last_report = 0.0
        self.seconds_per_call = _UNMEASURED
        """Smoothed time from one ending to the next while it is busy; with many slots, less than a call takes."""
        self.retiring = False
        """Gets nothing more, and is closed when its last call has ended."""
        self.most: int | None = None
        """How many calls it may run in its life."""
        self.ready = False
        self.gone = False
        self.executed = False
        """The node has killed it on account of one of its calls."""
        self.on_trial: Held | None = None
        """The suspect that it has begun last."""
        self._trial_ends = 0.0

    def room(self) -> int:
        """How many calls it can be given now."""
        if self.retiring or self.owed or self.gone or not self.ready or self.on_trial is not None:
            return 0
        return max(0, min(self.slots + self.ahead() - len(self.handed), self.left()))

    def left(self) -> int:
        """How many more calls it may be given before its life is over."""
        return _UNLIMITED if self.most is None else self.most - self.finished - len(self.handed)

    def ahead(self) -> int:
        """How many calls beyond its slots it would begin within ``AHEAD_SECONDS``."""
        return min(AHEAD_CALLS, int(AHEAD_SECONDS / self.seconds_per_call))

    def backlog(self) -> bool:
        """Whether calls wait in it behind those that run."""
        return len(self.handed) > self.slots

    def free_slots(self) -> int:
        """Slots in which nothing runs and something may."""
        return max(0, min(self.room(), self.slots - len(self.handed)))

    def hand(self, calls: list[Held], now: float) -> None:
        """Give it calls: the tokens first, so that it never meets a call whose token is still to come.

        Raises what ``ipc.encode`` raises for a call that cannot travel; then none of them was given.
        """
        assert self.transport is not None, "a child has room only after it has reported over its connection"
        data = encode(
            [Handed(held.seq, held.frame, held.deliveries, held.report_begin, held.queue) for held in calls]
        )
        if not self.handed:
            self.last_report = now
        os.write(self._tokens_write, bytes(len(calls)))
        faults.point("crew.promised")
        self.transport.write(data)
        for held in calls:
            self.handed[held.seq] = held
        faults.point("crew.handed")

    def put_on_trial(self, held: Held, now: float) -> None:
        """It is about to be handed the suspect `held`."""
        self.on_trial, self._trial_ends = held, now + TRIAL_SECONDS

    def culprit(self) -> Held | None:
        """The call on whose account it has died by itself, as far as that is known."""
        if self.executed:
            return None
        if len(self.handed) == 1:
            return next(iter(self.handed.values()))
        suspect = self.on_trial
        return suspect if suspect is not None and suspect.seq in self.handed else None

    def end_trial(self, now: float) -> None:
        """Go on as usual if the suspect has ended, or has run for a while."""
        held = self.on_trial
        if held is not None and (now >= self._trial_ends or held.seq not in self.handed):
            self.on_trial = None

    def take_back(self) -> list[Held]:
        """Every call that it has not begun, and now will not begin."""
        try:
            tokens = len(os.read(self._tokens_read, 1 << 16)) if self._tokens else 0
        except BlockingIOError:
            return []
        calls = (
            [self.handed.pop(seq) for seq in list(self.handed)[len(self.handed) - tokens :]] if tokens else []
        )
        self.owed += tokens
        return calls

    def measure(self, finished: int, now: float) -> None:
        """Learn from `finished` reports that came together at time `now`."""
        elapsed = max(now - self.last_report, 1e-6)
        self.last_report = now
        self.finished += finished
        sample = elapsed / finished
        # A long call is believed at once, a short one by and by: the costly mistake is to hand out too much.
        weight = 1.0 if sample > self.seconds_per_call * 8 else _SMOOTHING
        self.seconds_per_call += (sample - self.seconds_per_call) * weight

    def dismiss(self) -> None:
        """Close the connection, which a child takes as the word to exit."""
        self.retiring = True
        if self.transport is not None:
            self.transport.close()

    def kill(self) -> None:
        """End its process, whatever it does."""
        with contextlib.suppress(ProcessLookupError):  # it has died by itself
            os.kill(self.pid, signal.SIGKILL)

    def resident_kib(self) -> int:
        """Its memory; 0 where the system does not say."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)
        except OSError:
            return 0

    def cancel(self, seq: int) -> None:
        """Ask it to cancel a call that it runs."""
        if self.transport is not None:
            self.transport.write(encode(seq))

    def hang_up(self) -> None:
        """Its process is dead: end the connection even if another process still has it open."""
        if self.transport is not None and not self.gone:
            self.transport.abort()

    def last_words(self) -> bytes:
        """What it has said and nobody has read, once the connection has ended.

        A write to a dead child ends the transport at once, reports or no reports. Were they not read here, calls that
        have ended would run again.
        """
        words = bytearray()
        with self._spare:
            self._spare.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while data := self._spare.recv(1 << 18):
                    words += data
        return bytes(words)

    def forget(self) -> None:
        """The connection has ended: close the pipe."""
        self.gone = True
        while self._tokens:
            os.close(self._tokens.pop())


class Crew:
    """All children and the buffer in front of them."""

    def __init__(self) -> None:
        self.children: dict[int, Child] = {}
        self.buffer: deque[Held] = deque()
        self.refuse: Callable[[Held, str], None] = lambda held, why: None
        """Ends a call that cannot be handed to any child: what its sender wrote cannot be packed."""

    def add(self, child: Child) -> None:
        """A child has come up, or has replaced one of the same index."""
        self.children[child.index] = child

    def remove(self, child: Child) -> None:
        """A child has gone."""
        if self.children.get(child.index) is child:
            del self.children[child.index]

    def wanted(self) -> int:
        """How many calls to reserve now: free slots, and what will be finished in the next few milliseconds.

        Nothing while the buffer holds more than half of that, so that the broker is asked for batches.
        """
        free = ahead = 0
        for child in self.children.values():
            if child.retiring or child.owed or child.gone or not child.ready or child.on_trial is not None:
                continue
            free += child.free_slots()
            ahead += min(child.ahead(), child.left())
        buffered = len(self.buffer)
        if free > buffered or buffered * 2 < ahead:
            return free + 2 * ahead - buffered
        return 0

    def hindrance(self) -> str:
        """Why it wants nothing, for people; "" when every slot is busy."""
        children = [child for child in self.children.values() if child.ready and not child.gone]
        idle = [child for child in children if len(child.handed) < child.slots]
        if children and not idle:
            return ""
        if any(child.retiring for child in idle):
            return "a child process gets no more tasks, and is replaced when its last one has ended"
        if any(child.on_trial is not None for child in idle):
            return "a task that was in a crash runs alone for a moment"
        return "" if self.busy() else "no child process is ready"

    def overweight(self, limit: int | None) -> list[Child]:
        """Children that use more than `limit` KiB and have not been retired for it yet; None: there is no limit."""
        if limit is None:
            return []
        found = [c for c in self.children.values() if not c.retiring and c.resident_kib() > limit]
        for child in found:
            logger.info("Child %d uses more than %d KiB: it is replaced after its task.", child.pid, limit)
        return found

    def offer(self, calls: list[Held], *, first: bool = False) -> None:
        """Put calls into the buffer."""
        if first:
            self.buffer.extendleft(reversed(calls))
        else:
            self.buffer.extend(calls)

    def deal(self, now: float) -> None:
        """Hand what is buffered to the children that have room, in equal shares, the least busy first."""
        for child in self.children.values():
            if child.on_trial is not None:
                child.end_trial(now)
        buffer = self.buffer
        if not buffer:
            return
        able = [child for child in self.children.values() if child.room() > 0]
        able.sort(key=lambda child: len(child.handed) / child.slots)
        while able and buffer:
            share = max(1, -(-len(buffer) // len(able)))
            child = able.pop(0)
            count = min(child.room(), share, len(buffer))
            calls = [buffer.popleft() for _ in range(count)]
            if child.slots > 1 and any(held.suspect for held in calls):
                calls = self._up_to_suspect(child, calls, now)
            self._hand(child, calls, now)

    def _up_to_suspect(self, child: Child, calls: list[Held], now: float) -> list[Held]:
        """The calls before the first suspect; or the suspect alone, if it is the first. The others stay."""
        first = next(at for at, held in enumerate(calls) if held.suspect)
        if first == 0:
            child.put_on_trial(calls[0], now)
        calls, others = calls[: first or 1], calls[first or 1 :]
        self.offer(others, first=True)
        return calls

    def _hand(self, child: Child, calls: list[Held], now: float) -> None:
        try:
            child.hand(calls, now)
        except (RecursionError, ValueError, TypeError) as exc:
            if len(calls) == 1:
                self.refuse(calls[0], f"It cannot be handed to a process that runs tasks: {exc}.")
                return
            for held in calls:  # one of them is to blame, and only that one is to suffer
                self._hand(child, [held], now)

    def recall(self, now: float) -> bool:
        """Take back what waits behind long calls. Returns whether anything came back."""
        back: list[Held] = []
        patience = IDLE_SECONDS if self.uneven() else STUCK_SECONDS
        for child in self.children.values():
            if child.backlog() and now - child.last_report > patience:
                back += child.take_back()
                # It is slower than we thought, until it shows otherwise.
                child.seconds_per_call = max(child.seconds_per_call, patience)
        self._return(back, now)
        return bool(back)

    def uneven(self) -> bool:
        """Whether a child has nothing to do while calls wait in another one."""
        if self.buffer:
            return False
        children = self.children.values()
        return any(child.free_slots() for child in children) and any(child.backlog() for child in children)

    def recall_all(self, now: float) -> list[Held]:
        """Take back all that has not begun, the buffer included."""
        back = [held for child in self.children.values() for held in child.take_back()]
        self._return(back, now)
        calls = list(self.buffer)
        self.buffer.clear()
        return calls

    def overdue(self, now: float, seconds: float) -> list[Held]:
        """Take out what has lain in the buffer for longer than `seconds`: others may run it sooner.

        Not what has had a mishap: others would not know, and poison could go round for ever.
        """
        calls: list[Held] = []
        kept: list[Held] = []
        while self.buffer and now - self.buffer[0].since > seconds:
            held = self.buffer.popleft()
            (kept if held.mishaps else calls).append(held)
        self.offer(kept, first=True)
        return calls

    def _return(self, back: list[Held], now: float) -> None:
        for held in back:
            held.since = now
        self.offer(back, first=True)

    def busy(self) -> int:
        """Calls that are with a child."""
        return sum(len(child.handed) for child in self.children.values())
