"""The interfaces of Umbel, on one page: what a backend must do, and the nouns it trades.

A **broker** moves frames and never decodes a task. A **result store** keeps outcomes under the id of their
call. A **bus** carries hints that may be lost. Each is implemented once per kind of server, in
``umbel.backends``; ``umbel.testing.conformance`` is the executable form of the contract below.

Rules for every method: durations are seconds, never points in time, so that no two clocks need to agree; a
server that has a clock uses its own. Every method may raise ``OperationalError``; it then has either done all
of what it was asked or nothing; nothing is certain unless the error is ``in_doubt``. Backends present this one asynchronous interface; the two ``_now`` methods are
the direct way for synchronous callers, safe to call from any thread and after a fork.

Long because all of it is the contract of one page, which whoever writes a backend reads from top to bottom.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from umbel.core.frame import Frame

__all__ = [
    "GROUP_RECORD",
    "Ack",
    "Arrival",
    "Bindings",
    "Broker",
    "Bury",
    "Capabilities",
    "Delivery",
    "Depth",
    "Frame",
    "Join",
    "ListsResults",
    "Located",
    "NodeHealth",
    "NodeInfo",
    "Outgoing",
    "Park",
    "Receipt",
    "Record",
    "Release",
    "Remote",
    "ResultStore",
    "Retry",
    "Settlement",
    "Shelf",
    "Shelved",
    "Signal",
]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker can do. A ``False`` is a clear error to whoever asks for it, never a silent difference."""

    name: str
    """For people: "SQLite", "Redis"."""
    processes: bool = True
    """Several processes can use it at once; ``memory://`` cannot."""
    pushes: bool = True
    """Waiting for work is woken by the server rather than by a poll."""
    celery_wire: bool = False
    """Other programs that speak Celery's protocol can read and write the same queues."""


# ------------------------------------------------------------------------------------------------ messages


class Outgoing(msgspec.Struct, kw_only=True, gc=False):
    """A frame on its way into a queue."""

    frame: Frame
    queue: str
    priority: int = 0
    """-100..100, larger is served sooner."""
    due_in: float | None = None
    """Seconds until it may be delivered; None or <= 0: at once."""
    dedupe_key: str | None = None
    """While the key is remembered, a second message with it is dropped silently."""
    dedupe_window: float = 0.0
    """How many seconds the key is remembered, whether or not its message still lives."""


class Receipt(NamedTuple):
    """Proof that a message is held. Its token is new at every delivery: a stale one opens nothing (fencing)."""

    queue: str
    token: str


class Delivery(msgspec.Struct, kw_only=True, gc=False):
    """A message that is ours until its lease ends."""

    receipt: Receipt
    frame: Frame | None
    """None: what lay in the queue is not a message at all; see ``raw`` and ``problem``."""
    count: int = 1
    """How often this message has been delivered, this time included. ``Release(counted=False)`` takes one back."""
    revoked: bool = False
    """Its task id was revoked before it was delivered."""
    raw: bytes = b""
    problem: str = ""


class Record(msgspec.Struct, kw_only=True, gc=False):
    """The outcome (or the progress) of one call, ready to be stored: ``payload`` is Celery's result meta, encoded."""

    task_id: str
    state: str
    payload: bytes
    ttl: float | None = 86400.0
    """Seconds it is kept; None: for ever."""


GROUP_RECORD = "celery-taskset-meta-"
"""How the id of a record begins that is one of a group (``GroupResult.save``); the rest is the group's own."""


class Join(msgspec.Struct, kw_only=True, frozen=True):
    """Where the calls of a chord's header meet."""

    id: str
    """That of the group."""
    size: int
    """How many calls it waits for."""


class Arrival(msgspec.Struct, kw_only=True):
    """A call of a header has ended for good."""

    join: str
    task_id: str
    """Its slot: each is filled once, but a failure may make way for a success."""
    index: int | None
    """Its place among the others; None: at the end."""
    part: bytes
    """Celery's form of what it brings: ``[1, task_id, state, result]`` in the result serializer."""
    failed: bool = False


# --------------------------------------------------------------------------------------------- settlements


class Ack(msgspec.Struct, kw_only=True, gc=False):
    """The call is over. ``then`` is stored with or before the removal, never after."""

    receipt: Receipt
    then: tuple[Outgoing, ...] = ()
    record: Record | None = None
    """Only when the broker has adopted the store that it belongs to; written in the same step."""


class Retry(msgspec.Struct, kw_only=True, gc=False):
    """The message is replaced by another one (its next try), in one step. Counting starts anew."""

    receipt: Receipt
    replacement: Outgoing
    first: bool = False
    """Serve it before everything of its priority that already waits: what a crash interrupted. No effect with a delay."""
    record: Record | None = None


class Release(msgspec.Struct, kw_only=True, gc=False):
    """Give the message back to where it was, before everything of its priority that waits.

    ``counted=False``: this delivery never happened (the task had not begun, or a shutdown interrupted it).
    """

    receipt: Receipt
    counted: bool = False


class Bury(msgspec.Struct, kw_only=True, gc=False):
    """Move the message to the dead letters with its reason."""

    receipt: Receipt
    reason: str
    then: tuple[Outgoing, ...] = ()
    record: Record | None = None


class Park(msgspec.Struct, kw_only=True, gc=False):
    """Nobody here knows this task: keep the message aside until a worker that does calls ``unpark``."""

    receipt: Receipt
    reason: str
    task: str = ""
    """The task's name for ``unpark`` and ``browse``; '': what the frame's headers say, which is nothing in protocol 1."""


Settlement = Ack | Retry | Release | Bury | Park

Shelf = Literal["waiting", "scheduled", "held", "parked", "dead"]
"""Where a message can be: exactly one of these at any instant."""


class Shelved(msgspec.Struct, kw_only=True):
    """One message on a shelf, for people and tools."""

    shelf: Shelf
    queue: str
    task_id: str
    task: str
    key: str
    """Names the entry in ``requeue``, ``discard`` and ``rewrite``: for dead and parked messages only, else ''."""
    reason: str = ""
    since: float | None = None
    """Unix time at which it was put there, where the store knows it."""
    due_in: float | None = None
    """scheduled: seconds until due. held: seconds until the lease ends."""
    deliveries: int = 0
    frame: Frame | None = None
    raw: bytes = b""


class Located(msgspec.Struct, kw_only=True):
    """Where a call's message is, for the question "why does it not run?"."""

    shelf: Shelf
    queue: str
    reason: str = ""
    frame: Frame | None = None
    """None: it cannot be read."""


class Depth(msgspec.Struct, kw_only=True):
    """How many messages of a queue are on each shelf."""

    waiting: int = 0
    scheduled: int = 0
    held: int = 0
    parked: int = 0
    dead: int = 0


class NodeHealth(msgspec.Struct, kw_only=True):
    """Whether a node does what it is there for, in its own words. It grows older on its way: see ``NodeInfo.seen_ago``."""

    state: Literal["starting", "fetching", "full", "away", "stuck", "stopping"]
    """full: every slot is busy, so that nothing is fetched. away: the broker is out of reach. stuck: the loop that fetches
    has not moved though it should have."""
    reason: str = ""
    """away, stuck: why, for people."""
    unanswered: float = 0.0
    """Seconds since the broker last answered a fetch. Time in which there was no room for more does not count."""
    fetched_ago: float | None = None
    """Seconds since the last successful fetch, whatever it brought; None: there was none yet."""


class NodeInfo(msgspec.Struct, kw_only=True):
    """What a worker says of itself while it lives."""

    name: str
    """``name@host``, as given by ``-n``."""
    id: str
    """New at every start: two live nodes with one name differ in it."""
    pid: int
    queues: list[str]
    pool: str = ""
    concurrency: int = 0
    tasks: list[str] = msgspec.field(default_factory=list)
    started: float = 0.0
    seen_ago: float = 0.0
    """Seconds since its last sign of life, by the store's clock (filled in by ``nodes``)."""
    counters: dict[str, int] = msgspec.field(default_factory=dict)
    health: NodeHealth | None = None
    """When it said so; None: it is of a version that does not tell."""


class Signal(msgspec.Struct, kw_only=True):
    """A hint to every node: something happened that you may want to look at now."""

    kind: str
    """"revoke" | "unpark" | "ping" | …"""
    ids: list[str] = msgspec.field(default_factory=list)
    options: dict[str, Any] = msgspec.field(default_factory=dict)


# ---------------------------------------------------------------------------------------------- interfaces


@runtime_checkable
class Remote(Protocol):
    """Of a broker that carries Celery's remote control: commands to all workers, and their replies.

    Messages are as they travel. `box` is the name that both sides agree on (``celery.pidbox``). All of it may lose.
    """

    async def broadcast(self, box: str, message: bytes) -> None:
        """Send a command to every worker that listens now."""
        ...

    async def commands(self, box: str) -> AsyncIterator[bytes]:
        """The commands, as they come. When it has returned, none that is sent from then on is missed."""
        ...

    async def reply(self, box: str, address: str, message: bytes) -> None:
        """Answer to whoever asked for it at `address`; forgotten if it is not fetched within a minute."""
        ...

    async def expect(self, box: str, address: str) -> None:
        """Let workers answer to `address`."""
        ...

    async def replies(self, box: str, address: str) -> list[bytes]:
        """The answers that have come since the last time."""
        ...

    async def dismiss(self, box: str, address: str) -> None:
        """No more answers are wanted there."""
        ...

    async def emit(self, exchange: str, routing_key: str, message: bytes) -> None:
        """Publish an event for whoever listens now."""
        ...

    async def events(self, exchange: str) -> AsyncIterator[bytes]:
        """The events, as they come. When it has returned, none that is published from then on is missed."""
        ...


@runtime_checkable
class Bindings(Protocol):
    """Of a broker that keeps, as kombu does, which queues an exchange feeds, so that other programs see it.

    A binding is (routing key, pattern, queue); the pattern is a regular expression, '' for exchanges that need none.
    """

    async def bind(self, exchange: str, binding: tuple[str, str, str]) -> None:
        """Let `exchange` feed a queue; repeating it changes nothing."""
        ...

    async def unbind(self, exchange: str, binding: tuple[str, str, str]) -> None:
        """Undo ``bind``."""
        ...

    async def bindings(self, exchange: str) -> Sequence[tuple[str, str, str]]:
        """All bindings of `exchange`."""
        ...


@runtime_checkable
class Broker(Protocol):
    """Moves frames. Clauses 1-9 are each a test of the conformance suite.

    1. ``reserve`` returns by priority (larger first), then due time, then arrival, inside one batch too. What was put
       in front (released, retried first, held for too long) comes before the rest of its priority; open is the order
       of such messages among themselves, of queues, and of what one call put back from a shelf.
    2. A held message is invisible until it is settled, released, or its lease ends.
    3. ``settle`` and ``extend`` with a stale receipt change nothing for it and return it.
    4. ``then``, ``replacement`` and ``record`` are stored with or before the removal, never after.
    5. A cancelled ``reserve`` strands nothing beyond its lease.
    6. Leases run on the server's clock where there is one.
    7. A dedupe key is remembered for its window, not merely while its message lives.
    8. Popping and leasing are one atomic step.
    9. A message is on exactly one shelf at any instant.
    """

    caps: Capabilities
    url: str
    """With the password replaced by ``***``: fit to be shown."""
    patience: float
    """No call takes so many seconds longer than it was asked to wait: by then it has returned, raised, or told ``on_step``.
    What has not is stuck."""
    on_step: Callable[[], None]
    """Called, in the task that made the call, whenever a part of a call in several steps is over. Does nothing until a
    worker sets it, so that a slow server is not taken for a call that hangs."""

    async def open(self) -> None:
        """Connect and prepare. Raises ``BrokerUnavailable``. Idempotent."""
        ...

    async def close(self) -> None:
        """Let go of every connection and thread. What is held stays leased. Idempotent."""
        ...

    def adopt(self, store: ResultStore) -> bool:
        """If `store` lives in this broker's database, write its records inside ``settle`` from now on.

        Returns whether it does. Where it returns False, the settler stores records first and settles after,
        an order that can repeat and cannot lose.
        """
        ...

    def now(self) -> float:
        """The server's wall clock where it has one, else this machine's: seconds since 1970. Never blocks.

        For what messages say in points of time (``expires``), so that a worker's own clock may be wrong.
        """
        ...

    async def send(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        """Store all of `batch`, or none of it, in one round trip.

        Raises ``BrokerUnavailable`` when that has not worked after `timeout` seconds, connecting included; None: the
        backend's own limits, which hold in any case.
        """
        ...

    def send_now(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        """``send`` for synchronous callers; needs no ``open``. Any thread; survives a fork."""
        ...

    async def reserve(
        self, queues: Sequence[str], *, limit: int, lease: float, wait: float, holder: str = ""
    ) -> Sequence[Delivery]:
        """Up to `limit` messages, each held for `lease` seconds; waits up to `wait` seconds for the first.

        Also brings back what is overdue: leases that ended (their ``count`` goes up at the next delivery) and
        scheduled messages whose time has come. `holder` names the node for ``reclaim``. An empty answer means
        that nothing came. What is not a message comes as a Delivery without a frame, to be buried by the caller.
        """
        ...

    async def settle(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        """Carry out all of `batch` in order; returns the stale receipts, for which nothing was done."""
        ...

    async def extend(self, receipts: Collection[Receipt], *, lease: float) -> Collection[Receipt]:
        """Let the leases of `receipts` end `lease` seconds from now; returns the stale ones."""
        ...

    async def reclaim(self, holder: str) -> int:
        """End every lease of a node that is known to be dead, without waiting for the lease. Returns how many."""
        ...

    async def depth(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        """Counts per shelf for each of `queues`."""
        ...

    async def queues(self) -> Sequence[str]:
        """Names of all queues that this store knows of."""
        ...

    # -- inspection and repair

    async def browse(
        self, shelf: Shelf, queues: Sequence[str] = (), *, limit: int = 100
    ) -> Sequence[Shelved]:
        """The first `limit` messages of a shelf, of `queues` or of all queues, in order of service or of arrival."""
        ...

    async def find(self, task_id: str) -> Located | None:
        """Where the message of this call is; None: nowhere (never sent, or finished)."""
        ...

    async def purge(self, queues: Sequence[str]) -> int:
        """Delete what waits or is scheduled in `queues`; what is held, parked or dead stays. Returns how many.

        To this and to all who look, what became due or was held for too long is what waits.
        """
        ...

    async def requeue(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        """Put entries back into their queues with a clean count. Returns how many there were."""
        ...

    async def discard(self, shelf: Literal["parked", "dead"], keys: Collection[str]) -> int:
        """Delete entries for good. Returns how many there were."""
        ...

    async def rewrite(self, key: str, frame: Frame) -> bool:
        """Replace the frame of a dead letter (``umbel dead edit``), and its priority by what the frame says.

        Returns whether it was there.
        """
        ...

    async def prune_dead(self, *, age: float | None, most: int | None, limit: int) -> int:
        """Delete dead letters that have lain there for longer than `age` seconds and, of each queue, the oldest beyond
        the `most` newest; None: no bound. No more than `limit` (1 to 4000) at a time: when so many were deleted, more may be
        left. Every queue gets its turn. Returns how many were deleted."""
        ...

    async def unpark(self, tasks: Collection[str]) -> int:
        """Put parked messages of these task names back into their queues: a worker now knows them."""
        ...

    async def revoke(self, task_ids: Collection[str], *, window: float = 86400.0) -> None:
        """Remember for `window` seconds that these calls must not run: their deliveries come ``revoked``."""
        ...

    async def revoked(self, among: Collection[str] | None = None) -> Collection[str]:
        """Which of these ids are remembered so; None: all that are, up to 10,000 of them."""
        ...

    # -- who is there, and hints

    async def announce(self, node: NodeInfo, *, ttl: float) -> None:
        """Say that `node` lives; forgotten after `ttl` seconds of silence. ``ttl=0``: it has left."""
        ...

    async def nodes(self) -> Sequence[NodeInfo]:
        """The nodes that live, most recently heard first."""
        ...

    async def publish(self, signal: Signal) -> None:
        """Tell every subscriber. A hint: it may be lost, and nothing may depend on it."""
        ...

    def signals(self) -> AsyncIterator[Signal]:
        """Signals published from now on, for as long as it is iterated."""
        ...


@runtime_checkable
class ResultStore(Protocol):
    """Keeps the latest record of each call."""

    url: str
    """With the password replaced by ``***``."""

    async def open(self) -> None:
        """Connect and prepare. Raises ``StoreUnavailable``. Idempotent."""
        ...

    async def close(self) -> None:
        """Let go of every connection and thread. Idempotent."""
        ...

    async def put(self, records: Sequence[Record]) -> None:
        """Store records and tell those who wait. A stored SUCCESS is never overwritten."""
        ...

    def put_now(self, records: Sequence[Record]) -> None:
        """``put`` for synchronous callers; needs no ``open``. Any thread; survives a fork."""
        ...

    async def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """The payloads of those ids that have a record which has not expired."""
        ...

    def get_now(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """``get`` for synchronous callers; needs no ``open``. Any thread; survives a fork."""
        ...

    def watch(self, task_ids: Collection[str]) -> AsyncIterator[tuple[str, bytes]]:
        """The current record of each id that has one, then every later one, as they are stored.

        May repeat a record, never misses the last one. Ends only when the caller stops iterating
        (``aclose``), which must release what the watch holds.
        """
        ...

    def wait_now(
        self, task_ids: Collection[str], timeout: float | None, final: Callable[[bytes], bool]
    ) -> dict[str, bytes]:
        """For synchronous callers: block until every id has a record for which ``final(payload)`` is true.

        Returns what there is (payloads by id) when that is so, or after `timeout` seconds. Needs no ``open``;
        any thread; survives a fork.
        """
        ...

    async def forget(self, task_ids: Collection[str]) -> None:
        """Delete records."""
        ...

    # -- joins

    def open_joins_now(self, joins: Sequence[Join], *, ttl: float | None) -> None:
        """Say how many calls these wait for; repeating it changes nothing. Forgotten after `ttl` seconds without an arrival.

        Needs no ``open``; any thread; survives a fork.
        """
        ...

    def widen_join_now(self, join_id: str, by: int, *, ttl: float | None) -> None:
        """Let an open join wait for so many calls more. Needs no ``open``; any thread; survives a fork."""
        ...

    def arrive_now(self, arrival: Arrival, *, ttl: float | None) -> Sequence[bytes] | None:
        """Fill the slot of a call. When all slots of its join are filled: the parts, in their order; else None.

        A success that takes the place of a failure while there are other failures gets None too: there is no news yet.
        Whoever arrives again at a join that is complete gets the parts too, so that nothing is lost with the process that got
        them first. At a join that is closed, or that nobody has opened, nothing happens. Needs no ``open``; any thread;
        survives a fork.
        """
        ...

    async def close_joins(self, join_ids: Collection[str]) -> None:
        """Forget joins that have done what they were for."""
        ...

    async def prune(self) -> int:
        """Delete what has outlived its ttl, where the store does not do so by itself. Returns how many."""
        ...


@runtime_checkable
class ListsResults(Protocol):
    """A result store that can also say what it holds, for people who look around. Not every store can."""

    async def open(self) -> None:
        """As in ``ResultStore``."""
        ...

    async def recent(self, *, limit: int) -> Sequence[tuple[str, bytes]]:
        """The latest records, as id and payload, the latest first; at most `limit` (1 to 1000).

        A store that does not know when a record was written goes by when it expires, and may look at a part of what it
        holds only.
        """
        ...
