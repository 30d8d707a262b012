"""The node as judge: which deliveries are not run, and what becomes of calls whose child cannot report.

It reads headers only. Bodies are opened for one purpose, to find who must be told of a failure (``link_error``), and
only in formats that cannot run code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from umbel.codecs.protocol import decode_call, read_header
from umbel.codecs.serializers import is_accepted
from umbel.core.account import Account
from umbel.core.envelope import Envelope
from umbel.core.frame import DELIVERIES_HEADER, HISTORY_HEADER, Frame
from umbel.core.kombu_json import dump_frame
from umbel.core.outcome import FAILURE, PENDING, REVOKED
from umbel.core.policy import Ending, Rules, decide
from umbel.core.priority import frame_priority
from umbel.core.rates import per_second
from umbel.errors import (
    ConfigurationError,
    ContentDisallowed,
    MessageError,
    TaskRevokedError,
    TimeLimitExceeded,
    UmbelError,
    WorkerLostError,
)
from umbel.ports import Ack, Bury, Outgoing, Park, Record, Release, Retry, Settlement
from umbel.task import Task, setting_of
from umbel.worker.follow import Following, FollowUps
from umbel.worker.inflight import Held
from umbel.worker.joining import Joining
from umbel.worker.outcomes import Records, class_path, utc_now

if TYPE_CHECKING:
    from umbel.app import Umbel

_SAFE = frozenset({"json", "msgpack", "yaml"})
"""Decoding these runs no code, so the node may."""
_HISTORY = 20
"""Crashes that a message remembers."""


class Facts(msgspec.Struct, kw_only=True, frozen=True):
    """What the node must know of a task to handle its messages."""

    acks_late: bool
    reports_begin: bool
    rules: Rules


class Verdict(msgspec.Struct, kw_only=True):
    """What becomes of a call that the node ends itself."""

    settlement: Settlement | None
    """None: it was acknowledged early."""
    record: Record | None = None
    then: tuple[Outgoing, ...] = ()
    note: str = ""
    awaited: Callable[[], Following] | None = None
    """Others wait for this call: asks the store what follows from its ending for them. Blocks."""

    def follow(self, messages: Sequence[Outgoing]) -> None:
        """Let these be stored with the rest of what follows."""
        self.then = (*self.then, *messages)
        if isinstance(self.settlement, (Ack, Bury)):
            self.settlement.then = self.then


class Judge:
    """Knows the app's tasks and settings; makes verdicts. Of one node."""

    def __init__(self, app: Umbel, hostname: str) -> None:
        self.app = app
        self._hostname = hostname
        self._records = Records(app, hostname)
        self._follow = FollowUps(app)
        self._joining = Joining(app, self._follow, self._records, in_child=False)
        self._accept = frozenset(app.conf.accept_content)
        self.conf = app.conf
        self._facts: dict[str, Facts] = {name: self._learn(task) for name, task in app.tasks.items()}
        self._guessed: dict[str, Facts] = {}
        self._accepted_types: dict[str, bool] = {}

    def known_tasks(self) -> Collection[str]:
        """Names of the tasks that this worker can run."""
        return self._facts.keys()

    def described(self, items: Sequence[str], *, builtins: bool) -> list[str]:
        """The tasks by name, with those of their attributes that are set: ``"mail.send [rate_limit=10/m]"``."""
        found = []
        for name in sorted(self._facts):
            if builtins or not name.startswith("celery."):
                task = self.app.tasks[name]
                told = {item: getattr(task, item, None) for item in items}
                shown = " ".join(f"{item}={value}" for item, value in told.items() if value is not None)
                found.append(f"{name} [{shown}]" if shown else name)
        return found

    def facts(self, task: str) -> Facts | None:
        """None for an unknown task, and for a protocol 1 message, whose name only the child can read.

        A task that only the child can find counts as known: the child parks it when it is not there.
        """
        facts = self._facts.get(task) or self._guessed.get(task)
        if facts is None and task in self.app.tasks:
            # In a worker of this very process (``umbel.testing``) tasks may be declared at any time.
            facts = self._facts[task] = self._learn(self.app.tasks[task])
        if facts is None and task and (stand_in := self.app.tasks.stand_in(task)) is not None:
            facts = self._learn(stand_in)
            if len(self._guessed) < 1000:
                self._guessed[task] = facts
        return facts

    def _learn(self, task: Task[..., Any]) -> Facts:
        redelivered = setting_of(task, "reject_on_worker_lost") is not False
        return Facts(
            acks_late=bool(setting_of(task, "acks_late")),
            reports_begin=bool(setting_of(task, "track_started") or setting_of(task, "time_limit")),
            rules=Rules(
                max_deliveries=setting_of(task, "max_deliveries") if redelivered else 1,
                ignore_result=bool(setting_of(task, "ignore_result")),
                store_errors_even_if_ignored=bool(setting_of(task, "store_errors_even_if_ignored")),
            ),
        )

    # -- before the run --------------------------------------------------------------------------------

    def refuse(self, held: Held, *, revoked: bool, now: float) -> tuple[Ending, str] | None:
        """Why this delivery must not be run; None: run it. `now`: by the broker's clock."""
        frame = held.frame
        name = frame.task_name
        if revoked:
            return "revoked", "revoked before it began"
        facts = self.facts(name)
        if facts is None and name:
            return "unknown", f"No worker here knows the task {name!r}."
        if not self._accepts(frame.content_type):
            return "refused", str(self._disallowed(frame))
        expires = frame.headers.get("expires")
        if expires and _is_past(expires, now):
            return "expired", f"expired at {expires}"
        if facts is not None and held.deliveries > facts.rules.max_deliveries:
            return "lost", f"delivered {held.deliveries - 1} times, and no run came to an end"
        return None

    def _accepts(self, content_type: str) -> bool:
        known = self._accepted_types.get(content_type)
        if known is None:
            known = is_accepted(content_type, self._accept)
            if len(self._accepted_types) < 100:
                self._accepted_types[content_type] = known
        return known

    def _disallowed(self, frame: Frame) -> ContentDisallowed:
        return ContentDisallowed(
            f"Refused content type {frame.content_type!r}: accept_content is {sorted(self._accept)}. "
            "It was not decoded; it lies in the dead letters."
        )

    # -- instead of a report ---------------------------------------------------------------------------

    def conclude(self, held: Held, ending: Ending, reason: str) -> Verdict:
        """The verdict for a call that ends as `ending` without a word from its child."""
        frame, receipt = held.frame, held.receipt
        rules = self._rules(frame)
        deliveries = held.deliveries if receipt is not None else rules.max_deliveries
        decision = decide(ending, rules, deliveries=deliveries)
        envelope = self._envelope(frame)
        record = None
        error = self._error(ending, reason, held)
        account = self._account(held, ending, error)
        if decision.state and envelope is not None:
            payload, ttl = self._records.ended(envelope, decision.state, error, account)
            record = Record(task_id=envelope.id, state=decision.state, payload=payload, ttl=ttl)
        then: tuple[Outgoing, ...] = ()
        if decision.follow == "errbacks" and envelope is not None and envelope.embed.errbacks:
            then = tuple(self._follow.failure(envelope).messages)
        awaited = None
        if decision.settle in ("ack", "bury") and envelope is not None and _is_awaited(envelope):
            state = decision.state or (REVOKED if isinstance(error, TaskRevokedError) else FAILURE)
            awaited = partial(self._joining.failed, envelope, state, error)
        if receipt is None:
            return Verdict(settlement=None, record=record, then=then, awaited=awaited)
        if decision.settle == "retry":
            again = self._again(held, reason, account)
            if account is not None and envelope is not None and not rules.ignore_result:
                payload, ttl = self._records.waiting(envelope, account)
                record = Record(task_id=envelope.id, state=PENDING, payload=payload, ttl=ttl)
            return Verdict(
                settlement=Retry(receipt=receipt, replacement=again, first=True),
                record=record,
                note=f"delivery {held.deliveries} of {rules.max_deliveries}; it runs again",
            )
        if decision.settle == "park":
            return Verdict(
                settlement=Park(receipt=receipt, reason=reason, task=frame.task_name),
                note="parked until a worker knows it",
            )
        if decision.settle == "release":
            return Verdict(settlement=Release(receipt=receipt, counted=decision.counted))
        if decision.settle == "ack":
            return Verdict(settlement=Ack(receipt=receipt, then=then), record=record, awaited=awaited)
        return Verdict(
            settlement=Bury(receipt=receipt, reason=f"{ending}: {reason}", then=then),
            record=record,
            then=then,
            note="now among the dead letters",
            awaited=awaited,
        )

    def bury(self, held: Held, ending: str, reason: str) -> Verdict:
        """The verdict when ``conclude`` fails: a named end for the message, and nothing that would have to be encoded."""
        if held.receipt is None:
            return Verdict(settlement=None)
        return Verdict(
            settlement=Bury(receipt=held.receipt, reason=f"{ending}: {reason}"),
            note="now among the dead letters",
        )

    def resend(self, held: Held) -> Outgoing:
        """A new message for a call that was acknowledged early and has not begun."""
        frame = held.frame
        return Outgoing(frame=frame, queue=held.queue, priority=frame_priority(frame))

    def _rules(self, frame: Frame) -> Rules:
        facts = self.facts(frame.task_name)
        rules = facts.rules if facts is not None else Rules(max_deliveries=self.app.conf.task_max_deliveries)
        ignore = frame.headers.get("ignore_result")
        if ignore is not None and bool(ignore) != rules.ignore_result:
            rules = msgspec.structs.replace(rules, ignore_result=bool(ignore))
        return rules

    def _envelope(self, frame: Frame) -> Envelope | None:
        try:
            if self._accepts(frame.content_type) and is_accepted(frame.content_type, _SAFE):
                return decode_call(frame, self._accept & _SAFE)
            return read_header(frame)
        except MessageError:
            try:
                return read_header(frame)
            except MessageError:
                return None

    def _error(self, ending: Ending, reason: str, held: Held) -> UmbelError:
        if ending == "timeout":
            return TimeLimitExceeded(held.hard_limit)
        if ending == "expired":
            return TaskRevokedError("expired")
        if ending == "revoked":
            return TaskRevokedError("terminated" if held.doomed else "revoked")
        if ending == "refused":
            return ContentDisallowed(reason)
        return WorkerLostError(f"The process that ran the task was lost: {reason}.")

    def _account(self, held: Held, ending: Ending, error: UmbelError) -> Account | None:
        """The account of `held`, what only the node knows included; None: nobody asked for one."""
        account = Account.read(held.frame.headers)
        if account is None:
            return None
        account.catch_up(held.deliveries)
        if held.began is not None:
            account.begin(self._hostname, datetime.fromtimestamp(held.began, UTC).isoformat())
            text = f"{class_path(error)}: {error}\n"
            account.end(utc_now().isoformat(), class_path(error), text, lost=ending == "lost")
        return account

    def _again(self, held: Held, reason: str, account: Account | None) -> Outgoing:
        frame = held.frame
        told = frame.headers.get(HISTORY_HEADER)
        history = [*(told if isinstance(told, list) else []), self._entry(reason)]
        headers = {
            **frame.headers,
            DELIVERIES_HEADER: held.deliveries,
            HISTORY_HEADER: history[-_HISTORY:],
        }
        if account is not None:
            headers = account.in_headers(headers)
        again = msgspec.structs.replace(frame, headers=headers)
        dump_frame(again, routing_key=held.queue)  # raises here, and not where it would end the node
        return Outgoing(frame=again, queue=held.queue, priority=frame_priority(frame))

    def _entry(self, what: str) -> dict[str, Any]:
        return {"at": utc_now().isoformat(timespec="seconds"), "worker": self._hostname, "what": what}


def _is_awaited(envelope: Envelope) -> bool:
    return envelope.embed.chord is not None or bool(envelope.embed.chain)


def _is_past(text: object, now: float) -> bool:
    """Whether the ISO time `text` has passed; a naive one is UTC. What is not a time is left for the child to refuse."""
    try:
        when = datetime.fromisoformat(str(text))
    except ValueError:
        return False
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.timestamp() <= now


def rates_of(app: Umbel) -> dict[str, float]:
    """The rate limits of its tasks, in calls per second. Raises ConfigurationError for one that is none."""
    found = {}
    for name, task in app.tasks.items():
        try:
            rate = per_second(setting_of(task, "rate_limit"))
        except ValueError as exc:
            raise ConfigurationError(f"The rate_limit of the task {name!r}: {exc}") from exc
        if rate:
            found[name] = rate
    return found
