"""What the node holds: every delivery that is leased to it, from reserve to settlement."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec

from umbel.core.frame import DELIVERIES_HEADER, HISTORY_HEADER
from umbel.core.policy import Ending
from umbel.ports import Delivery, Frame, Receipt, Settlement


class Held(msgspec.Struct, kw_only=True, gc=False):
    """One delivery on its way through the node."""

    seq: int
    frame: Frame
    receipt: Receipt | None
    """None once it has been acknowledged early (``acks_late=False``)."""
    deliveries: int
    """Of this call in all: by the broker's count, and by the crashes written in its headers."""
    since: float
    """The loop's time when it came, or came back, into the buffer."""
    queue: str = ""
    """The queue that it came from, and goes back to. A header may name another one (Celery's routing keys)."""
    report_begin: bool = False
    began: float | None = None
    """Unix time at which its run began, where that was reported."""
    hard_limit: float | None = None
    doomed: Ending | None = None
    """The node has killed its child on account of this call: the ending that it gets."""
    lease_lost: bool = False
    """Its message was given to another run: nothing that this one produces is written."""
    stopped: bool = False
    """The node has killed or cancelled it for that."""
    joined: str = ""
    """The join that it has completed, to be closed when what follows is stored."""
    settlement: Settlement | None = None
    """On its way. Whether the lease was lost is what that is answered: until then the receipt may be stale only because the
    answer has not come."""
    suspect: bool = False
    """A process may have died of it: where calls share one, it is begun alone."""
    mishaps: int = 0
    """How often a process died that it shared with others: nobody knows on whose account."""
    parked: str | None = None
    """The task for want of which it is being parked: nobody here knows it."""

    @classmethod
    def waiting(cls, frame: Frame, queue: str) -> Held:
        """A call that is shown, and that nobody holds."""
        return cls(seq=0, frame=frame, receipt=None, deliveries=0, since=0.0, queue=queue)


class Inflight:
    """All that is held, by sequence number."""

    def __init__(self) -> None:
        self._by_seq: dict[int, Held] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._by_seq)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._by_seq.values())

    def add(self, delivery: Delivery, frame: Frame, now: float) -> Held:
        """Begin to hold `delivery`."""
        held = Held(
            seq=next(self._numbers),
            frame=frame,
            queue=delivery.receipt.queue,
            receipt=delivery.receipt,
            deliveries=delivery.count + _whole(frame.headers.get(DELIVERIES_HEADER)),
            since=now,
            suspect=HISTORY_HEADER in frame.headers,
        )
        self._by_seq[held.seq] = held
        return held

    def comes_back(self, delivery: Delivery, frame: Frame) -> bool:
        """Whether `delivery` is of a call that this node holds already: its lease had ended for all that.

        The call goes on under the new receipt; it must not run beside itself.
        """
        held = self.find(frame.task_id) if frame.task_id else None
        if (
            held is None
            or held.receipt is None
            or held.stopped
            or held.frame.headers.get("retries") != frame.headers.get("retries")
        ):
            return False
        held.receipt = delivery.receipt
        held.lease_lost = False
        if held.settlement is not None:  # it has ended while the broker was away
            held.settlement.receipt = delivery.receipt
        return True

    def get(self, seq: int) -> Held | None:
        """The call of that number; None when it is not held any more."""
        return self._by_seq.get(seq)

    def drop(self, seq: int) -> None:
        """Stop holding it: it is settled, or was never ours to settle."""
        self._by_seq.pop(seq, None)

    def find(self, task_id: str) -> Held | None:
        """The held call with this task id."""
        return next((held for held in self._by_seq.values() if held.frame.task_id == task_id), None)

    def receipts(self) -> dict[Receipt, Held]:
        """Everything whose lease must be renewed."""
        return {h.receipt: h for h in self._by_seq.values() if h.receipt is not None and not h.lease_lost}


def _whole(value: object) -> int:
    """A count out of a header, which may hold anything. Nothing is delivered a million times."""
    return min(max(0, value), 1_000_000) if isinstance(value, int) else 0
