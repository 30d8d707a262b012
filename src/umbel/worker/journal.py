"""What a worker says about its tasks: one clear line each time something happens, and the counters."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence

from umbel.worker.events import Events
from umbel.worker.hearing import Hearing
from umbel.worker.inflight import Held
from umbel.worker.ipc import Done
from umbel.worker.verdict import Verdict

logger = logging.getLogger("umbel.worker.tasks")


class Journal:
    """Writes the lines and counts the endings of one node."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.started_at = time.time()
        self._info = logger.isEnabledFor(logging.INFO)
        self.total: Counter[str] = Counter()
        """How many calls of each task have been received."""
        self.events: Events | None = None
        """Tells monitors the same; None or off: nobody."""
        self.hearing: Hearing | None = None
        """Tells the program's own functions; None: none of them listens."""

    @property
    def tells(self) -> bool:
        """Whether events are published."""
        return self.events is not None and self.events.on

    def received(self, held: Held) -> None:
        """A delivery was admitted."""
        if self.events is not None and self.events.on:
            self.events.received(held)
        if self.hearing is not None:
            self.hearing.received(held)
        self.total[held.frame.task_name] += 1
        if self._info:
            frame = held.frame
            logger.info(
                "Task %s[%s] received",
                frame.task_name,
                frame.task_id,
                extra={"task": frame.task_name, "task_id": frame.task_id, "event": "received"},
            )

    def done(self, held: Held, done: Done) -> None:
        """A child reported an ending."""
        self.counters[done.ending] += 1
        if self.events is not None and self.events.on:
            self.events.done(held, done)
        if self.hearing is not None and done.ending != "success":
            self.hearing.ended(held, done.ending, done.reason)
        if done.ending == "success":
            if self._info:
                self._line(
                    logging.INFO, "succeeded", held, done, "Task %s[%s] succeeded in %.6fs: %s", done.summary
                )
        elif done.ending == "retry":
            self._line(logging.INFO, "retry", held, done, "Task %s[%s] retry after %.6fs: %s", done.reason)
        elif done.ending == "failure":
            text = f"{done.reason}\n{done.traceback}" if done.traceback else done.reason
            self._line(logging.ERROR, "failed", held, done, "Task %s[%s] raised after %.6fs: %s", text)
        elif done.ending == "scheduled":
            self._line(
                logging.INFO, "scheduled", held, done, "Task %s[%s] put back after %.6fs: %s", done.reason
            )
        elif done.ending == "ignored":
            self._line(logging.INFO, "ignored", held, done, "Task %s[%s] ignored after %.6fs%s", "")
        else:
            self._line(
                logging.WARNING,
                done.ending,
                held,
                done,
                f"Task %s[%s] {done.ending} after %.6fs: %s",
                done.reason,
            )

    def ended(self, held: Held, ending: str, reason: str, verdict: Verdict) -> None:
        """The node itself ended a call."""
        self.counters[ending] += 1
        if self.events is not None and self.events.on:
            self.events.ended(held, ending, reason)
        if self.hearing is not None:
            self.hearing.ended(held, ending, reason)
        frame = held.frame
        level = logging.INFO if ending in ("revoked", "expired") else logging.ERROR
        logger.log(
            level,
            "Task %s[%s] %s: %s%s",
            frame.task_name or "?",
            frame.task_id or "?",
            ending,
            reason,
            f" ({verdict.note})" if verdict.note else "",
            extra={"task": frame.task_name, "task_id": frame.task_id, "event": ending},
        )

    def shared(self, calls: Sequence[Held], how: str) -> None:
        """The process of `calls` has ended, and that is not counted against them."""
        for held in calls:
            frame = held.frame
            logger.warning(
                "Task %s[%s] shared its process with another one, and that %s; it runs again, uncounted",
                frame.task_name,
                frame.task_id,
                how,
                extra={"task": frame.task_name, "task_id": frame.task_id, "event": "interrupted"},
            )

    def lease_lost(self, held: Held, done: str = "") -> None:
        """A lease ended before its run did: another run has taken over, this one writes nothing. `done`: about it."""
        self.counters["lease_lost"] += 1
        logger.error(
            "Task %s[%s] LeaseLost: its lease ended before it did, and its message was given to another run. "
            "What this run produces is not written.%s",
            held.frame.task_name,
            held.frame.task_id,
            done and f" {done}",
            extra={"task": held.frame.task_name, "task_id": held.frame.task_id, "event": "lease_lost"},
        )

    def _line(self, level: int, event: str, held: Held, done: Done, message: str, text: str) -> None:
        name, task_id = done.name or held.frame.task_name, done.task_id or held.frame.task_id
        logger.log(
            level,
            message,
            name,
            task_id,
            done.runtime,
            text,
            extra={"task": name, "task_id": task_id, "event": event, "runtime": done.runtime},
        )
