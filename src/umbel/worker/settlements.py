"""From reports to settlements, and to words."""

from __future__ import annotations

import msgspec

from umbel.ports import Ack, Bury, Park, Receipt, Record, Release, Retry, Settlement
from umbel.worker.inflight import Held
from umbel.worker.ipc import Done


def settlement_of(done: Done, receipt: Receipt | None, record: Record | None) -> Settlement | None:
    """What a child's report asks of the broker; None when the message was acknowledged early."""
    if receipt is None:
        return None
    then = tuple(done.then)
    if done.settle == "ack":
        return Ack(receipt=receipt, then=then, record=record)
    if done.settle == "retry" and done.replacement is not None:
        return Retry(receipt=receipt, replacement=done.replacement, record=record)
    if done.settle == "release":
        return Release(receipt=receipt, counted=done.counted)
    if done.settle == "park":
        return Park(receipt=receipt, reason=done.reason, task=done.name)
    return Bury(receipt=receipt, reason=done.reason, then=then, record=record)


def with_record(settlement: Settlement | None, record: Record | None) -> Settlement | None:
    """`settlement` that also stores `record`, if it is of a kind that can."""
    if isinstance(settlement, (Ack, Retry, Bury)):
        settlement.record = record
    return settlement


def buried(settlement: Settlement, reason: str) -> Bury | None:
    """What to do instead of `settlement`, which the broker refuses as it is for `reason`: bury the message without what was to
    follow, and without a record if that was refused too; None when there is nothing simpler left."""
    if not isinstance(settlement, Bury):
        record = settlement.record if isinstance(settlement, Ack) else None
        return Bury(receipt=settlement.receipt, reason=reason, record=record)
    if settlement.then:
        return msgspec.structs.replace(settlement, then=())
    return msgspec.structs.replace(settlement, record=None) if settlement.record is not None else None


def is_spared(held: Held, *, known: bool) -> bool:
    """After the death of a process that `held` shared with other calls: whether that is not counted against it.

    `known`: it was on the account of another one. Otherwise all of them are spared at first; when it happens to them
    again they become suspects, which are begun one by one, so that the next time it is known. If even that has not shown
    it, it counts against each.
    """
    held.began = None
    held.mishaps = 0 if known else held.mishaps + 1
    held.suspect = not known and held.mishaps > 1
    return held.mishaps < 3


def sentence(held: Held, how: str) -> str:
    """Why the node killed the child of `held`, for people; `how` the child ended."""
    if held.doomed == "timeout":
        return f"exceeded its hard time limit of {held.hard_limit} s, and its process {how}"
    return f"terminated, and its process {how}"
