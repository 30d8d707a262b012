"""The one door out: order, batches, and patience with a store that fails. The broker is the real one in memory, made to fail."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from umbel.backends import open_broker, open_store
from umbel.core.frame import Frame
from umbel.errors import BrokerUnavailable, StoreUnavailable
from umbel.ports import Ack, Broker, Bury, Outgoing, Receipt, Record, Release, ResultStore, Retry, Settlement
from umbel.worker import settler as settler_module
from umbel.worker.settler import BATCH, BATCH_BYTES, Settler


class Failing:
    """A broker or a store whose calls fail as often as told, and are written down."""

    def __init__(self, inner: Any, log: list[Any], name: str) -> None:
        self._inner, self._log, self._name = inner, log, name
        self.failures = 0
        self.hold: asyncio.Event | None = None
        self.answered: Callable[[], None] = lambda: None
        """Called when the lease of something has been asked for, before it is known."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def _pass(self, method: str, batch: Sequence[Any]) -> Any:
        if self.hold is not None:
            await self.hold.wait()
        if self.failures:
            self.failures -= 1
            self._log.append((self._name, method, "failed"))
            raise (BrokerUnavailable if self._name == "broker" else StoreUnavailable)("away for a test")
        self._log.append((self._name, method, len(batch)))
        return await getattr(self._inner, method)(batch)

    async def settle(self, batch: Sequence[Settlement]) -> Collection[Receipt]:
        stale: Collection[Receipt] = await self._pass("settle", batch)
        self.answered()
        return stale

    async def extend(self, receipts: Collection[Receipt], *, lease: float) -> Collection[Receipt]:
        stale: Collection[Receipt] = await self._inner.extend(receipts, lease=lease)
        self.answered()
        return stale

    async def send(self, batch: Sequence[Outgoing]) -> None:
        await self._pass("send", batch)

    async def put(self, records: Sequence[Record]) -> None:
        await self._pass("put", records)


class Bench:
    """A settler that runs, on a broker with held messages."""

    def __init__(self, *, adopted: bool) -> None:
        url = f"memory://{uuid.uuid4().hex}"
        self.log: list[Any] = []
        self.real: Broker = open_broker(url)
        self.real_store: ResultStore = open_store(url)
        self.broker: Any = Failing(self.real, self.log, "broker")
        self.store: Any = Failing(self.real_store, self.log, "store")
        if adopted:
            assert self.real.adopt(self.real_store)
        self.settled: list[tuple[int, bool]] = []
        self.settler = Settler(
            self.broker, self.store, adopted=adopted, settled=lambda *told: self.settled.append(told)
        )

    async def hold(self, count: int) -> list[Receipt]:
        await self.real.send([Outgoing(frame=frame(str(n)), queue="q") for n in range(count)])
        return [d.receipt for d in await self.real.reserve(["q"], limit=count, lease=60, wait=1)]


def frame(task_id: str) -> Frame:
    return Frame(b"[]", "application/json", "utf-8", {"id": task_id, "task": "t"}, {})


def record(task_id: str, state: str = "SUCCESS") -> Record:
    return Record(task_id=task_id, state=state, payload=b'{"status": "%s"}' % state.encode())


@asynccontextmanager
async def bench(*, adopted: bool = True) -> AsyncIterator[Bench]:
    made = Bench(adopted=adopted)
    await made.real.open()
    await made.real_store.open()
    running = asyncio.create_task(made.settler.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await made.real.close()
        await made.real_store.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler_module, "pause_after", lambda failures: 0.001)


def run(main: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(main(), 20))


def test_settlements_are_carried_out_in_order_and_reported() -> None:
    async def main() -> None:
        async with bench() as it:
            receipts = await it.hold(3)
            for seq, receipt in enumerate(receipts, 1):
                it.settler.add(seq, Ack(receipt=receipt, record=record(str(seq))))
            await it.settler.drained()
            assert it.settled == [(1, False), (2, False), (3, False)]
            assert it.log == [("broker", "settle", 3)]
            assert set(await it.real_store.get(["1", "2", "3"])) == {"1", "2", "3"}
            assert (await it.real.depth(["q"]))["q"].held == 0

    run(main)


def test_what_comes_while_a_batch_is_on_its_way_makes_the_next_one() -> None:
    async def main() -> None:
        async with bench() as it:
            receipts = await it.hold(10)
            it.broker.hold = asyncio.Event()
            it.settler.add(1, Ack(receipt=receipts[0]))
            await asyncio.sleep(0)  # let it begin
            await asyncio.sleep(0)
            for seq, receipt in enumerate(receipts[1:], 2):
                it.settler.add(seq, Ack(receipt=receipt))
            it.broker.hold.set()
            await it.settler.drained()
            assert it.log == [("broker", "settle", 1), ("broker", "settle", 9)]

    run(main)


def test_a_batch_has_a_bound() -> None:
    async def main() -> None:
        async with bench() as it:
            for seq, receipt in enumerate(await it.hold(BATCH + 20), 1):
                it.settler.add(seq, Ack(receipt=receipt))
            await it.settler.drained()
            assert [entry[2] for entry in it.log] == [BATCH, 20]
            assert len(it.settled) == BATCH + 20

    run(main)


def test_a_batch_has_a_bound_in_bytes() -> None:
    """Or what has gathered during an outage could be more than ever gets there within the time that an answer may take."""

    def large(n: int, size: int) -> Record:
        return Record(task_id=str(n), state="SUCCESS", payload=b"x" * size)

    third = BATCH_BYTES // 3

    async def main() -> None:
        async with bench() as it:
            receipts = await it.hold(8)
            it.settler.add(1, Ack(receipt=receipts[0], record=large(1, 2 * BATCH_BYTES)))  # goes alone
            for seq in (2, 3, 4, 5):
                it.settler.add(seq, Ack(receipt=receipts[seq - 1], record=large(seq, third)))
            message = Outgoing(
                frame=Frame(b"x" * third, "application/data", "binary", {"id": "n", "task": "t"}, {}),
                queue="next",
            )
            it.settler.add(6, Ack(receipt=receipts[5], then=(message, message)))
            it.settler.add(7, Retry(receipt=receipts[6], replacement=message))
            it.settler.add(8, Release(receipt=receipts[7]))
            await it.settler.drained()
            assert [entry[2] for entry in it.log] == [1, 3, 2, 2]
            assert [seq for seq, _ in it.settled] == [1, 2, 3, 4, 5, 6, 7, 8]
            it.log.clear()
            for n in range(4):
                it.settler.record(large(n, third))
            it.settler.send([message] * 4)
            await it.settler.drained()
            puts, sends = (
                [count for _, name, count in it.log if name == method] for method in ("put", "send")
            )
            assert puts == sends == [3, 1]

    run(main)


def test_a_broker_that_is_away_is_tried_until_it_is_back() -> None:
    async def main() -> None:
        async with bench() as it:
            receipts = await it.hold(2)
            it.broker.failures = 4
            it.settler.add(1, Ack(receipt=receipts[0], record=record("1")))
            it.settler.add(2, Bury(receipt=receipts[1], reason="why"))
            await it.settler.drained()
            assert [entry[2] for entry in it.log] == ["failed"] * 4 + [2]
            assert it.settled == [(1, False), (2, False)]
            assert [letter.reason for letter in await it.real.browse("dead")] == ["why"]

    run(main)


def test_nothing_is_drained_while_the_broker_is_away() -> None:
    async def main() -> None:
        async with bench() as it:
            (receipt,) = await it.hold(1)
            it.broker.failures = 1_000_000
            it.settler.add(1, Ack(receipt=receipt))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(it.settler.drained(), 0.05)
            it.broker.failures = 0
            await it.settler.drained()
            assert it.settled == [(1, False)]

    run(main)


def test_a_stale_receipt_is_reported_and_changes_nothing() -> None:
    async def main() -> None:
        async with bench() as it:
            (receipt,) = await it.hold(1)
            it.settler.add(7, Ack(receipt=Receipt(receipt.queue, "no such token"), record=record("0")))
            it.settler.add(8, Ack(receipt=receipt))
            await it.settler.drained()
            assert it.settled == [(7, True), (8, False)]
            assert await it.real_store.get(["0"]) == {}

    run(main)


def test_with_a_store_of_its_own_records_come_first() -> None:
    async def main() -> None:
        async with bench(adopted=False) as it:
            receipts = await it.hold(2)
            it.store.failures = 2
            it.broker.failures = 1
            it.settler.add(1, Ack(receipt=receipts[0], record=record("1")))
            again = Outgoing(frame=frame("2"), queue="q")
            it.settler.add(2, Retry(receipt=receipts[1], replacement=again, record=record("2", "RETRY")))
            await it.settler.drained()
            assert it.log == [
                ("store", "put", "failed"),
                ("store", "put", "failed"),
                ("store", "put", 2),
                ("broker", "settle", "failed"),
                ("broker", "settle", 2),
            ]
            assert set(await it.real_store.get(["1", "2"])) == {"1", "2"}
            assert (await it.real.depth(["q"]))["q"].waiting == 1

    run(main)


def test_progress_is_stored_before_the_ending_that_follows_it() -> None:
    async def main() -> None:
        async with bench() as it:
            (receipt,) = await it.hold(1)
            it.settler.record(record("0", "PROGRESS"))
            it.settler.add(1, Ack(receipt=receipt, record=record("0", "SUCCESS")))
            await it.settler.drained()
            assert [entry[:2] for entry in it.log] == [("store", "put"), ("broker", "settle")]
            assert b"SUCCESS" in (await it.real_store.get(["0"]))["0"]

    run(main)


def test_what_follows_without_a_settlement_is_sent() -> None:
    async def main() -> None:
        async with bench() as it:
            it.broker.failures = 1
            it.settler.send([Outgoing(frame=frame("next"), queue="q")])
            await it.settler.drained()
            assert [message.task_id for message in await it.real.browse("waiting")] == ["next"]

    run(main)


@pytest.mark.parametrize("adopted", [True, False])
def test_a_receipt_that_is_replaced_while_it_is_settled(adopted: bool) -> None:
    """The lease had ended, and the message came back to this node: what is answered is about the old receipt."""

    async def main() -> None:
        async with bench(adopted=adopted) as it:
            await it.real.send([Outgoing(frame=frame(str(n)), queue="q") for n in range(3)])
            taken = list(await it.real.reserve(["q"], limit=3, lease=0.01, wait=1))
            endings = [
                Ack(
                    receipt=each.receipt,
                    record=record(str(n)),
                    then=(Outgoing(frame=frame("next"), queue="n"),),
                )
                for n, each in enumerate(taken)
            ]
            again: dict[str, Receipt] = {}
            while len(again) < 3:  # their leases end
                for each in await it.real.reserve(["q"], limit=3, lease=60, wait=1):
                    assert each.frame is not None
                    again[each.frame.task_id] = each.receipt
            # The first and the last are known to have come back before they are settled, the second one is not.
            endings[0].receipt, endings[2].receipt = again["0"], again["2"]
            it.broker.answered = lambda: setattr(endings[1], "receipt", again["1"])
            for seq, ending in enumerate(endings):
                it.settler.add(seq, ending)
            await it.settler.drained()
            assert sorted(it.settled) == [(0, False), (1, False), (2, False)]
            assert (await it.real.depth(["q"]))["q"].held == 0
            assert (await it.real.depth(["n"]))["n"].waiting == 3
            assert set(await it.real_store.get(["0", "1", "2"])) == {"0", "1", "2"}

    run(main)


def test_without_a_result_store_records_are_let_go() -> None:
    async def main() -> None:
        broker = open_broker(f"memory://{uuid.uuid4().hex}")
        await broker.open()
        settler = Settler(broker, None, adopted=False, settled=lambda *_: None)
        running = asyncio.create_task(settler.run())
        settler.record(record("1"))
        await settler.drained()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await broker.close()

    run(main)
