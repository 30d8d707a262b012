"""How a node knows whether it does what it is there for, and what others make of what it says.

The one measure is the time since the broker last answered a fetch. An idle worker is answered every few seconds
(``RESERVE_WAIT``), so silence is never a matter of there being no work; and time in which every slot is busy does not
count, since nothing is asked for then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from umbel.ports import NodeHealth, NodeInfo

__all__ = ["ANNOUNCED", "LIMITS", "Health", "Limits", "Verdict", "judge", "judge_announced"]


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """From when on what is normal counts as a fault. Seconds, by clocks that do not jump; tests shorten them."""

    unanswered: float = 9.0
    """A node that the broker has not answered for so long is not ready. An idle fetch takes 5 s, and news of it up to 2 s; what
    hangs is to be told within 10."""
    beat: float = 1.0
    """A node tells its supervisor so often how it is."""
    silent: float = 5.0
    """A node that has told it nothing for so long is not alive."""
    hung: float = 10.0
    """Then it is killed, and another one takes its place."""
    stuck: float | None = None
    """A fetch loop that has not come around for so long is started anew. None: as long as a fetch may wait, plus the
    broker's ``patience``, plus ``slack``."""
    slack: float = 5.0
    tries: int = 2
    """Fetch loops in a row that get stuck before the node ends, so that it is replaced."""
    nodes: int = 3
    """Nodes in a row that hang without one successful fetch, and the worker gives up."""


LIMITS = Limits()
ANNOUNCED = 9.0
"""Seconds after which what a node has announced to the broker says nothing any more of how it is."""


class Health:
    """What a node's fetch loop has done lately. The loop tells; the watchdog and whoever asks read.

    A report is made from times alone, so that nothing that hangs can go on saying that all is well.
    """

    def __init__(self) -> None:
        now = time.monotonic()
        self.step = "connecting to the broker"
        """What the fetch loop does now, for people."""
        self.turned = now
        """When it last came around, whatever had come of it."""
        self.stuck = ""
        """What the watchdog has found, until the loop moves again."""
        self.hindrance: Callable[[], str | None] = lambda: None
        """Why the loop is right to wait for room, and asks for nothing: "" when every slot is busy; None: there is room."""
        self._waits_for_room = False
        self._full = False
        self._answered = now
        self._fetched: float | None = None
        self._away = ""

    # -- told by the fetch loop

    def turn(self, step: str) -> None:
        """The loop goes on, with this."""
        self.turned = time.monotonic()
        self.step = step

    def moved(self) -> None:
        """The loop waits for the same as before, and a part of it has come."""
        self.turned = time.monotonic()

    def fetched(self) -> None:
        """The broker has answered a fetch."""
        self._fetched = self._answered = self.turned = time.monotonic()
        self._away = self.stuck = ""

    def failed(self, reason: str) -> None:
        """A fetch has failed: the broker did not answer, or said no."""
        self.stuck = ""
        self.lost(reason)
        self.turn("pausing after a failure")

    def wait_for_room(self) -> None:
        """The loop asks for nothing until there is room for more."""
        self.turn("waiting for room")
        self._waits_for_room = True

    def room(self) -> None:
        """There may be room."""
        self.turn("asking for room")
        if self._full:
            self._answered = self.turned
        self._waits_for_room = self._full = False

    # -- told by others

    def lost(self, reason: str) -> None:
        """The broker is out of reach."""
        self._away = reason

    def reached(self) -> None:
        """The broker has answered something else than a fetch."""
        self._away = ""

    # -- asked by others

    def _look_for_room(self) -> None:
        """While it is right to wait for room, the loop does not stand still, and a broker that is not asked owes no answer."""
        hindrance = self.hindrance() if self._waits_for_room else None
        self._full = hindrance == ""
        if hindrance is not None:
            self.turned = time.monotonic()
            self.step = hindrance or "waiting for room"
        if self._full:
            self._answered = self.turned

    def report(self, *, stopping: bool = False) -> NodeHealth:
        """How it is now."""
        self._look_for_room()
        now = time.monotonic()
        health = NodeHealth(
            state="fetching",
            unanswered=round(now - self._answered, 3),
            fetched_ago=None if self._fetched is None else round(now - self._fetched, 3),
        )
        if stopping:
            health.state = "stopping"
        elif self.stuck:
            health.state, health.reason = "stuck", self.stuck
        elif self._away:
            health.state, health.reason = "away", self._away
        elif self._full:
            health.state = "full"
        elif self._fetched is None:
            health.state, health.reason = "starting", self.step
        else:
            health.reason = self.step
        return health


class Verdict(NamedTuple):
    """What to tell who asks."""

    live: bool
    """It turns: whoever is in charge need not start it anew. A broker that is away is no reason to."""
    ready: bool
    """It is connected and fetches, or would if a slot were free."""
    reason: str


def judge(health: NodeHealth | None, silent: float, *, patience: float, unanswered: float) -> Verdict:
    """What to think of a node that said this `silent` seconds ago (None: nothing yet). More than `patience` is too long;
    `unanswered` is as in ``Limits``.

    >>> judge(NodeHealth(state="full"), 0.5, patience=5.0, unanswered=9.0)
    Verdict(live=True, ready=True, reason='every slot is busy')
    """
    if silent > patience:
        return Verdict(
            False, False, f"the node has said nothing for {silent:.0f} s: it hangs, or is stopped, or is gone"
        )
    if health is None:
        return Verdict(True, False, "the node is starting")
    if health.state == "stuck":
        return Verdict(False, False, health.reason)
    if health.state == "stopping":
        return Verdict(True, False, "it is shutting down")
    if health.state == "starting":
        return Verdict(True, False, f"nothing has been fetched yet: {health.reason}")
    if health.state == "away":
        return Verdict(True, False, health.reason)
    if health.state == "full":
        return Verdict(True, True, "every slot is busy")
    waited = health.unanswered + silent
    if waited > unanswered:
        doing = f" ({health.reason})" if health.reason else ""
        return Verdict(True, False, f"no fetch has been answered for {waited:.0f} s{doing}")
    return Verdict(True, True, "it fetches")


def judge_announced(node: NodeInfo) -> Verdict:
    """What to think of a node by what it has announced to the broker."""
    if node.health is None and node.seen_ago <= ANNOUNCED:
        return Verdict(True, True, "it announces itself, but is of a version that does not say more")
    return judge(node.health, node.seen_ago, patience=ANNOUNCED, unanswered=LIMITS.unanswered)
