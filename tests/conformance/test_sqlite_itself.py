"""What is SQLite's own: the file, its errors, several processes, crashes, query plans, and waking without polling."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from umbel.backends import open_broker, open_store
from umbel.backends.sqlite import SQLiteBroker, SQLiteStore, broker, messages, parse_location, pulse
from umbel.backends.sqlite.database import Database
from umbel.backends.sqlite.statements import statement, statement_names
from umbel.errors import BrokerUnavailable, ConfigurationError, StoreFull, StoreUnavailable
from umbel.ports import Ack, Delivery, NodeInfo
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
    task,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def at(path: Path, options: str = "") -> SQLiteBroker:
    return SQLiteBroker(parse_location(f"sqlite:///{path}{options}", {}))


def store_at(path: Path, options: str = "") -> SQLiteStore:
    return SQLiteStore(parse_location(f"sqlite:///{path}{options}", {}))


@contextmanager
def raw(path: Path) -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(str(path))) as connection:
        yield connection


def integrity(path: Path) -> object:
    with raw(path) as connection:
        return connection.pragma("integrity_check")


def waiting(path: Path) -> int:
    async def count() -> int:
        handle = at(path)
        depth = (await handle.depth(["q"]))["q"]
        await handle.close()
        return depth.waiting

    return asyncio.run(count())


# ------------------------------------------------------------------------------------------------------------ URLs


class TestUrls:
    def test_urls_are_in_sqlalchemys_form(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert parse_location("sqlite:///relative.db", {}).path == tmp_path / "relative.db"
        assert parse_location("sqlite:////srv/queue.db", {}).path == Path("/srv/queue.db")
        assert open_broker("sqlite:///sub/../x.db").url == f"sqlite:///{tmp_path}/x.db"

    def test_options_come_from_the_url_and_from_settings(self) -> None:
        location = parse_location("sqlite:////q.db?synchronous=full&busy_timeout=1.5", {"busy_timeout": 9})
        assert (location.synchronous, location.busy_timeout, location.wake) == ("full", 9.0, "auto")

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
    def test_a_database_in_memory_is_refused_with_the_alternative(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="memory://"):
            open_broker(url)

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("sqlite://queue.db", "three slashes"),
            ("sqlite:////q.db?synchronous=off", "synchronous.*'off'.*normal or full"),
            ("sqlite:////q.db?busy_timeout=long", "busy_timeout.*'long'"),
            ("sqlite:////q.db?busy_timeout=-1", "busy_timeout"),
            ("sqlite:////q.db?timeout=3", "no option named 'timeout'"),
            ("sqlite:////q.db?wake=never", "wake"),
        ],
    )
    def test_what_is_wrong_is_said(self, url: str, says: str) -> None:
        with pytest.raises(ConfigurationError, match=says):
            open_store(url)


# ------------------------------------------------------------------------------------------------------- the file


class TestTheFile:
    def test_only_its_user_may_read_it(self, path: Path) -> None:
        handle = at(path)
        handle.send_now([task("one")])
        for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_a_directory_that_does_not_exist_is_named_and_not_made(self, tmp_path: Path) -> None:
        path = tmp_path / "no-such-place" / "queue.db"
        with pytest.raises(BrokerUnavailable, match=r"directory .*no-such-place .*does not exist"):
            at(path).send_now([task("one")])
        with pytest.raises(StoreUnavailable, match="no-such-place"):
            asyncio.run(store_at(path).open())
        assert not path.parent.exists()

    def test_a_directory_is_no_database(self, tmp_path: Path) -> None:
        with pytest.raises(BrokerUnavailable, match="cannot be opened"):
            at(tmp_path).send_now([task("one")])

    def test_what_is_no_database_is_left_alone(self, path: Path) -> None:
        path.write_bytes(b"these are my notes, not a database " * 100)
        with pytest.raises(BrokerUnavailable, match=r"queue\.db is not an SQLite database"):
            at(path).send_now([task("one")])
        assert path.read_bytes().startswith(b"these are my notes")

    def test_a_damaged_database_is_named(self, path: Path) -> None:
        handle = at(path)
        handle.send_now([task(str(n)) for n in range(500)])
        asyncio.run(handle.close())
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        with pytest.raises(BrokerUnavailable, match=r"queue\.db .*damaged.*Move it away"):
            asyncio.run(drain(at(path), 500))

    def test_the_database_of_another_program_is_refused_unchanged(self, path: Path) -> None:
        with raw(path) as connection:
            connection.execute("CREATE TABLE auth_user (id INTEGER)")
        with pytest.raises(BrokerUnavailable, match="another program"):
            at(path).send_now([task("one")])
        with raw(path) as connection:
            assert connection.pragma("journal_mode") == "delete"

    def test_the_file_of_a_newer_version_is_refused(self, path: Path) -> None:
        at(path).send_now([task("one")])
        with raw(path) as connection:
            connection.pragma("user_version", 99)
        with pytest.raises(BrokerUnavailable, match=r"newer Umbel.*version 99"):
            at(path).send_now([task("one")])

    def test_a_file_that_was_deleted_is_made_anew(self, path: Path) -> None:
        async def scenario() -> None:
            handle = at(path)
            await handle.open()
            await handle.send([task("lost with its file")])
            waits = asyncio.ensure_future(drain(handle, 2, limit=1))
            await asyncio.sleep(SHORT)
            for file in path.parent.glob("queue.db*"):
                file.unlink()
            at(path).send_now([task("from another handle")])
            assert bodies(await waits) == ["lost with its file", "from another handle"]
            await handle.close()

        run_scenario(scenario())

    @pytest.mark.parametrize(("options", "level"), [("", 1), ("?synchronous=full", 2)])
    def test_synchronous_is_what_was_asked_for(self, path: Path, options: str, level: int) -> None:
        database = Database(at(path, options).location, BrokerUnavailable)
        with database.read() as connection:
            assert connection.pragma("synchronous") == level

    def test_nothing_stays_open_after_close(self, tmp_path: Path) -> None:
        path = tmp_path / "closed.db"  # other tests of this process leave threads of other files

        async def scenario() -> None:
            handle, store = at(path), store_at(path)
            assert handle.adopt(store)
            await handle.open()
            await store.open()
            handle.send_now([task("one")])
            store.get_now(["one"])
            await drain(handle, 1)
            await handle.reserve(["q"], limit=1, lease=LONG, wait=SHORT)
            await handle.close()
            await store.close()

            async def let_go() -> bool:
                names = [thread.name for thread in threading.enumerate()]
                return not _descriptors(path) and not any(path.name in name for name in names)

            await eventually(let_go)

        run_scenario(scenario())

    def test_a_store_that_was_open_moves_to_the_thread_of_its_broker(self, path: Path) -> None:
        async def scenario() -> None:
            handle, store = at(path), store_at(path, "?busy_timeout=1")
            await store.open()
            await handle.open()
            assert handle.adopt(store) is True
            assert handle.adopt(store_at(path.with_name("other.db"))) is False
            await store.put([record("1")])
            await handle.close()
            assert set(await store.get(["1"])) == {"1"}
            await store.close()

        run_scenario(scenario())


def _descriptors(path: Path) -> list[str]:
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue  # it was the one that lists
    return [link for link in links if link.startswith(str(path))]


# ---------------------------------------------------------------------------------------------------------- errors


class TestErrors:
    def test_a_locked_database_is_an_error_after_a_while_and_nothing_is_written(self, path: Path) -> None:
        handle, store = at(path, "?busy_timeout=0.1"), store_at(path, "?busy_timeout=0.1")
        handle.send_now([task("before")])
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(
                BrokerUnavailable, match=r"locked by another process for 0\.1 s.*busy_timeout"
            ):
                handle.send_now([task("during")])
            with pytest.raises(StoreUnavailable, match="locked"):
                asyncio.run(store.put([record("1")]))
            assert store.get_now(["1"]) == {}, "readers are never locked out"
            other.execute("ROLLBACK")
        handle.send_now([task("after")])
        assert waiting(path) == 2

    def test_a_send_waits_for_the_lock_no_longer_than_its_timeout(self, path: Path) -> None:
        handle = at(path, "?busy_timeout=60")
        handle.send_now([task("before")])
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            for send in (handle.send_now, lambda *a, **o: asyncio.run(handle.send(*a, **o))):
                with pytest.raises(BrokerUnavailable, match=r"locked by another process for 0\.\d+ s"):
                    send([task("during")], timeout=2 * SHORT)
            other.execute("ROLLBACK")
        handle.send_now([task("after")])
        assert waiting(path) == 2
        asyncio.run(handle.close())

    def test_a_full_disk_is_an_error_and_a_batch_is_stored_whole_or_not_at_all(self, path: Path) -> None:
        async def scenario() -> None:
            handle = at(path)
            await handle.send([task(str(n)) for n in range(10)])
            held = await drain(handle, 5, limit=5)
            await handle._thread.run(_let_no_page_be_added, handle._thread.database)
            many = [task(f"more-{n}") for n in range(2000)]
            with pytest.raises(StoreFull, match=r"no room left .*nothing was written"):
                await handle.send(many)
            with pytest.raises(StoreFull):
                await handle.settle(
                    [*(Ack(receipt=delivery.receipt) for delivery in held[:-1]), _ack_with(held[-1], many)]
                )
            depth = (await handle.depth(["q"]))["q"]
            assert (depth.waiting, depth.held) == (5, 5)
            # The same receipts still open, once there is room.
            assert await handle.settle([Ack(receipt=delivery.receipt) for delivery in held]) == []
            await handle.close()

        run_scenario(scenario())
        assert integrity(path) == "ok"

    def test_a_read_only_database_is_an_error(self, path: Path) -> None:
        async def scenario() -> None:
            handle = at(path)
            await handle.open()
            await handle._thread.run(_refuse_writes, handle._thread.database)
            with pytest.raises(StoreFull, match="read-only"):
                await handle.send([task("one")])
            await handle.close()

        run_scenario(scenario())


def _let_no_page_be_added(database: Database) -> None:
    with database.read() as connection:
        connection.pragma("max_page_count", connection.pragma("page_count"))


def _refuse_writes(database: Database) -> None:
    with database.read() as connection:
        connection.pragma("query_only", True)


def _ack_with(delivery: Delivery, follow_ups: list[messages.Outgoing]) -> Ack:
    return Ack(receipt=delivery.receipt, then=tuple(follow_ups))


# ------------------------------------------------------------------------------------------------------- processes


def start(program: str, *argv: object) -> subprocess.Popen[str]:
    """A Python process that runs `program` after the imports it needs."""
    prelude = (
        "import asyncio, sys, time\n"
        "from umbel.backends import open_broker\n"
        "from umbel.ports import Ack\n"
        "from umbel.testing.conformance.harness import task, bodies\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + program, *map(str, argv)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


PRODUCER = """
broker = open_broker(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[3])):
    ids = [f"{sys.argv[2]}-{n}-{m}" for m in range(7)]
    broker.send_now([task(id) for id in ids])
    print(*ids, flush=True)
"""

CONSUMER = """
async def main():
    broker = open_broker(sys.argv[1])
    await broker.open()
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        got = await broker.reserve(["q"], limit=int(sys.argv[2]), lease=float(sys.argv[3]), wait=0.5)
        stale = await broker.settle([Ack(receipt=delivery.receipt) for delivery in got])
        done = [delivery for delivery in got if delivery.receipt not in stale]
        print(*bodies(done), flush=True)
asyncio.run(main())
"""


def begin(processes: list[subprocess.Popen[str]]) -> None:
    """All at once: they wait for a line, and are given it when the last one is ready."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def kill(process: subprocess.Popen[str]) -> list[str]:
    """SIGKILL, and the ids that it had told of."""
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    lines = said.split("\n")
    return " ".join(lines[:-1]).split()  # what follows the last newline was cut off


class TestProcesses:
    def test_many_processes_may_make_the_file_at_once(self, path: Path) -> None:
        program = (
            "print('ready', flush=True); sys.stdin.readline(); "
            "open_broker(sys.argv[1]).send_now([task(sys.argv[2])]); print('sent')"
        )
        processes = [start(program, f"sqlite:///{path}", n) for n in range(5)]
        begin(processes)
        assert [process.communicate(timeout=PATIENCE)[0] for process in processes] == ["sent\n"] * 5
        assert waiting(path) == 5

    def test_processes_share_the_work_and_none_is_done_twice(self, path: Path) -> None:
        url = f"sqlite:///{path}"
        producers = [start(PRODUCER, url, name, 60) for name in "ab"]
        consumers = [start(CONSUMER, url, limit, LONG) for limit in (3, 20)]
        begin([*producers, *consumers])
        sent = " ".join(process.communicate(timeout=3 * PATIENCE)[0] for process in producers).split()
        assert len(sent) == 2 * 60 * 7
        _until_empty(path)
        done = [id for process in consumers for id in kill(process)]
        assert sorted(done) == sorted(sent)
        assert integrity(path) == "ok"

    def test_what_was_accepted_survives_killed_processes(self, path: Path) -> None:
        url = f"sqlite:///{path}"
        accepted: set[str] = set()
        done: list[str] = []
        for round in range(4):
            processes = [start(PRODUCER, url, f"r{round}", 100_000), start(CONSUMER, url, 5, SHORT)]
            begin(processes)
            for _ in range(5 + 7 * round):  # killed at another moment each time
                assert processes[0].stdout is not None
                accepted.update(processes[0].stdout.readline().split())
            accepted.update(kill(processes[0]))
            done += kill(processes[1])
        assert integrity(path) == "ok"
        assert len(done) == len(set(done)), "a settled message never comes again"

        async def rest() -> set[str]:
            handle, seen = at(path), set[str]()
            async with asyncio.timeout(PATIENCE):
                while got := await handle.reserve(["q"], limit=1000, lease=LONG, wait=10 * SHORT):
                    seen.update(bodies(got))
            await handle.close()
            return seen

        assert accepted - set(done) - asyncio.run(rest()) == _settled_but_untold(accepted, done, path)

    def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it(self, path: Path) -> None:
        at(path).send_now([task("before")])
        program = (
            "from umbel.backends.sqlite.database import Database\n"
            "from umbel.backends.sqlite import messages, parse_location\n"
            "from umbel.errors import BrokerUnavailable\n"
            "database = Database(parse_location(sys.argv[1], {}), BrokerUnavailable)\n"
            "with database.write() as connection:\n"
            "    connection.pragma('cache_size', 1)\n"  # so that it is written to the log at once
            "    messages._insert(connection, [messages._row(task(str(n))) for n in range(500)])\n"
            "    print('in', flush=True)\n"
            "    time.sleep(600)\n"
        )
        process = start(program, f"sqlite:///{path}")
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        with pytest.raises(BrokerUnavailable, match="locked"):
            at(path, "?busy_timeout=0").send_now([task("during")])
        kill(process)
        at(path).send_now([task("after")])
        assert waiting(path) == 2
        assert integrity(path) == "ok"

    def test_a_forked_child_inherits_no_open_file(self, path: Path) -> None:
        handle = at(path)
        handle.send_now([task("one")])
        assert _descriptors(path)
        assert in_forked_child(lambda: " ".join(_descriptors(path)).encode()) == b""

    def test_a_fork_waits_for_the_transaction_of_another_thread(self, path: Path) -> None:
        handle = at(path)
        inside, forked = threading.Event(), threading.Event()

        def write() -> None:
            with handle._direct.write() as connection:
                inside.set()
                assert not forked.wait(SHORT), "the fork came in the middle of the transaction"
                messages._insert(connection, [messages._row(task("one"))])

        thread = threading.Thread(target=write)
        thread.start()
        inside.wait(PATIENCE)

        def child() -> bytes:
            handle.send_now([task("two")])
            return str(waiting(path)).encode()

        assert in_forked_child(child) == b"2"
        forked.set()
        thread.join()
        assert integrity(path) == "ok"


def _until_empty(path: Path) -> None:
    async def scenario() -> None:
        handle = at(path)

        async def is_empty() -> bool:
            depth = (await handle.depth(["q"]))["q"]
            return depth.waiting == depth.held == 0

        await eventually(is_empty)
        await handle.close()

    run_scenario(scenario())


def _settled_but_untold(accepted: set[str], done: list[str], path: Path) -> set[str]:
    """What a consumer had settled, but was killed before it said so: at most one batch of 5 for each of 4 kills."""
    with raw(path) as connection:
        there = {id for (id,) in connection.execute("SELECT task_id FROM messages")}
    untold = accepted - set(done) - there
    assert len(untold) <= 4 * 5
    return untold


# ------------------------------------------------------------------------------------------------------------ cost


class TestCost:
    def test_every_statement_finds_its_rows_by_an_index(self, path: Path) -> None:
        at(path).send_now([task("one")])
        # These read a whole small table, or the whole of a shelf on purpose, through its index.
        whole = {"queues", "nodes", "forget_nodes", "prune_nodes", "prune_signals", "end_all_leases", "find"}
        whole |= {"depth", "purge_scheduled", "browse_waiting", "browse_scheduled", "browse_held"}
        whole |= {"browse_parked", "browse_dead", "reclaim"}
        whole |= {"look"}  # the first entry of an index: SQLite calls it a scan, LIMIT 1 ends it
        with raw(path) as connection:
            for name in statement_names():
                if name in ("schema", "joins", "set_boot"):
                    continue
                plan = _plan(connection, statement(name))
                scans = [step for step in plan if step.startswith("SCAN") and not _is_small(step)]
                if name not in whole:
                    assert not scans, (name, plan)
                assert all("INDEX" in step for step in scans if "messages" in step), (name, plan)

    @pytest.mark.parametrize("name", ["look", "promote", "lapse", "first_waiting", "prune_results"])
    def test_nothing_is_sorted_on_the_way_to_a_reserve(self, path: Path, name: str) -> None:
        at(path).send_now([task("one")])
        with raw(path) as connection:
            assert not [step for step in _plan(connection, statement(name)) if "TEMP B-TREE" in step]

    def test_a_reserve_costs_the_same_whatever_else_lies_in_the_file(self, path: Path) -> None:
        database = Database(at(path).location, BrokerUnavailable)

        def steps() -> int:
            messages.send(database, [task(str(n)) for n in range(10)])
            with _counting_steps(database) as count:
                taken = messages.reserve(database, ["q"], 10, LONG, "")
                messages.settle(database, [Ack(receipt=d.receipt) for d in taken.deliveries], adopted=False)
            assert len(taken.deliveries) == 10
            return count()

        alone = steps()
        messages.send(database, [task(f"s{n}", due_in=LONG + n) for n in range(3000)])
        messages.send(database, [task(f"o{n}", "other") for n in range(3000)])
        messages.reserve(database, ["other"], 1500, LONG, "")
        messages.send(database, [task(f"w{n}", priority=-1) for n in range(3000)])
        assert steps() < alone * 1.2

    def test_what_is_idle_does_not_look_at_the_tables(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[object] = []
        real = messages.reserve

        def counted(*args: object) -> messages.Taken:
            looks.append(args)
            return real(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(messages, "reserve", counted)

        async def scenario() -> None:
            handle = at(path)
            await handle.send([task("later", due_in=LONG)])
            assert await handle.reserve(["q"], limit=1, lease=LONG, wait=10 * SHORT) == []
            await handle.close()

        run_scenario(scenario())
        # At first, when it begins to listen, when the pulse has begun, and at the end.
        assert len(looks) <= 4

    def test_what_has_outlived_its_time_is_tidied_up(self, path: Path) -> None:
        async def scenario() -> None:
            handle, store = at(path), store_at(path)
            await handle.send([task("1", dedupe_key="k", dedupe_window=SHORT)])
            await handle.revoke(["1"], window=SHORT)
            await handle.announce(NodeInfo(name="gone", id="gone", pid=1, queues=[]), ttl=SHORT)
            await store.put([record(str(n), ttl=SHORT) for n in range(5000)])
            await asyncio.sleep(2 * SHORT)  # the time that it outlives
            await handle.announce(NodeInfo(name="n", id="n", pid=1, queues=[]), ttl=LONG)
            with raw(path) as connection:
                left = {
                    table: connection.execute(f"SELECT count(*) FROM {table}").get
                    for table in ("dedupe", "revoked", "nodes", "results")
                }
            assert left == {"dedupe": 0, "revoked": 0, "nodes": 1, "results": 3000}
            assert await store.prune() == 3000
            assert await store.prune() == 0
            await handle.close()
            await store.close()

        run_scenario(scenario())


def _is_small(step: str) -> bool:
    return any(name in step for name in ("json_each", "sqlite_sequence", "CONSTANT ROW"))


def _plan(connection: apsw.Connection, sql: str) -> list[str]:
    parameters = {f"?{n}" for n in range(1, 10) if f"?{n}" in sql}
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * len(parameters))
    return [str(detail) for *_, detail in rows]


@contextmanager
def _counting_steps(database: Database) -> Iterator[Callable[[], int]]:
    """How many instructions of its virtual machine SQLite runs: a cost that no other process disturbs."""
    number = 0

    def count() -> bool:
        nonlocal number
        number += 1
        return False

    with database.read() as connection:
        connection.set_progress_handler(count, 1)
    try:
        yield lambda: number
    finally:
        with database.read() as connection:
            connection.set_progress_handler(None)


# ---------------------------------------------------------------------------------------------------------- waking


class TestWaking:
    @pytest.fixture
    def no_polling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing but an event can end a wait before the test gives up."""
        monkeypatch.setattr(pulse, "_UNHINTED", 10 * LONG)
        monkeypatch.setattr(broker, "LONGEST_PAUSE", 10 * LONG)

    @pytest.mark.usefixtures("no_polling")
    def test_a_reserve_is_woken_by_an_event_from_another_process(self, path: Path) -> None:
        async def scenario() -> None:
            handle = at(path)
            await handle.open()
            sender = start(
                "broker = open_broker(sys.argv[1])\n"
                "for line in sys.stdin: broker.send_now([task(line.strip())])\n",
                f"sqlite:///{path}",
            )
            assert sender.stdin is not None
            for n in range(20):
                waits = asyncio.ensure_future(drain(handle, 1))
                await asyncio.sleep(SHORT / 2)  # past the looks that follow the last event
                sender.stdin.write(f"{n}\n")
                sender.stdin.flush()
                assert bodies(await waits) == [str(n)]
            sender.stdin.close()
            assert await asyncio.to_thread(sender.wait) == 0
            await handle.close()

        run_scenario(scenario())

    @pytest.mark.usefixtures("no_polling")
    def test_a_result_is_seen_by_an_event(self, path: Path) -> None:
        reader, writer = store_at(path), store_at(path)

        async def scenario() -> None:
            await writer.open()
            for n in range(20):
                waits = asyncio.ensure_future(asyncio.to_thread(reader.wait_now, [str(n)], PATIENCE, bool))
                await asyncio.sleep(SHORT / 2)  # past the looks that follow the last event
                await writer.put([record(str(n))])
                assert await waits == {str(n): record(str(n)).payload}
            await writer.close()

        run_scenario(scenario())

    def test_a_listener_is_not_told_of_its_own_silence(self, path: Path) -> None:
        told = threading.Event()
        times: list[Database] = []

        def listen(database: Database) -> None:
            times.append(database)
            told.set()

        at(path).send_now([task("one")])
        with pulse.pulse_of(at(path).location).listening(listen):
            assert told.wait(PATIENCE), "once at the beginning"
            told.clear()
            assert not told.wait(3 * SHORT)
            at(path).send_now([task("two")])
            assert told.wait(PATIENCE)
        assert 2 <= len(times) <= 3


# ---------------------------------------------------------------------------------------------------------- clocks


class TestClocks:
    def test_after_a_boot_nothing_is_held_and_nobody_lives(self, path: Path) -> None:
        async def scenario() -> None:
            handle = at(path)
            await handle.send([task("one")])
            await drain(handle, 1, lease=100 * LONG)
            await handle.announce(NodeInfo(name="n", id="n", pid=1, queues=[]), ttl=100 * LONG)
            await handle.close()
            with raw(path) as connection:
                connection.execute("UPDATE meta SET value = 'another boot' WHERE key = 'boot'")
            again = at(path)
            assert await again.nodes() == []
            assert [delivery.count for delivery in await drain(again, 1)] == [2]
            await again.close()

        run_scenario(scenario())
