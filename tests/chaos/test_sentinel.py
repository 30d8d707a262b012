"""The master of Redis changes: it dies, or it is told to step down. Sentinel promotes its replica, and everybody follows.

Redis copies to its replicas without waiting for them: what a master that dies had not sent yet is gone, whoever had accepted it.
So these tests wait until the replica has everything, and then nothing may be missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from chaos.ledger import Ledger
from servers import RedisServer, command, sentinel
from umbel.backends import open_broker
from umbel.testing.conformance.harness import run_scenario, task
from worker.harness import Site, Worker, eventually

TASKS = 500
NAME = "mymaster"
SETTINGS = {
    "broker_transport_options": f'{{"master_name": "{NAME}"}}',
    "result_backend_transport_options": f'{{"master_name": "{NAME}"}}',
}


@dataclass
class Pair:
    """A master, its replica, the sentinel that watches them, and a ledger of what goes through it."""

    master: RedisServer
    replica: RedisServer
    sentinel_socket: pathlib.Path
    ledger: Ledger

    def wait_for_copies(self) -> None:
        """Until the replica has all that the master has."""

        def copied() -> bool:
            behind = self.replica.info("slave_repl_offset") == self.master.info("master_repl_offset")
            return behind and self.replica.info("master_link_status") == "up"

        eventually(copied, "the replica to be up to date")

    def wait_for_failover(self) -> None:
        """Until the sentinel sends everybody to what was the replica."""

        def promoted() -> bool:
            where = self.ask_sentinel("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
            return where == [b"127.0.0.1", str(self.replica.port).encode()]

        eventually(promoted, "the promotion of the replica")

    def wait_for_demotion(self) -> None:
        """Until the old master is a replica. Before, it takes what nobody will ever see: that is not ours to mend."""

        def demoted() -> bool:
            with contextlib.suppress(OSError):  # it resets all connections at that moment
                return self.master.info("role") == "slave"
            return False

        eventually(demoted, "the old master to step down")

    def ask_sentinel(self, *words: str) -> object:
        return command(self.sentinel_socket, *words)

    def worker(self) -> contextlib.AbstractContextManager[Worker]:
        return self.ledger.site.worker(app="chaos.jobs", settings=SETTINGS)


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        # The replica does not wait five seconds for other replicas to ask for the same copy.
        master = stack.enter_context(
            RedisServer(tmp_path / "master", config=("--repl-diskless-sync-delay", "0"))
        )
        replica = stack.enter_context(master.replica(tmp_path / "replica"))
        eventually(lambda: replica.info("master_link_status") == "up", "the first copy")
        port = stack.enter_context(sentinel(tmp_path / "sentinel", master, NAME, down_after=0.5))
        made = Pair(master, replica, tmp_path / "sentinel" / "sentinel.sock", make_ledger(tmp_path, port))
        stack.callback(made.ledger.site.close)
        eventually(
            lambda: made.ask_sentinel("SENTINEL", "REPLICAS", NAME), "the sentinel to find the replica"
        )
        yield made


def make_ledger(directory: pathlib.Path, port: int) -> Ledger:
    site = Site(directory / "site", f"sentinel://127.0.0.1:{port}/0")
    site.app.conf.broker_transport_options = {"master_name": NAME}
    site.app.conf.result_backend_transport_options = {"master_name": NAME}
    return Ledger(site)


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """What is left of a machine when its processes hang: it accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.mark.parametrize("way", ["in a loop", "in a thread"])
def test_a_first_sentinel_that_does_not_answer(tmp_path: pathlib.Path, mute: socket.socket, way: str) -> None:
    """The second one is asked while there is time, and the next time it is asked first."""
    with RedisServer(tmp_path / "master") as master, sentinel(tmp_path / "sentinel", master, NAME) as port:
        url = f"sentinel://127.0.0.1:{mute.getsockname()[1]};sentinel://127.0.0.1:{port}/0"
        options = {"master_name": NAME, "socket_connect_timeout": 3.0}

        async def work() -> None:
            broker = open_broker(url, options)
            if way == "in a loop":
                await broker.send([task("one")])
            else:
                await asyncio.to_thread(broker.send_now, [task("one")])
            await broker.close()

        for _ in range(3):
            run_scenario(work())
        assert master.command("LLEN", "q") == 3
    mute.settimeout(0)
    mute.accept()[0].close()
    with pytest.raises(BlockingIOError):  # only once
        mute.accept()


def test_a_master_that_dies(pair: Pair) -> None:
    ledger = pair.ledger
    with pair.worker():
        held = ledger.send_waiting(2)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        pair.wait_for_copies()
        with ledger.outage("master"):
            pair.master.stop()
            ledger.send(1)  # it is refused, or waits for the new master
            pair.wait_for_failover()
        ledger.open_gate()
        ledger.send(TASKS)
        ledger.settle_up()


@pytest.mark.soak
def test_a_master_that_steps_down(pair: Pair) -> None:
    ledger = pair.ledger
    with pair.worker():
        held = ledger.send_waiting(2)
        ledger.wait_for_starts(held)
        ledger.send(TASKS)
        pair.wait_for_copies()
        with ledger.outage("master"):
            pair.ask_sentinel("SENTINEL", "FAILOVER", NAME)
            pair.wait_for_failover()
            pair.wait_for_demotion()
        ledger.send(TASKS)
        ledger.open_gate()
        ledger.settle_up()
