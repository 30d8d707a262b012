"""Who is there, and hints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from umbel.ports import NodeHealth, NodeInfo, Signal
from umbel.testing.conformance.harness import LONG, PATIENCE, SHORT, Brokers, broker_scenario, eventually


class PresenceConformance:
    """``announce``, ``nodes``, ``publish`` and ``signals``."""

    @broker_scenario
    async def test_nodes_are_what_they_said_most_recently_heard_first(self, brokers: Brokers) -> None:
        first = NodeInfo(
            name="w1@host",
            id="id-1",
            pid=11,
            queues=["a", "b"],
            pool="prefork",
            concurrency=4,
            tasks=["tasks.add"],
            started=1.5,
            counters={"done": 7},
            health=NodeHealth(state="away", reason="no route", unanswered=12.5, fetched_ago=14.0),
        )
        assert list(await brokers.a.nodes()) == []
        await brokers.a.announce(first, ttl=LONG)
        await asyncio.sleep(SHORT / 5)  # the order below is that of time
        await brokers.a.announce(NodeInfo(name="w2@host", id="id-2", pid=12, queues=[]), ttl=LONG)
        second, again = await brokers.b.nodes()
        assert second.id == "id-2"
        assert 0 <= again.seen_ago < LONG
        again.seen_ago = 0.0
        assert again == first

    @broker_scenario
    async def test_a_node_that_speaks_again_is_still_one_node(self, brokers: Brokers) -> None:
        for done in range(3):
            node = NodeInfo(name="w@host", id="id-1", pid=1, queues=["q"], counters={"done": done})
            await brokers.a.announce(node, ttl=LONG)
        [node] = await brokers.b.nodes()
        assert node.counters == {"done": 2}

    @broker_scenario
    async def test_two_nodes_of_one_name_are_told_apart(self, brokers: Brokers) -> None:
        await brokers.a.announce(NodeInfo(name="w@host", id="id-1", pid=1, queues=[]), ttl=LONG)
        await brokers.b.announce(NodeInfo(name="w@host", id="id-2", pid=2, queues=[]), ttl=LONG)
        assert {node.id for node in await brokers.a.nodes()} == {"id-1", "id-2"}

    @broker_scenario
    async def test_a_silent_node_is_forgotten(self, brokers: Brokers) -> None:
        await brokers.a.announce(NodeInfo(name="silent", id="id-1", pid=1, queues=[]), ttl=SHORT)
        await brokers.a.announce(NodeInfo(name="lives", id="id-2", pid=2, queues=[]), ttl=LONG)

        async def forgotten() -> bool:
            return [node.name for node in await brokers.b.nodes()] == ["lives"]

        await eventually(forgotten)

    @broker_scenario
    async def test_a_node_that_leaves_is_forgotten_at_once(self, brokers: Brokers) -> None:
        node = NodeInfo(name="w@host", id="id-1", pid=1, queues=[])
        await brokers.a.announce(node, ttl=LONG)
        await brokers.a.announce(node, ttl=0)
        assert list(await brokers.b.nodes()) == []
        await brokers.a.announce(NodeInfo(name="never-came", id="id-2", pid=1, queues=[]), ttl=0)

    @broker_scenario
    async def test_signals_reach_every_subscriber(self, brokers: Brokers) -> None:
        expected = Signal(kind="revoke", ids=["a", "b"], options={"terminate": True, "signal": "SIGTERM"})
        await brokers.a.publish(Signal(kind="nobody-listens"))
        subscriptions = [brokers.a.signals(), brokers.b.signals(), brokers.b.signals()]
        hearing = [asyncio.ensure_future(_hear(signals, "revoke")) for signals in subscriptions]
        await _publish_until(brokers, expected, hearing)
        assert [await heard for heard in hearing] == [expected] * 3

    @broker_scenario
    async def test_signals_come_in_order_and_can_be_left(self, brokers: Brokers) -> None:
        signals = brokers.b.signals()
        hearing = asyncio.ensure_future(_hear(signals, "begin"))
        await _publish_until(brokers, Signal(kind="begin"), [hearing])
        for n in range(10):
            await brokers.a.publish(Signal(kind="n", ids=[str(n)]))
        heard = [(await _hear(signals, "n")).ids for _ in range(10)]
        assert heard == [[str(n)] for n in range(10)]
        await signals.aclose()  # type: ignore[attr-defined]
        await brokers.a.publish(Signal(kind="n"))


async def _hear(signals: AsyncIterator[Signal], kind: str) -> Signal:
    """The next signal of this kind. Others may come in between: a begin published twice, for one."""
    async with asyncio.timeout(PATIENCE):
        async for signal in signals:
            if signal.kind == kind:
                return signal
    raise AssertionError("the subscription ended by itself")


async def _publish_until(brokers: Brokers, signal: Signal, hearing: Sequence[asyncio.Future[Signal]]) -> None:
    """A subscription begins at some moment after it was asked for, and what came before it is not heard."""
    async with asyncio.timeout(PATIENCE):
        while not all(heard.done() for heard in hearing):
            await brokers.a.publish(signal)
            await asyncio.wait(hearing, timeout=SHORT / 2)
