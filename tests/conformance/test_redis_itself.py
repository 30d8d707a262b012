"""Redis when it is hard to reach, full, restarted or misused; and what waiting costs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from servers import RedisServer, free_port, sentinel
from umbel import Umbel
from umbel.backends import open_broker, open_store
from umbel.errors import BrokerUnavailable, ConfigurationError, OperationalError, StoreFull, StoreUnavailable
from umbel.ports import Ack, Broker, NodeInfo, Outgoing, Release, ResultStore, Retry, Signal
from umbel.testing.conformance.harness import (
    LONG,
    PATIENCE,
    SHORT,
    bodies,
    drain,
    eventually,
    in_forked_child,
    record,
    run_scenario,
    shelf_of,
    task,
)


@contextlib.asynccontextmanager
async def opened(*handles: Any) -> Any:
    try:
        for handle in handles:
            await handle.open()
        yield handles
    finally:
        for handle in handles:
            await handle.close()


async def waiting_reserve(broker: Broker, *queues: str) -> asyncio.Future[Any]:
    """A reserve that has begun to wait, as far as one can see from outside."""
    waiting = asyncio.ensure_future(broker.reserve(queues or ["q"], limit=9, lease=LONG, wait=LONG))
    await asyncio.sleep(SHORT)  # long enough to be waiting; being early would only make the test easier
    return waiting


async def works(broker: Broker, store: ResultStore) -> None:
    """A message and a record go round."""
    async with opened(broker, store):
        await broker.send([task("async")])
        await asyncio.to_thread(broker.send_now, [task("sync")])
        assert bodies(await drain(broker, 2)) == ["async", "sync"]
        waiting = await waiting_reserve(broker)
        await broker.send([task("woken")])
        assert bodies(await waiting) == ["woken"]
        await store.put([record("1")])
        assert await store.get(["1"]) == store.get_now(["1"]) == {"1": record("1").payload}
        assert await asyncio.to_thread(store.wait_now, ["1"], PATIENCE, lambda _: True)


class TestReachingIt:
    def test_with_a_password(self, tmp_path: pathlib.Path) -> None:
        with RedisServer(tmp_path, password="s3cret/@:") as server:
            server.password = "s3cret%2F%40%3A"
            url = server.url(db=2)
            server.password = "s3cret/@:"
            run_scenario(works(open_broker(url), open_store(url)))
            for bad in ("wrong", None):
                server.password = bad
                broker, store = open_broker(server.url()), open_store(server.url())
                server.password = "s3cret/@:"
                for use in (lambda b=broker: b.send_now([task("x")]), lambda s=store: s.get_now(["x"])):
                    with pytest.raises(ConfigurationError, match="refuses this login") as refused:
                        use()
                    assert "wrong" not in str(refused.value)

    def test_as_a_user_with_a_password(self, tmp_path: pathlib.Path) -> None:
        config = ("--user", "ann", "on", ">pass", "~*", "&*", "+@all")
        with RedisServer(tmp_path, config=config) as server:
            url = f"redis://ann:pass@localhost:{server.port}/0"
            run_scenario(works(open_broker(url), open_store(url)))

    def test_over_tls(self, tmp_path: pathlib.Path) -> None:
        with RedisServer(tmp_path, tls=True) as server:
            run_scenario(works(open_broker(server.url()), open_store(server.url(db=1))))
            unchecked = f"rediss://localhost:{server.port}/0?ssl_cert_reqs=CERT_NONE"
            run_scenario(works(open_broker(unchecked), open_store(unchecked)))
            by_option = {"ssl": {"ssl_ca_certs": str(server.ca_file)}}
            plain = f"redis://localhost:{server.port}/0"
            run_scenario(works(open_broker(plain, by_option), open_store(plain, by_option)))
            with pytest.raises(BrokerUnavailable, match="certificate"):
                open_broker(f"rediss://localhost:{server.port}/0").send_now([task("x")])

    def test_through_a_sentinel(self, tmp_path: pathlib.Path) -> None:
        options = {"master_name": "mymaster"}
        with RedisServer(tmp_path / "master") as server, sentinel(tmp_path / "sentinel", server) as port:
            url = f"sentinel://localhost:{free_port()};sentinel://localhost:{port}/1"
            run_scenario(works(open_broker(url, options), open_store(url, options)))
            assert server.command("EVAL", "redis.call('SELECT', 1) return redis.call('DBSIZE')", "0")
            with pytest.raises(BrokerUnavailable, match=r"'other'.*does not know it"):
                open_broker(url, {"master_name": "other"}).send_now([task("x")])
        with pytest.raises(ConfigurationError, match="master_name"):
            open_broker(url)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("redis://localhost/nine", "'nine'"),
            ("redis://localhost/0/1", "path"),
            ("redis://localhost:port/0", "not a URL"),
            ("redis://localhost/0?socket_timeuot=3", "'socket_timeuot'.*'socket_timeout'"),
            ("redis://localhost/0?socket_timeout=soon", "socket_timeout"),
            ("redis://localhost/0?priority_steps=5", "priority_steps"),
            ("rediss://localhost/0?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
            ("redis://a;redis://b", "Only sentinel"),
            ("redis+socket://", "no socket file"),
        ],
    )
    def test_a_url_that_is_wrong_is_refused_at_once(self, url: str, words: str) -> None:
        for make in (open_broker, open_store):
            with pytest.raises(ConfigurationError, match=words):
                make(url, {})

    def test_celerys_options_are_understood(self) -> None:
        open_broker(
            "redis://localhost/0", {"visibility_timeout": 3600, "max_connections": 5, "socket_timeout": "3"}
        )

    def test_many_threads_share_a_few_connections(self, redis_server: RedisServer) -> None:
        """Two hundred threads of a web server that call a task at once do not open two hundred connections."""
        broker = open_broker(redis_server.url(), {"max_connections": 4})
        before = int(redis_server.info("connected_clients"))
        redis_server.command("CLIENT", "PAUSE", "60000", "WRITE")
        errors: list[OperationalError] = []

        def send() -> None:
            try:
                broker.send_now([task("x")], timeout=30)
            except OperationalError as exc:
                errors.append(exc)

        threads = [threading.Thread(target=send) for _ in range(200)]
        for thread in threads:
            thread.start()
        while (opened_now := int(redis_server.info("connected_clients")) - before) < 4:
            time.sleep(0.01)
        redis_server.command("CLIENT", "UNPAUSE")
        for thread in threads:
            thread.join(30)
        assert not errors
        assert opened_now == 4
        assert redis_server.command("LLEN", "q") == 200

    def test_out_of_reach_is_an_error_that_hides_the_password(self) -> None:
        url = f"redis://:hunter2@localhost:{free_port()}/0"
        broker, store = open_broker(url), open_store(url)

        async def scenario() -> None:
            for use in (
                broker.open(),
                broker.send([task("x")]),
                broker.reserve(["q"], limit=1, lease=1, wait=9),
            ):
                with pytest.raises(BrokerUnavailable, match=r"redis://:\*\*\*@localhost") as raised:
                    await use
                assert "hunter2" not in str(raised.value)
            with pytest.raises(StoreUnavailable):
                await store.put([record("1")])
            await broker.close()

        run_scenario(scenario())
        with pytest.raises(BrokerUnavailable, match=r"\*\*\*"):
            broker.send_now([task("x")])
        with pytest.raises(StoreUnavailable, match=r"\*\*\*"):
            store.wait_now(["1"], LONG, lambda _: True)

    def test_a_server_that_does_not_answer_is_given_up(self, tmp_path: pathlib.Path) -> None:
        with RedisServer(tmp_path) as server:
            broker = open_broker(
                server.url(), {"socket_timeout": 3 * SHORT, "socket_connect_timeout": 3 * SHORT}
            )
            broker.send_now([task("x")])
            server.command("CLIENT", "PAUSE", "60000", "ALL")

            async def scenario() -> None:
                with pytest.raises(BrokerUnavailable, match=r"within 0\.3 s"):
                    await broker.send([task("x")])
                await broker.close()

            with pytest.raises(BrokerUnavailable, match=r"within 0\.3 s"):
                broker.send_now([task("x")])
            run_scenario(scenario())

    def test_a_timeout_bounds_a_send_whether_or_not_it_is_connected(self, tmp_path: pathlib.Path) -> None:
        with RedisServer(tmp_path) as server:
            connected, fresh = open_broker(server.url()), open_broker(server.url())

            async def scenario() -> None:
                await connected.open()
                server.command("CLIENT", "PAUSE", "60000", "ALL")
                for broker, in_doubt in ((connected, True), (fresh, False)):
                    for send in (broker.send, functools.partial(asyncio.to_thread, broker.send_now)):
                        begun = time.monotonic()
                        with pytest.raises(BrokerUnavailable) as raised:
                            await send([task("x")], timeout=3 * SHORT)
                        assert 2 * SHORT < time.monotonic() - begun < 10 * SHORT
                        assert raised.value.in_doubt is in_doubt
                await connected.close()
                await fresh.close()

            connected.send_now([task("x")])
            run_scenario(scenario())

    @pytest.mark.parametrize("options", [{}, {"socket_timeout": 2 * SHORT}])
    def test_a_call_whose_answer_is_lost_is_stored_once(
        self, tmp_path: pathlib.Path, options: dict[str, Any]
    ) -> None:
        with RedisServer(tmp_path) as server:
            app = Umbel(
                "pause",
                broker=server.url(),
                broker_transport_options=options,
                broker_send_timeout=5 * SHORT,
                set_as_current=False,
            )
            call = app.task(name="tasks.add")(lambda: None)
            call.delay()
            for attempt, words in ((1, "may have been sent, or not"), (2, "Nothing was sent, after")):
                server.command("CLIENT", "PAUSE", "2000", "ALL")
                begun = time.monotonic()
                with pytest.raises(BrokerUnavailable, match=words) as raised:
                    call.delay()  # on the open connection; the second time there is none
                assert time.monotonic() - begun < 10 * SHORT
                assert raised.value.in_doubt is (attempt == 1)
                stored = server.command("LLEN", "celery")  # answered when the pause is over
                assert stored in (1, 2), "the one in doubt may have come in, once"
            app.close()


class TestLosingIt:
    def test_a_restart_loses_nothing_and_everybody_reconnects(self, tmp_path: pathlib.Path) -> None:
        server = RedisServer(tmp_path, aof=True)

        async def scenario() -> None:
            a, b = open_broker(server.url()), open_broker(server.url())
            store = open_store(server.url())
            async with opened(a, b, store):
                await a.send(
                    [task("held"), task("waits"), task("due", due_in=SHORT), task("first", priority=9)]
                )
                taken = await drain(a, 2, limit=2)
                assert bodies(taken) == ["first", "held"]
                waiting = await waiting_reserve(b, "other")
                heard = asyncio.ensure_future(_first(b))
                told = asyncio.ensure_future(_first_record(store, "1"))
                patient = asyncio.ensure_future(
                    asyncio.to_thread(store.wait_now, ["1"], LONG, lambda _: True)
                )
                await asyncio.sleep(SHORT)  # let them listen; being early would only make the test easier
                server.stop()
                with pytest.raises(BrokerUnavailable):
                    await waiting
                with pytest.raises(OperationalError):
                    await a.send([task("lost")])
                server.start()
                assert not await a.settle([Ack(receipt=taken[0].receipt), Release(receipt=taken[1].receipt)])
                assert bodies(await drain(b, 3)) == ["held", "waits", "due"]
                a.send_now([task("after")])
                assert bodies(await drain(a, 1)) == ["after"]

                async def published() -> bool:  # a hint may be lost while the subscriber reconnects
                    await a.publish(Signal(kind="ping"))
                    return heard.done()

                await eventually(published)
                await store.put([record("1")])
                assert (await told)[1] == (await patient)["1"] == record("1").payload

        with server:
            run_scenario(scenario())

    def test_scripts_that_the_server_forgot_are_sent_again(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            broker, store = open_broker(redis_server.url()), open_store(redis_server.url())
            broker.adopt(store)
            async with opened(broker, store):
                for n in range(2):
                    redis_server.command("SCRIPT", "FLUSH")
                    await broker.send([task(f"{n}", priority=1)])
                    redis_server.command("SCRIPT", "FLUSH")
                    broker.send_now([task(f"{n}-now", priority=1)])
                    redis_server.command("SCRIPT", "FLUSH")
                    first, second = await drain(broker, 2)
                    redis_server.command("SCRIPT", "FLUSH")
                    assert not await broker.settle([Ack(receipt=first.receipt)])
                    assert not await broker.settle([Ack(receipt=second.receipt, record=record("1"))])
                    await store.put([record("2")])

        run_scenario(scenario())

    def test_a_connection_that_breaks_during_a_reserve_strands_nothing(
        self, redis_server: RedisServer
    ) -> None:
        async def scenario() -> None:
            a, b = open_broker(redis_server.url()), open_broker(redis_server.url())
            async with opened(a, b):
                await a.reserve(["q"], limit=1, lease=LONG, wait=0)
                redis_server.command("CLIENT", "PAUSE", "300", "WRITE")
                await asyncio.sleep(0)
                reserving = asyncio.ensure_future(a.reserve(["q"], limit=9, lease=LONG, wait=0))
                sending = asyncio.ensure_future(b.send([task("one"), task("two")]))
                await asyncio.sleep(SHORT)  # both are on their way now, and the server holds them back
                redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                for lost in (reserving, sending):
                    with pytest.raises(BrokerUnavailable):
                        await lost
                await b.send([task("three")])
                assert set(bodies(await drain(a, 1))) == {"three"}

        run_scenario(scenario())

    def test_reserves_cancelled_in_flight_give_back_uncounted(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            a, b = open_broker(redis_server.url()), open_broker(redis_server.url())
            async with opened(a, b):
                await a.send([task(str(n)) for n in range(20)])
                for spins in range(20):
                    reserving = asyncio.ensure_future(a.reserve(["q"], limit=7, lease=LONG, wait=0))
                    for _ in range(spins % 4):
                        await asyncio.sleep(0)
                    reserving.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await a.settle([Release(receipt=each.receipt) for each in await reserving])
                await a.close()
                taken = await drain(b, 20)
                assert bodies(taken) == [str(n) for n in range(20)]
                assert {delivery.count for delivery in taken} == {1}

        run_scenario(scenario())

    def test_what_a_dead_node_was_woken_for_is_served_by_another(self, redis_server: RedisServer) -> None:
        """It had moved the message out of Celery's list and died before it took it under lease."""

        async def scenario() -> None:
            a = open_broker(redis_server.url())
            async with opened(a):
                await a.send([task("old"), task("new"), task("low", priority=-50)])
                for source in ("q", "q\x06\x166"):
                    target = f"umbel:{{q}}:woken{source[1:]}"
                    redis_server.command("LMOVE", source, target, "RIGHT", "LEFT")
                assert bodies(await a.reserve(["q"], limit=9, lease=LONG, wait=0)) == ["old", "new", "low"]

        run_scenario(scenario())

    def test_a_node_that_no_longer_waits_passes_the_message_on(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            a, b = open_broker(redis_server.url()), open_broker(redis_server.url())
            async with opened(a, b):
                gone = await waiting_reserve(a)
                waiting = await waiting_reserve(b)
                gone.cancel()
                started = time.monotonic()
                redis_server.command("LPUSH", "q", redis_server_entry("one"))
                assert bodies(await waiting) == ["one"]
                assert time.monotonic() - started < 2  # far below the 5 s of looking again

        run_scenario(scenario())


class Deaf:
    """A TCP proxy that, when told, cuts a connection instead of passing the next answer back."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.cut = False

    async def __aenter__(self) -> Deaf:
        self._proxy = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._proxy.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._proxy.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", self._server.port)

        async def answers() -> None:
            while data := await upstream[0].read(65536):
                if self.cut:
                    self.cut = False
                    break
                writer.write(data)
            writer.close()

        answering = asyncio.ensure_future(answers())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                upstream[1].write(data)
        await answering
        upstream[1].close()


class TestLosingAnswers:
    """The server did it, and we never heard."""

    def test_of_settlements(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            async with Deaf(redis_server) as proxy, opened(open_broker(proxy.url)) as [broker]:
                await broker.send([task(str(n)) for n in range(6)])
                taken = await drain(broker, 6)
                plain = [Ack(receipt=each.receipt) for each in taken[:2]]
                mixed = [
                    Ack(receipt=taken[2].receipt, then=(task("then"),)),
                    Release(receipt=taken[3].receipt),
                ]
                for batch in (plain, mixed):
                    proxy.cut = True
                    # The one that stands there twice is stale, and nothing else.
                    assert list(await broker.settle([*batch, batch[0]])) == [batch[0].receipt]
                    assert not proxy.cut
                assert bodies(await drain(broker, 2)) == ["3", "then"]

        run_scenario(scenario())

    def test_of_a_reserve(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            async with Deaf(redis_server) as proxy, opened(open_broker(proxy.url)) as [broker]:
                await broker.send([task("one"), task("two")])
                await broker.reserve(["q"], limit=1, lease=SHORT, wait=0)

                async def both_wait() -> bool:
                    return (await broker.depth(["q"]))["q"].waiting == 2

                await eventually(both_wait)
                proxy.cut = True
                with pytest.raises(BrokerUnavailable):
                    await broker.reserve(["q"], limit=5, lease=LONG, wait=0)
                taken = await drain(broker, 2)
                assert [(*bodies([each]), each.count) for each in taken] == [("one", 2), ("two", 1)]

        run_scenario(scenario())

    def test_of_a_send(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            async with Deaf(redis_server) as proxy, opened(open_broker(proxy.url)) as [broker]:
                await broker.send([task("one")])
                proxy.cut = True
                with pytest.raises(BrokerUnavailable):
                    await broker.send([task("two")])
                await asyncio.to_thread(broker.send_now, [task("three")])
                proxy.cut = True
                with pytest.raises(BrokerUnavailable):
                    await asyncio.to_thread(broker.send_now, [task("four")])
                await broker.send([task("five")])
                assert bodies(await drain(broker, 5)) == ["one", "two", "three", "four", "five"]

        run_scenario(scenario())


class TestWhenItIsFull:
    @pytest.fixture
    def full(self, tmp_path: pathlib.Path) -> Iterator[RedisServer]:
        with RedisServer(tmp_path, config=("--maxmemory-policy", "noeviction")) as server:
            yield server

    def test_senders_are_told_and_workers_go_on(self, full: RedisServer) -> None:
        async def scenario() -> None:
            broker, store = open_broker(full.url()), open_store(full.url())
            broker.adopt(store)
            async with opened(broker, store):
                await broker.send([task(str(n)) for n in range(50)])
                full.command("CONFIG", "SET", "maxmemory", "1mb")
                refused = [
                    lambda: broker.send([task("x")]),
                    lambda: broker.send([task("x"), task("y", "other")]),
                    lambda: broker.send([task("x"), task("y", priority=5)]),
                    lambda: store.put([record("1")]),
                ]
                for refuse in refused:
                    with pytest.raises(StoreFull, match="Nothing was written"):
                        await refuse()
                for batch in ([task("x")], [task("x", due_in=5.0)]):
                    with pytest.raises(StoreFull):
                        broker.send_now(batch)
                taken = await drain(broker, 50, limit=20)
                assert bodies(taken) == [str(n) for n in range(50)]
                first, second, *rest = taken
                done = [Ack(receipt=first.receipt, record=record("0")), Release(receipt=second.receipt)]
                assert not await broker.settle([*done, *(Ack(receipt=each.receipt) for each in rest)])
                assert bodies(await drain(broker, 1)) == ["1"]
                assert await store.get(["0"])

        run_scenario(scenario())

    def test_a_replica_takes_nothing(self, full: RedisServer) -> None:
        broker = open_broker(full.url())
        broker.send_now([task("x")])
        full.command("REPLICAOF", "localhost", str(free_port()))
        with pytest.raises(StoreFull, match="READONLY"):
            broker.send_now([task("y")])


class TestWaiting:
    def test_every_step_of_a_fetch_is_told(self, redis_server: RedisServer) -> None:
        """A slow server may take its time for each, and a worker is not to think that it hangs."""

        async def scenario() -> None:
            broker = open_broker(redis_server.url())
            told: list[asyncio.Task[Any] | None] = []
            broker.on_step = lambda: told.append(asyncio.current_task())
            assert await broker.reserve(["q"], limit=1, lease=LONG, wait=0) == []
            assert len(told) >= 5  # connected, two questions to the server, the queue made known, the script
            told_at_first = len(told)
            await broker.reserve(["q"], limit=1, lease=LONG, wait=SHORT)
            assert len(told) >= told_at_first + 2  # the wait is over, and the script again
            assert set(told) == {asyncio.current_task()}
            await broker.close()

        run_scenario(scenario())

    def test_an_idle_node_costs_less_than_two_commands_a_second(self, redis_server: RedisServer) -> None:
        seconds = 6.0

        async def node(broker: Broker, name: str) -> None:
            info = NodeInfo(name=name, id=name, pid=1, queues=["q"])
            while True:
                await broker.announce(info, ttl=20.0)
                await broker.reserve(["q"], limit=5, lease=30.0, wait=5.0, holder=name)

        async def scenario() -> None:
            broker = open_broker(redis_server.url())
            async with opened(broker):
                running = asyncio.ensure_future(node(broker, "w1"))
                heard = asyncio.ensure_future(_first(broker))
                await asyncio.sleep(4 * SHORT)  # past the start, which connects and subscribes
                redis_server.command(
                    "CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "999"
                )
                redis_server.command("SLOWLOG", "RESET")
                await asyncio.sleep(seconds)
                calls = redis_server.command("SLOWLOG", "GET", "999")
                redis_server.command("CONFIG", "SET", "slowlog-log-slower-than", "-1")
                assert isinstance(calls, list)
                for each in (running, heard):
                    each.cancel()
                await asyncio.gather(running, heard, return_exceptions=True)
            # What scripts call is logged with a client that does not exist; a call costs its round trip once.
            sent = [call for call in calls if call[4] != b"?:0"]
            assert 2 <= len(sent) <= 2 * seconds, sent

        run_scenario(scenario())

    def test_a_message_wakes_one_of_many_nodes(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            nodes = [open_broker(redis_server.url()) for _ in range(8)]
            async with opened(*nodes):
                waiting = [await waiting_reserve(node) for node in nodes]
                redis_server.command("CONFIG", "RESETSTAT")
                nodes[0].send_now([task("one")])
                done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                assert [bodies(each.result()) for each in done] == [["one"]]
                assert _calls(redis_server)["evalsha"] <= 2
                for each in rest:
                    each.cancel()
                await asyncio.gather(*rest, return_exceptions=True)

        run_scenario(scenario())

    def test_many_messages_at_once_reach_every_waiting_node(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            nodes = [open_broker(redis_server.url()) for _ in range(3)]
            async with opened(*nodes):
                for round_ in range(20):
                    waiting = [
                        asyncio.ensure_future(node.reserve(["q"], limit=1, lease=LONG, wait=LONG))
                        for node in nodes
                    ]
                    await nodes[0].send([task(f"{round_}-{n}") for n in range(3)])
                    async with asyncio.timeout(PATIENCE):
                        taken = [each for deliveries in await asyncio.gather(*waiting) for each in deliveries]
                    assert sorted(bodies(taken)) == [f"{round_}-{n}" for n in range(3)]

        run_scenario(scenario())

    def test_a_broken_blocked_connection_is_replaced(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            broker = open_broker(redis_server.url())
            async with opened(broker):
                waiting = await waiting_reserve(broker)
                clients = redis_server.command("CLIENT", "LIST")
                assert isinstance(clients, bytes)
                for line in clients.splitlines():
                    if b"cmd=blmove" in line:
                        redis_server.command("CLIENT", "KILL", "ID", line.split(b" ")[0].removeprefix(b"id="))
                broker.send_now([task("one")])
                async with asyncio.timeout(PATIENCE):
                    assert bodies(await waiting) == ["one"]

        run_scenario(scenario())


class TestBigNumbers:
    def test_a_backlog_is_sorted_in_full(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            broker = open_broker(redis_server.url())
            async with opened(broker):
                for _ in range(6):
                    await broker.send([task("plain")] * 2000)
                await broker.send([task("urgent", priority=1), task("plain")])
                counts = {"plain": 0, "urgent": 0}
                taken = await broker.reserve(["q"], limit=100, lease=LONG, wait=0)
                while taken:
                    for delivery in taken:
                        assert delivery.frame is not None
                        counts[delivery.frame.task_id] += 1
                    await broker.settle([Ack(receipt=delivery.receipt) for delivery in taken])
                    taken = await broker.reserve(["q"], limit=5000, lease=LONG, wait=0)
                assert counts == {"plain": 12001, "urgent": 1}
                left = redis_server.command("KEYS", "*")
                assert isinstance(left, list)
                assert {key for key in left if not key.startswith(b"umbel:settled:")} <= {
                    b"umbel:queues",
                    b"umbel:sequence",
                }

        run_scenario(scenario())

    def test_many_messages_for_later_are_moved_aside(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            broker = open_broker(redis_server.url())
            async with opened(broker):
                later = task("later", due_in=3600.0)
                later.frame.headers["eta"] = "2999-01-01T00:00:00+00:00"
                await broker.send([later] * 2500)
                await broker.send([task("now")])
                assert bodies(await drain(broker, 1)) == ["now"]
                assert (await broker.depth(["q"]))["q"].scheduled == 2500

        run_scenario(scenario())


class TestThreadsAndForks:
    def test_waiting_threads_in_a_parent_and_its_child(self, redis_server: RedisServer) -> None:
        store, putter = open_store(redis_server.url()), open_store(redis_server.url())
        assert store.wait_now(["nobody"], SHORT, lambda _: True) == {}

        def child() -> bytes:
            return store.wait_now(["1"], PATIENCE, lambda _: True)["1"]

        async def put() -> None:
            async with opened(putter):
                await asyncio.sleep(2 * SHORT)  # let them wait; being early would only make the test easier
                await putter.put([record("1")])

        found: list[dict[str, bytes]] = []
        threads = [
            threading.Thread(target=lambda: found.append(store.wait_now(["1"], PATIENCE, lambda _: True)))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        putting = threading.Thread(target=lambda: asyncio.run(put()))
        putting.start()
        assert in_forked_child(child) == record("1").payload
        for thread in [*threads, putting]:
            thread.join(PATIENCE)
        assert found == [{"1": record("1").payload}] * 3

    def test_a_retry_of_a_message_that_a_follow_up_duplicates(self, redis_server: RedisServer) -> None:
        async def scenario() -> None:
            broker = open_broker(redis_server.url())
            async with opened(broker):
                await broker.send([task("one"), task("two")])
                one, two = await drain(broker, 2)
                then = task("next", dedupe_key="k", dedupe_window=LONG)
                batch = [Ack(receipt=one.receipt, then=(then,)), Ack(receipt=two.receipt, then=(then,))]
                assert not await broker.settle(batch)
                [following] = await drain(broker, 1)
                retry = Retry(receipt=following.receipt, replacement=then, first=True)
                assert list(await broker.settle([retry, retry])) == [following.receipt]
                assert await shelf_of(broker, "next") == "waiting"

        run_scenario(scenario())


def redis_server_entry(id: str) -> bytes:
    from umbel.core.kombu_json import dump_frame

    return dump_frame(task(id).frame, routing_key="q")


def _calls(server: RedisServer) -> dict[str, int]:
    info = server.command("INFO", "commandstats")
    assert isinstance(info, bytes)
    calls = {}
    for line in info.decode().splitlines():
        if line.startswith("cmdstat_"):
            name, _, numbers = line.removeprefix("cmdstat_").partition(":")
            calls[name] = int(numbers.partition("calls=")[2].partition(",")[0])
    for own in ("config|resetstat", "info"):
        calls.pop(own, None)
    return calls


async def _first(broker: Broker) -> Signal:
    signals = broker.signals()
    try:
        return await anext(signals)
    finally:
        await signals.aclose()  # type: ignore[attr-defined]


async def _first_record(store: ResultStore, task_id: str) -> tuple[str, bytes]:
    watching = store.watch([task_id])
    try:
        return await anext(watching)
    finally:
        await watching.aclose()  # type: ignore[attr-defined]


def test_an_outgoing_of_no_queue_known_is_named(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        broker = open_broker(redis_server.url())
        async with opened(broker):
            for n, queue in enumerate(("a", "b", "c")):
                out: Outgoing = task("x", queue, priority=n)
                await (broker.send([out]) if n else asyncio.to_thread(broker.send_now, [out]))
            assert list(await broker.queues()) == ["a", "b", "c"]

    run_scenario(scenario())
