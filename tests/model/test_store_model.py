"""The result stores do the same, whatever is put into them: random programs, beside a dictionary."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from servers import RedisServer
from umbel.ports import Record, ResultStore
from umbel.testing.conformance.harness import PATIENCE

from .reference import Reference
from .sides import Side, all_sides
from .test_broker_model import SETTINGS, SOAK

IDS = ("1", "größe", "a:b", "c d")
FINAL = ("SUCCESS", "FAILURE", "REVOKED")

ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=3)
states = st.sampled_from([*FINAL, "STARTED", "RETRY", "SUCCESSFUL"])
ttls = st.none() | st.sampled_from([50.0, 150.0, 250.0])


@dataclass
class Watch:
    """Somebody who watches, and what was put since: by id, the last record that was written."""

    side: Side
    stream: AsyncIterator[tuple[str, bytes]]
    ids: frozenset[str]
    expected: dict[str, bytes]
    seen: dict[str, bytes] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        try:
            async for id, payload in self.stream:
                assert id in self.ids
                self.seen[id] = payload
                self.news.set()
        finally:
            self.news.set()

    async def catch_up(self) -> None:
        """Wait until everything that was put has been seen."""
        assert self.task is not None
        try:
            async with asyncio.timeout(PATIENCE):
                while self.seen != self.expected:
                    await self.news.wait()
                    self.news.clear()
                    if self.task.done():
                        self.task.result()
        except TimeoutError:
            raise AssertionError(f"{self.side}: was told {self.seen}, and not {self.expected}") from None


class StoreMachine(RuleBasedStateMachine):
    """`sides` is entered once for each program, and gives the backends, empty."""

    def __init__(self, sides: Callable[[], AbstractContextManager[list[Side]]]) -> None:
        super().__init__()
        self._context = sides()
        self.sides = self._context.__enter__()
        self.runner = asyncio.Runner()
        self.model = Reference()
        self.watches: list[Watch] = []
        self.counter = 0

    @initialize()
    def open(self) -> None:
        for side in self.sides:
            self.runner.run(side.open())

    def teardown(self) -> None:
        try:
            self.runner.run(self._end_watches())
            for side in self.sides:
                self.runner.run(side.close())
        finally:
            self.runner.close()
            self._context.__exit__(None, None, None)

    def each(self, act: Callable[[ResultStore], Coroutine[Any, Any, None]]) -> None:
        for side in self.sides:
            self.runner.run(act(side.store))

    def record(self, id: str, state: str, ttl: float | None) -> Record:
        self.counter += 1
        payload = b'{"status": "%s", "result": "SUCCESS %d"}' % (state.encode(), self.counter)
        return Record(task_id=id, state=state, payload=payload, ttl=ttl)

    def keep(self, batch: list[Record]) -> None:
        for record in batch:
            self.model.keep(record)
            if self.model.records[record.task_id][1] == record.payload:
                for watch in self.watches:
                    if record.task_id in watch.ids:
                        watch.expected[record.task_id] = record.payload

    @rule(batch=st.lists(st.tuples(st.sampled_from(IDS), states, ttls), max_size=4))
    def put(self, batch: list[tuple[str, str, float | None]]) -> None:
        records = [self.record(*item) for item in batch]
        self.each(lambda store: store.put(records))
        self.keep(records)
        self.look()

    @rule(some=ids)
    def forget(self, some: list[str]) -> None:
        self.each(lambda store: store.forget(some))
        for id in some:
            self.model.records.pop(id, None)
        self.look()

    @rule(steps=st.integers(1, 3), prune=st.booleans())
    def pass_time(self, steps: int, prune: bool) -> None:
        for side in self.sides:
            side.move_time(100.0 * steps)
        self.model.now += 100.0 * steps
        if prune:

            async def prune_all(store: ResultStore) -> None:
                await store.prune()

            self.each(prune_all)
        self.look()

    @rule(some=ids)
    def watch(self, some: list[str]) -> None:
        async def begin(side: Side) -> None:
            there = {id: payload for id, payload in self.model.payloads().items() if id in some}
            watch = Watch(side, side.store.watch(some), frozenset(some), dict(there))
            watch.task = asyncio.create_task(watch.follow())
            self.watches.append(watch)
            # A first record of its own tells when it listens: what is put later must not be missed from then on.
            if there:
                await watch.catch_up()

        for side in self.sides:
            self.runner.run(begin(side))
        if not any(id in self.model.payloads() for id in some):
            self.put([(some[0], "STARTED", None)])
        self.look()

    @rule()
    def end_watches(self) -> None:
        self.runner.run(self._end_watches())
        self.look()

    async def _end_watches(self) -> None:
        watches, self.watches = self.watches, []
        for watch in watches:
            assert watch.task is not None
            watch.task.cancel()
            await asyncio.gather(watch.task, return_exceptions=True)
            await watch.stream.aclose()  # type: ignore[attr-defined]

    @rule(some=ids, state=st.sampled_from(FINAL))
    def wait_for(self, some: list[str], state: str) -> None:
        """One thread waits until all of them are final; then those that are missing come, one by one."""
        there = self.model.payloads()
        missing = [id for id in dict.fromkeys(some) if not _is_final(there.get(id, b""))]
        records = [self.record(id, state, None) for id in missing]
        answers: list[dict[str, bytes]] = []

        async def meet(store: ResultStore) -> None:
            waiting = asyncio.create_task(asyncio.to_thread(store.wait_now, some, PATIENCE, _is_final))
            for record in records:
                await asyncio.sleep(0.002)  # so that some come before it listens, and some after
                await store.put([record])
            answers.append(await waiting)

        self.each(meet)
        self.keep(records)
        there = self.model.payloads()
        assert answers == [{id: there[id] for id in some}] * len(self.sides)
        self.look()

    def look(self) -> None:
        there = self.model.payloads()
        asked = [*IDS, "never-stored"]
        for side in self.sides:
            assert self.runner.run(side.store.get(asked)) == there, side  # type: ignore[arg-type]
            assert side.store.get_now(asked) == there, side
            assert side.store.wait_now(IDS, 0, _is_final) == there, side
        for watch in self.watches:
            self.runner.run(watch.catch_up())


def _is_final(payload: bytes) -> bool:
    return any(b'"status": "%s"' % state.encode() in payload for state in FINAL)


@pytest.mark.timeout(
    600
)  # to find the shortest program that fails takes many runs of it, each with its patience
def test_the_stores_agree(redis_process: RedisServer, tmp_path: Path) -> None:
    def machine() -> StoreMachine:
        return StoreMachine(lambda: all_sides(redis_process, tmp_path))

    run_state_machine_as_test(machine, settings=SETTINGS)


@pytest.mark.soak
def test_the_stores_agree_for_long(redis_process: RedisServer, tmp_path: Path) -> None:
    def machine() -> StoreMachine:
        return StoreMachine(lambda: all_sides(redis_process, tmp_path))

    until = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "120"))
    while time.monotonic() < until:
        run_state_machine_as_test(machine, settings=SOAK)
