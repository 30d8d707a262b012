"""What Celery's clients and workers see of our queues, and we of theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import kombu
import msgspec
import pytest

from servers import RedisServer
from umbel.backends import open_broker, open_store
from umbel.core.kombu_json import load_frame
from umbel.ports import Ack, Broker, NodeInfo, Outgoing, Record, Release, Retry
from umbel.testing.conformance.harness import (
    LONG,
    PATIENCE,
    SHORT,
    bodies,
    drain,
    eventually,
    run_scenario,
    shelf_of,
    task,
)
from wire.loading import entries, entry, record

LISTS = {0: "q", 3: "q\x06\x163", 6: "q\x06\x166", 9: "q\x06\x169"}


def celery_entry(id: str, *, priority: int = 0, eta: str | None = None, **headers: Any) -> bytes:
    """What a Celery client pushes, spaces and all."""
    envelope = json.loads(entry("plain"))
    envelope["headers"].update(id=id, eta=eta, **headers)
    envelope["properties"].update(correlation_id=id, priority=priority)
    return json.dumps(envelope).encode()


def ids(deliveries: Any) -> list[str]:
    return [delivery.frame.task_id for delivery in deliveries]


class Fleet:
    """Two handles of ours, and the raw server as Celery uses it."""

    def __init__(self, server: RedisServer, **options: Any) -> None:
        self.server = server
        self.a: Broker = open_broker(server.url(), options)
        self.b: Broker = open_broker(server.url(), options)

    async def __aenter__(self) -> Fleet:
        await self.a.open()
        await self.b.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.a.close()
        await self.b.close()

    def push(self, data: bytes, step: int = 0) -> None:
        self.server.command("LPUSH", LISTS[step], data)

    def look(self, step: int = 0) -> list[dict[str, Any]]:
        """One of Celery's lists, the next message first."""
        found = self.server.command("LRANGE", LISTS[step], "0", "-1")
        assert isinstance(found, list)
        return [json.loads(data) for data in reversed(found)]


def fleet_scenario(test: Callable[[Any, Fleet], Any]) -> Callable[..., None]:
    def run(self: object, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            async with Fleet(redis_server) as fleet:
                await test(self, fleet)

        run_scenario(scenario())

    run.__name__, run.__qualname__, run.__module__ = test.__name__, test.__qualname__, test.__module__
    return run


class TestWhatCeleryPushes:
    @fleet_scenario
    async def test_every_captured_message_is_reserved_as_it_is(self, fleet: Fleet) -> None:
        captured = [data for _, data in entries() if not load_frame(data).headers.get("eta")]
        for data in captured:
            fleet.push(data)
        taken = await drain(fleet.a, len(captured))
        assert [delivery.frame for delivery in taken] == [load_frame(data) for data in captured]
        assert {delivery.count for delivery in taken} == {1}

    @fleet_scenario
    async def test_its_four_lists_are_served_in_its_order(self, fleet: Fleet) -> None:
        for step in (9, 3, 0, 6):
            fleet.push(celery_entry(f"{step}-a"), step)
            fleet.push(celery_entry(f"{step}-b"), step)
        assert ids(await drain(fleet.a, 8, limit=3)) == [f"{step}-{n}" for step in (0, 3, 6, 9) for n in "ab"]

    @fleet_scenario
    async def test_its_push_into_any_list_wakes_a_waiting_reserve(self, fleet: Fleet) -> None:
        for step in LISTS:
            waiting = asyncio.ensure_future(fleet.a.reserve(["q"], limit=5, lease=LONG, wait=LONG))
            await asyncio.sleep(
                SHORT
            )  # long enough to be waiting; being early would only make the test easier
            fleet.push(celery_entry(str(step)), step)
            async with asyncio.timeout(PATIENCE):
                assert ids(await waiting) == [str(step)]

    @fleet_scenario
    async def test_its_message_for_later_waits_in_the_store(self, fleet: Fleet) -> None:
        now = datetime.now(UTC)
        fleet.push(celery_entry("later", eta=(now + timedelta(hours=1)).isoformat()))
        fleet.push(celery_entry("soon", eta=(now + timedelta(seconds=4 * SHORT)).isoformat()))
        fleet.push(celery_entry("past", eta=(now - timedelta(hours=1)).isoformat()))
        assert ids(await fleet.a.reserve(["q"], limit=9, lease=LONG, wait=0)) == ["past"]
        depth = (await fleet.a.depth(["q"]))["q"]
        assert (depth.waiting, depth.scheduled) == (0, 2)
        [soon] = await drain(fleet.b, 1)
        assert ids([soon]) == ["soon"]
        assert soon.count == 1
        assert await shelf_of(fleet.a, "later") == "scheduled"

    @pytest.mark.parametrize(
        "text",
        [
            "2100-02-28T23:59:59.999999+00:00",
            "2096-02-29T12:00:00Z",
            "2099-12-31T12:00:00",
            "2099-07-01 06:30:15.5+05:30",
            "2099-03-01T00:00:00-1100",
        ],
    )
    def test_instants_are_read_as_python_reads_them(self, redis_server: RedisServer, text: str) -> None:
        async def scenario() -> None:
            async with Fleet(redis_server) as fleet:
                fleet.push(celery_entry("x", eta=text))
                assert list(await fleet.a.reserve(["q"], limit=1, lease=LONG, wait=0)) == []
                [found] = await fleet.a.browse("scheduled", ["q"])
                score = redis_server.command("ZRANGE", "umbel:{q}:due", "0", "0", "WITHSCORES")
                assert isinstance(score, list)
                instant = datetime.fromisoformat(text)
                if instant.tzinfo is None:
                    instant = instant.replace(tzinfo=UTC)
                assert float(score[1]) == pytest.approx(instant.timestamp() * 1000, abs=1)
                assert found.task_id == "x"

        run_scenario(scenario())

    @fleet_scenario
    async def test_what_only_looks_like_a_later_time_is_delivered(self, fleet: Fleet) -> None:
        later = '"eta": "2999-01-01T00:00:00"'
        fleet.push(celery_entry("repr", argsrepr="{" + later + "}"))
        fleet.push(celery_entry("nested", stamps={"eta": "2999-01-01T00:00:00"}))
        fleet.push(celery_entry("nonsense", eta="next week"))
        fleet.push(celery_entry("number", eta=4102444800))
        assert ids(await drain(fleet.a, 4)) == ["repr", "nested", "nonsense", "number"]

    @fleet_scenario
    async def test_plain_messages_keep_their_place_among_exact_priorities(self, fleet: Fleet) -> None:
        fleet.push(celery_entry("plain-0"))
        fleet.push(celery_entry("plain-3"), 3)
        fleet.push(celery_entry("plain-9"), 9)
        await fleet.a.send([task(str(level), priority=level) for level in (-34, 7, -1, 0, -33, 100, -67)])
        fleet.push(celery_entry("late-0"))
        taken = ids(await drain(fleet.a, 11, limit=4))
        assert taken == [
            "100",
            "7",
            "plain-0",
            "0",
            "late-0",
            "-1",
            "plain-3",
            "-33",
            "-34",
            "-67",
            "plain-9",
        ]

    @fleet_scenario
    async def test_a_message_restored_by_celery_keeps_our_count(self, fleet: Fleet) -> None:
        await fleet.a.send([task("one")])
        [held] = await drain(fleet.a, 1)
        await fleet.a.settle([Release(receipt=held.receipt, counted=True)])
        [given_back] = fleet.look()
        assert given_back["umbel"] == [1, 0]
        # kombu reads the envelope, marks it as redelivered and writes it with its own spaces.
        fleet.server.command("RPOP", "q")
        given_back["headers"]["redelivered"] = True
        fleet.server.command("RPUSH", "q", json.dumps(given_back))
        [again] = await drain(fleet.b, 1)
        assert again.count == 2


class TestWhatCelerySees:
    @fleet_scenario
    async def test_a_message_of_ours_has_the_form_of_its_own(self, fleet: Fleet) -> None:
        theirs = json.loads(entry("plain"))
        await fleet.a.send([Outgoing(frame=load_frame(entry("plain")), queue="q")])
        fleet.a.send_now([Outgoing(frame=load_frame(entry("plain")), queue="q")])
        ours = fleet.look()
        assert len(ours) == 2
        assert ours[0]["properties"].pop("delivery_tag") != ours[1]["properties"].pop("delivery_tag")
        theirs["properties"].pop("delivery_tag")
        theirs["properties"]["delivery_info"]["routing_key"] = "q"
        assert ours == [theirs, theirs]

    @fleet_scenario
    async def test_each_priority_lies_in_the_list_of_its_step(self, fleet: Fleet) -> None:
        levels = {100: 0, 1: 0, 0: 0, -1: 3, -33: 3, -34: 6, -66: 6, -67: 9, -100: 9}
        for level, step in levels.items():
            await fleet.a.send([task(str(level), priority=level)])
            fleet.a.send_now([task(str(level), priority=level)])
            found = fleet.look(step)[-2:]
            assert [each["headers"]["id"] for each in found] == [str(level)] * 2
            assert {each["properties"]["priority"] for each in found} == {step}

    @fleet_scenario
    async def test_the_oldest_message_is_the_one_it_pops(self, fleet: Fleet) -> None:
        await fleet.a.send([task("one"), task("two")])
        fleet.a.send_now([task("three"), task("four")])
        popped = [fleet.server.command("BRPOP", *LISTS.values(), "1") for _ in range(4)]
        assert [json.loads(pair[1])["headers"]["id"] for pair in popped if isinstance(pair, list)] == [
            "one",
            "two",
            "three",
            "four",
        ]

    @fleet_scenario
    async def test_kombu_reads_what_we_gave_back(self, fleet: Fleet) -> None:
        """Counted, and of a priority that no header says: it carries all of our mark."""
        await fleet.a.send([Outgoing(frame=load_frame(celery_entry("one")), queue="q", priority=50)])
        [held] = await drain(fleet.a, 1)
        await fleet.a.settle([Release(receipt=held.receipt, counted=True)])
        node = NodeInfo(name="w@h", id="n1", pid=1, queues=["q"])
        await fleet.a.announce(node, ttl=0)
        assert [each["umbel"] for each in fleet.look()] == [[1, 0, 50]]

        def consume() -> Any:
            with kombu.Connection(fleet.server.url()) as connection:
                simple = connection.SimpleQueue("q")
                message = simple.get(timeout=PATIENCE)
                message.reject(requeue=True)
                again = simple.get(timeout=PATIENCE)
                again.ack()
                simple.close()
                return message.headers["id"], again.headers["id"], again.payload[0]

        assert await asyncio.to_thread(consume) == ("one", "one", [1, 2])

    @fleet_scenario
    async def test_what_has_an_eta_is_where_its_workers_look(self, fleet: Fleet) -> None:
        eta = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        await fleet.a.send([with_eta("one", eta, due_in=3600.0)])
        assert [each["headers"]["id"] for each in fleet.look()] == ["one"]
        assert list(await fleet.a.reserve(["q"], limit=1, lease=LONG, wait=0)) == []
        assert await shelf_of(fleet.a, "one") == "scheduled"

    @fleet_scenario
    async def test_what_is_given_back_is_where_its_workers_look(self, fleet: Fleet) -> None:
        await fleet.a.send([task("one"), task("two"), task("three")])
        before = fleet.look()
        held = await drain(fleet.a, 2, limit=2)
        await fleet.a.settle([Release(receipt=delivery.receipt) for delivery in held])
        assert fleet.look() == before

    @fleet_scenario
    async def test_the_last_node_that_leaves_hands_over_what_it_sorted(self, fleet: Fleet) -> None:
        levels = [50, -100, -5, 0, 99, -33]
        await fleet.a.send([task(str(level), priority=level) for level in levels])
        [first] = await drain(fleet.a, 1, limit=1)
        await fleet.a.settle([Release(receipt=first.receipt)])
        node = NodeInfo(name="w@h", id="n1", pid=1, queues=["q"])
        other = NodeInfo(name="w@h", id="n2", pid=2, queues=["q"])
        await fleet.a.announce(node, ttl=LONG)
        await fleet.b.announce(other, ttl=LONG)
        await fleet.a.announce(node, ttl=0)
        assert not any(fleet.look(step) for step in LISTS)
        await fleet.b.announce(other, ttl=0)
        seen = [each["headers"]["id"] for step in LISTS for each in fleet.look(step)]
        assert seen == ["99", "50", "0", "-5", "-33", "-100"]
        assert bodies(await drain(fleet.b, 6)) == ["99", "50", "0", "-5", "-33", "-100"]

    def test_a_store_that_schedules_shows_nothing_early(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            async with Fleet(redis_server, schedule_in_store=True) as fleet:
                eta = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
                await fleet.a.send([with_eta("one", eta, due_in=3600.0)])
                assert fleet.look() == []
                assert await shelf_of(fleet.a, "one") == "scheduled"

        run_scenario(scenario())

    def test_a_clock_that_is_an_hour_off_delays_nothing(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            async with Fleet(redis_server, schedule_in_store=True) as fleet:
                ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
                await fleet.a.send([with_eta("sent", ahead, due_in=SHORT)])
                [sent] = await drain(fleet.a, 1)
                assert ids([sent]) == ["sent"]
                # Given back, crashed, tried again: it has waited once, and that is enough.
                await fleet.a.settle([Release(receipt=sent.receipt)])
                [again] = await drain(fleet.b, 1, lease=SHORT)
                [after_crash] = await drain(fleet.b, 1)
                assert (again.count, after_crash.count) == (1, 2)
                retry = Retry(receipt=after_crash.receipt, replacement=with_eta("sent", ahead, due_in=SHORT))
                await fleet.b.settle([retry])
                assert ids(await drain(fleet.a, 1)) == ["sent"]

        run_scenario(scenario())

    @fleet_scenario
    async def test_a_due_message_is_where_its_workers_look_when_a_node_of_ours_is_idle(
        self, fleet: Fleet
    ) -> None:
        """A node with nothing to run still moves what is due."""
        await fleet.a.send([task("one", due_in=SHORT)])
        await eventually(lambda: _waits(fleet))
        await fleet.a.browse("waiting", ["q"])
        assert [each["headers"]["id"] for each in fleet.look()] == ["one"]


async def _waits(fleet: Fleet) -> bool:
    return (await fleet.a.depth(["q"]))["q"].waiting == 1


def with_eta(id: str, eta: str, *, due_in: float) -> Outgoing:
    out = task(id, due_in=due_in)
    out.frame.headers["eta"] = eta
    return out


class TestRecords:
    def test_a_record_lies_where_celery_looks_and_is_told_on_its_channel(
        self, redis_server: RedisServer
    ) -> None:
        payload = record("success")
        prefixed = {"global_keyprefix": "rpfx"}

        async def scenario() -> None:
            for options, key in (({}, "celery-task-meta-1"), (prefixed, "rpfx_celery-task-meta-1")):
                store = open_store(redis_server.url(db=3), options)
                await store.put([Record(task_id="1", state="SUCCESS", payload=payload, ttl=100.0)])
                await store.put([Record(task_id="2", state="SUCCESS", payload=payload, ttl=None)])
                await store.close()
                look = RedisLook(redis_server, db=3)
                assert look("GET", key) == payload
                assert look("TTL", key) in (99, 100)
                assert look("TTL", key[:-1] + "2") == -1

        run_scenario(scenario())

    @pytest.mark.parametrize(
        ("stored", "kept"),
        [
            (record("success"), True),
            (record("result_serializer_pickle_success"), True),
            (record("result_serializer_pickle_failure"), False),
            (record("failure"), False),
            (record("started"), False),
            (b'{"status":"SUCCESS"}', True),
            (b'{"task_id":"1","result":{"status":"SUCCESS"},"status":"PROGRESS"}', False),
            (b'{"status": "PROGRESS", "result": {"status": "SUCCESS"}}', False),
            (b'{"result": "SUCCESS", "status": "FAILURE"}', False),
            (b'{"result": NaN, "status": "SUCCESS"}', True),
            (b"children: []\nresult: 3\nstatus: SUCCESS\ntask_id: '1'\n", True),
            (b"children: []\nresult: 3\nstatus: FAILURE\ntask_id: '1'\n", False),
            (msgspec.msgpack.encode({"status": "SUCCESS", "result": 1}), True),
            (msgspec.msgpack.encode({"status": "STARTED", "result": "SUCCESS"}), False),
        ],
    )
    def test_only_a_stored_success_is_kept(
        self, redis_server: RedisServer, stored: bytes, kept: bool
    ) -> None:
        async def scenario() -> None:
            store = open_store(redis_server.url())
            broker = open_broker(redis_server.url())
            assert broker.adopt(store)
            for n, id in enumerate(("put", "settled")):
                redis_server.command("SET", f"celery-task-meta-{id}", stored)
                new = Record(task_id=id, state="FAILURE", payload=b'{"status": "FAILURE"}')
                if n == 0:
                    await store.put([new])
                else:
                    await broker.send([task("one")])
                    [held] = await drain(broker, 1)
                    assert not await broker.settle([Ack(receipt=held.receipt, record=new)])
                assert (await store.get([id]))[id] == (stored if kept else new.payload)
            await broker.close()
            await store.close()

        run_scenario(scenario())


class RedisLook:
    """Commands in one database, from outside."""

    def __init__(self, server: RedisServer, db: int) -> None:
        self._server, self._db = server, db

    def __call__(self, *parts: str) -> object:
        arguments = ", ".join(f"'{part}'" for part in parts)
        return self._server.command(
            "EVAL", f"redis.call('SELECT', {self._db}) return redis.call({arguments})", "0"
        )
