"""What becomes of revoked calls that a node holds: those that wait end at once, those that run where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from umbel.core.stamps import marks_on
from umbel.ports import Signal
from umbel.worker.crew import Child, Crew
from umbel.worker.endings import Endings
from umbel.worker.inflight import Held, Inflight
from umbel.worker.pace import Pace

__all__ = ["Revoking"]


class Revoking:
    """Of one node. `kill` ends a child on account of one of its calls."""

    def __init__(
        self, inflight: Inflight, crew: Crew, pace: Pace, endings: Endings, kill: Callable[[Child], None]
    ) -> None:
        self._inflight = inflight
        self._crew = crew
        self._pace = pace
        self._endings = endings
        self._kill = kill

    def heed(self, hint: Signal) -> None:
        """Somebody has revoked something."""
        terminate = bool(hint.options.get("terminate"))
        if hint.kind == "revoke":
            self.revoke(hint.ids, terminate=terminate)
        elif hint.kind == "revoke-stamped":
            self.revoke_stamped(hint.ids, terminate=terminate)

    def revoke(self, task_ids: Iterable[str], *, terminate: bool) -> None:
        """End those of these calls that are here: what waits, and with `terminate` what runs."""
        for task_id in task_ids:
            if (held := self._inflight.find(task_id)) is not None:
                self._revoke(held, terminate=terminate)

    def revoke_stamped(self, marks: Collection[str], *, terminate: bool) -> None:
        """``revoke`` for what has one of these stamps."""
        for held in list(self._inflight):
            if not set(marks).isdisjoint(marks_on(held.frame.headers)):
                self._revoke(held, terminate=terminate)

    def _revoke(self, held: Held, *, terminate: bool) -> None:
        if held in self._crew.buffer:
            self._crew.buffer.remove(held)
            self._endings.end(held, "revoked", "revoked")
        elif self._pace.take(held):
            self._endings.end(held, "revoked", "revoked")
        elif terminate:
            for child in self._crew.children.values():
                if held.seq in child.handed and not child.gone:
                    held.doomed = "revoked"
                    self._kill(child)
