"""What happens after a run: a pure function from an ending to a decision, and the arithmetic of retries.

::

    ending      deliveries  →  settle    state      then
    success                    ack       SUCCESS    callbacks
    failure                    ack       FAILURE    errbacks
    retry                      retry     RETRY      -
    ignored                    ack       -          -
    rejected                   bury      FAILURE    -          (requeue: release, counted)
    revoked                    bury      REVOKED    -
    expired                    bury      REVOKED    -
    refused                    bury      FAILURE    errbacks   (unreadable, content type refused)
    unknown                    park      -          -
    timeout                    bury      FAILURE    errbacks   (hard limit; not run again by itself)
    lost        < max          retry     -          -          (first in its queue, with its history)
    lost        = max          bury      FAILURE    errbacks
    interrupted                release   -          -          (shutdown; not counted)
"""

from __future__ import annotations

from typing import Literal

import msgspec

from umbel.core.outcome import FAILURE, RETRY, REVOKED, SUCCESS

Ending = Literal[
    "success",
    "failure",
    "retry",
    "ignored",
    "rejected",
    "revoked",
    "expired",
    "refused",
    "unknown",
    "timeout",
    "lost",
    "interrupted",
]
Settle = Literal["ack", "retry", "release", "bury", "park"]
Follow = Literal["callbacks", "errbacks", ""]


class Rules(msgspec.Struct, kw_only=True, frozen=True):
    """What settings, task and message say about endings of one call."""

    max_deliveries: int = 3
    ignore_result: bool = False
    store_errors_even_if_ignored: bool = False


class Decision(msgspec.Struct, frozen=True):
    """What to do with the message, which state to record ('' for none), and which calls follow."""

    settle: Settle
    state: str = ""
    follow: Follow = ""
    counted: bool = False
    """For ``release``: this delivery counts."""


_TABLE: dict[str, Decision] = {
    "success": Decision("ack", SUCCESS, "callbacks"),
    "failure": Decision("ack", FAILURE, "errbacks"),
    "retry": Decision("retry", RETRY),
    "ignored": Decision("ack"),
    "rejected": Decision("bury", FAILURE),
    "revoked": Decision("bury", REVOKED),
    "expired": Decision("bury", REVOKED),
    "refused": Decision("bury", FAILURE, "errbacks"),
    "unknown": Decision("park"),
    "timeout": Decision("bury", FAILURE, "errbacks"),
    "interrupted": Decision("release"),
}
_REQUEUED = Decision("release", counted=True)
_TRY_AGAIN = Decision("retry")
_DEAD = Decision("bury", FAILURE, "errbacks")


def decide(ending: Ending, rules: Rules, *, deliveries: int = 1, requeue: bool = False) -> Decision:
    """The decision for `ending` of a call that has been delivered `deliveries` times in all.

    >>> decide("lost", Rules(max_deliveries=3), deliveries=2).settle
    'retry'
    >>> decide("lost", Rules(max_deliveries=3), deliveries=3).settle
    'bury'
    """
    if ending == "lost":
        decision = _TRY_AGAIN if deliveries < rules.max_deliveries else _DEAD
    elif ending == "rejected" and requeue:
        decision = _REQUEUED
    else:
        decision = _TABLE[ending]
    if rules.ignore_result and decision.state and not _stored_though_ignored(decision.state, rules):
        return Decision(decision.settle, "", decision.follow, decision.counted)
    return decision


def _stored_though_ignored(state: str, rules: Rules) -> bool:
    return state == FAILURE and rules.store_errors_even_if_ignored


def backoff(retries: int, *, factor: float, maximum: float, jitter: bool, chance: float) -> float:
    """Seconds before try number ``retries + 1``: ``factor * 2 ** retries``, at most `maximum`.

    With `jitter` the delay is spread over the upper half of that by `chance`, a number in [0, 1), so that calls which
    failed together do not come back together, and none of them at once.

    >>> [backoff(n, factor=1, maximum=600, jitter=False, chance=0) for n in range(4)]
    [1.0, 2.0, 4.0, 8.0]
    """
    delay: float = min(maximum, factor * 2.0 ** min(retries, 64))
    return delay * (0.5 + 0.5 * chance) if jitter else delay
