"""When the node listens to a child: on a real socket, with a child played by the test."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterable

import pytest

from umbel.core.frame import Frame
from umbel.ports import Outgoing, Receipt
from umbel.worker import line
from umbel.worker.crew import Child
from umbel.worker.inflight import Held
from umbel.worker.ipc import LENGTH, ChildEnd, Done, Heard, Progress, Unreadable, make_ends
from umbel.worker.line import Line

PATIENCE = 20.0
_numbers = itertools.count(1)


class Ear:
    """A line to a child, and what came over it."""

    def __init__(self, slots: int = 1) -> None:
        self.end: ChildEnd
        self.end, ends = make_ends()
        ends[0].setblocking(False)
        self.child = Child(0, os.getpid(), slots, ends)
        self.heard: list[int] = []
        self.misheard: list[tuple[int, bool]] = []
        self.news = asyncio.Event()
        self.lost = asyncio.Event()

    async def connect(self) -> Ear:
        await asyncio.get_running_loop().create_connection(
            lambda: Line(self.child, self._hear, lambda child: self.lost.set()), sock=self.child.sock
        )
        return self

    def _hear(self, child: Child, reports: Iterable[Heard]) -> None:
        reports = list(reports)
        seqs = [report.seq for report in reports if isinstance(report, Done)]
        self.heard += seqs
        self.misheard += [(report.seq, report.done) for report in reports if isinstance(report, Unreadable)]
        for seq in seqs:
            child.handed.pop(seq)
        self.news.set()

    def hand(self, count: int) -> list[int]:
        seqs = [next(_numbers) for _ in range(count)]
        for seq in seqs:
            frame = Frame(b"", "application/json", "utf-8", {"id": str(seq)}, {})
            receipt = Receipt("q", str(seq))
            self.child.handed[seq] = Held(seq=seq, frame=frame, receipt=receipt, deliveries=1, since=0.0)
        return seqs

    def report(self, seq: int) -> None:
        self.end.report(Done(seq, "success"))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.heard) < count:
                self.news.clear()
                await self.news.wait()

    def close(self) -> None:
        self.end.close()
        if self.child.transport is not None:
            self.child.transport.abort()
        self.child.forget()


async def turns() -> None:
    """Let the loop look at its sockets several times."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_reports_of_a_busy_child_are_heard_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(line, "LISTEN_SECONDS", 0.2)
        ear = await Ear().connect()
        seqs = ear.hand(10)
        ear.report(seqs[0])
        await ear.until(1)
        begun = loop.time()
        for seq in seqs[1:6]:
            ear.report(seq)
            await turns()
        if loop.time() - begun < 0.2:  # else the moment was over before the test had said all
            assert ear.heard == seqs[:1]
        await ear.until(6)
        assert ear.heard == seqs[:6]
        ear.close()

    asyncio.run(scenario())


def test_a_child_with_nothing_waiting_is_heard_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(line, "LISTEN_SECONDS", 3600.0)
        ear = await Ear(slots=2).connect()
        for number in range(1, 4):
            seqs = ear.hand(2)  # both run: there is no reason to expect another report soon
            for seq in seqs:
                ear.report(seq)
            await ear.until(2 * number)
        ear.close()

    asyncio.run(scenario())


def test_what_a_dead_child_said_is_heard_before_its_loss() -> None:
    async def scenario() -> None:
        ear = await Ear().connect()
        seqs = ear.hand(50)
        for seq in seqs[:40]:
            ear.report(seq)
        ear.end.close()  # as its death does
        async with asyncio.timeout(PATIENCE):
            await ear.lost.wait()
        assert ear.heard == seqs[:40]
        assert ear.child.gone
        ear.close()

    asyncio.run(scenario())


def test_a_report_that_cannot_be_read_costs_nothing_but_itself() -> None:
    async def scenario() -> None:
        ear = await Ear(slots=4).connect()
        first, bad, last = ear.hand(3)
        ear.report(first)
        nowhere = Outgoing(frame=Frame(b"", "application/json", "utf-8", {}, {}), queue=5)  # type: ignore[arg-type]
        ear.end.report(Done(bad, "success", then=[nowhere]))
        ear.end.report(Progress(bad, 5, "HALFWAY", b""))  # type: ignore[arg-type]
        ear.end.sock.sendall(LENGTH.pack(1) + b"\xc1")
        ear.report(last)
        await ear.until(2)
        assert ear.heard == [first, last]
        assert ear.misheard == [(bad, True), (bad, False), (0, False)]
        assert not ear.lost.is_set()
        ear.close()

    asyncio.run(scenario())
