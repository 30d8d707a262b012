"""How a worker is: what it answers over HTTP, what ``umbel health`` says of it, and that asking does it no harm."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from servers import RedisServer, free_port
from umbel.ports import NodeHealth, NodeInfo
from umbel.worker.health import Health, judge_announced
from umbel.worker.probes import DEADLINE, MOST_BYTES, MOST_CONNECTIONS
from worker.conftest import Running
from worker.harness import Site, Worker, eventually
from worker.probing import address, ask, command, wait_for_answer, wait_for_command

# ------------------------------------------------------------------------------------------------ the record


def test_the_record_knows_what_the_loop_does() -> None:
    health = Health()
    assert health.report().state == "starting"
    health.lost("no route")
    assert (health.report().state, health.report().reason) == ("away", "no route")
    health.fetched()
    said = health.report()
    assert said.state == "fetching"
    assert said.fetched_ago is not None
    assert health.report(stopping=True).state == "stopping"


def test_full_is_only_who_may_wait_for_room() -> None:
    health = Health()
    hindrance: list[str | None] = [""]
    health.hindrance = lambda: hindrance[0]
    health.fetched()
    assert health.report().state == "fetching"  # it does not wait for room: it is fetching
    health.wait_for_room()
    assert health.report().state == "full"
    hindrance[0] = "9000 endings have to be stored first"
    assert (health.report().state, health.report().reason) == ("fetching", hindrance[0])
    hindrance[0] = None  # there is room, and the loop has not woken up: that is not full any more
    before = health.turned
    assert health.report().state == "fetching"
    assert health.turned == before
    health.room()
    assert health.report().state == "fetching"


@pytest.mark.parametrize(
    ("health", "seen_ago", "ready", "live"),
    [
        (NodeHealth(state="fetching", unanswered=5.0), 2.0, True, True),
        (NodeHealth(state="fetching", unanswered=7.5), 2.0, False, True),
        (NodeHealth(state="fetching", unanswered=0.0), 9.5, False, False),
        (NodeHealth(state="full", unanswered=0.0), 8.5, True, True),
        (NodeHealth(state="full", unanswered=0.0), 9.5, False, False),
        (NodeHealth(state="away", reason="no route", unanswered=1.0), 0.0, False, True),
        (NodeHealth(state="stuck", reason="stuck", unanswered=40.0), 0.0, False, False),
        (NodeHealth(state="stopping"), 0.0, False, True),
        (NodeHealth(state="starting"), 0.0, False, True),
        (None, 8.5, True, True),  # announced by an older version
        (None, 9.5, False, False),
    ],
)
def test_what_is_announced_grows_old(
    health: NodeHealth | None, seen_ago: float, ready: bool, live: bool
) -> None:
    node = NodeInfo(name="w@h", id="1", pid=1, queues=[], health=health, seen_ago=seen_ago)
    verdict = judge_announced(node)
    assert (verdict.ready, verdict.live) == (ready, live)
    assert verdict.reason


# ---------------------------------------------------------------------------------------------- the two sides


def test_an_idle_worker_is_live_and_ready(site: Site) -> None:
    with site.worker("--health", "0", "-n", "idle@here") as worker:
        said = wait_for_answer(worker, "/ready", 200)
        assert said["live"]
        assert said["ready"]
        assert said["node_pid"] == worker.node_pid
        assert said["pid"] == worker.pid
        assert said["running"] == said["held"] == 0
        assert said["fetched_ago"] >= 0
        assert ask(worker, "/live").status == 200
        assert ask(worker, "/").status == 404
        assert ask(worker, "/elsewhere").status == 404

        ended = wait_for_command(site, 0)
        assert "idle@here  healthy" in ended.out
        assert command(site, "-n", "idle@here").code == 0
        (node,) = json.loads(command(site, "--json").out)
        assert node["name"] == "idle@here"
        assert node["healthy"] is True
        assert node["pid"] == worker.node_pid
        assert worker.stop() == 0


def test_a_full_worker_is_ready_for_as_long_as_its_tasks_run(tmp_path: pathlib.Path) -> None:
    """With the limits that hold by default: it has fetched nothing for longer than an idle one may."""
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    with contextlib.closing(site), site.worker("--health", "0", concurrency=2) as worker:
        site.calls("gated", [("a",), ("b",)])
        site.wait_for_note("begun a")
        site.wait_for_note("begun b")
        unready: list[dict[str, object]] = []

        def old() -> bool:
            status, body = ask(worker, "/ready")
            if status != 200:
                unready.append(body)
            time.sleep(0.1)
            return bool(body["fetched_ago"] > 11 and body["running"] == 2)

        wait_for_answer(worker, "/ready", 200)
        eventually(old, "the last fetch to be 11 s ago")
        assert not unready
        ended = command(site)
        assert ended.code == 0, ended
        assert "every slot is busy" in ended.out
        site.open_gate("a")
        site.open_gate("b")
        site.assert_nothing_left()


def test_a_worker_that_shuts_down_is_live_and_not_ready(site: Site) -> None:
    with site.worker("--health", "0") as worker:
        site.call("gated", "a")
        site.wait_for_note("begun a")
        wait_for_answer(worker, "/ready", 200)
        worker.signal(signal.SIGTERM)
        assert wait_for_answer(worker, "/ready", 503)["reason"] == "it is shutting down"
        assert ask(worker, "/live").status == 200
        assert "it is shutting down" in wait_for_command(site, 1).out
        site.open_gate("a")
        assert worker.wait() == 0
    assert command(site).code == 3


def test_a_worker_whose_broker_is_away_is_live_and_not_ready(tmp_path: pathlib.Path) -> None:
    with RedisServer(tmp_path / "redis", aof=True) as server:
        site = Site(tmp_path / "site", server.url())
        with contextlib.closing(site), site.worker("--health", "0") as worker:
            wait_for_answer(worker, "/ready", 200)
            server.stop()
            said = wait_for_answer(worker, "/ready", 503)
            assert "cannot be reached" in said["reason"] or "does not answer" in said["reason"]
            assert ask(worker, "/live").status == 200
            assert command(site).code == 4
            host, port = address(worker)
            assert command(site, "--url", f"http://{host}:{port}").code == 1
            assert command(site, "--url", f"http://{host}:{port}/live").code == 0
            server.start()
            wait_for_answer(worker, "/ready", 200)
            wait_for_command(site, 0)
            assert worker.stop() == 0


def test_the_command_gives_up_on_a_broker_that_does_not_answer(tmp_path: pathlib.Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        site = Site(tmp_path / "site", server.url())
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        ended = command(site)
        assert ended.code == 4
        assert "has not answered" in ended.err


def test_every_pool_announces_how_it_is(running: Running) -> None:
    """Also the one that cannot answer over HTTP."""
    wait_for_command(running.site, 0)


def test_the_exit_codes_of_the_command(tmp_path: pathlib.Path) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    with contextlib.closing(site):
        none = command(site)
        assert none.code == 3
        assert "No worker is known" in none.err
        named = command(site, "-n", "nobody@nowhere")
        assert named.code == 3
        assert "No worker named nobody@nowhere" in named.err
        nothing = f"127.0.0.1:{free_port()}"
        unanswered = command(site, "--url", nothing)
        assert unanswered.code == 3
        assert "Was it started with --health?" in unanswered.err
        assert command(site, "--url", "https://127.0.0.1").code == 2
        assert command(site, "--url", nothing, "-n", "x").code == 2


# -------------------------------------------------------------------------------------------------- the port


def test_two_workers_on_one_port_are_a_clear_error(site: Site) -> None:
    port = str(free_port())
    with site.worker("--health", port) as worker:
        second = Worker(site, "--health", port, "-n", "second", ready=False)
        second.start()
        try:
            assert second.wait() == 2
            assert f"No health checks on {port}: something else listens there" in second.log
        finally:
            second.kill_everything()
        wait_for_answer(worker, "/ready", 200)


@pytest.mark.parametrize("given", ["nonsense", "127.0.0.1:99999", "127.0.0.1:", "192.0.2.1:0"])
def test_an_address_that_cannot_be_is_a_clear_error(tmp_path: pathlib.Path, given: str) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    worker = Worker(site, "--health", given, ready=False)
    worker.start()
    try:
        assert worker.wait() == 2
        assert given in worker.log
        assert "Traceback" not in worker.log
    finally:
        worker.kill_everything()
        site.close()


def test_solo_cannot_answer_and_says_so(tmp_path: pathlib.Path) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    worker = Worker(site, "--health", "0", pool="solo", ready=False)
    worker.start()
    try:
        assert worker.wait() == 2
        assert "the pool solo has no process that could answer health checks" in worker.log
    finally:
        worker.kill_everything()
    with contextlib.closing(site), site.worker(pool="solo", settings={"worker_health_address": "0"}) as other:
        other.wait_for("worker_health_address has no effect")


def test_starting_anew_keeps_the_port(tmp_path: pathlib.Path) -> None:
    port = free_port()
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    settings = {"worker_health_address": f"127.0.0.1:{port}"}
    with contextlib.closing(site), site.worker(settings=settings) as worker:
        wait_for_answer(worker, "/ready", 200)
        worker.signal(signal.SIGHUP)
        worker.wait_for(r" ready\.", count=2)
        assert wait_for_answer(worker, "/ready", 200)["pid"] == worker.pid
        assert address(worker)[1] == port


def test_only_the_supervisor_has_the_port(tmp_path: pathlib.Path) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    with contextlib.closing(site), site.worker("--health", "0") as worker:
        with socket.create_connection(address(worker)):  # a client that is connected while a child is forked
            os.kill(worker.child_pids[0], signal.SIGKILL)
            site.call("gated", "a")
            site.call("gated", "b")
            site.wait_for_note("begun a")
            site.wait_for_note("begun b")
            ours = tcp_sockets(worker.pid)
            assert len(ours) == 2
            for pid in [worker.node_pid, *worker.child_pids]:
                assert not ours & tcp_sockets(pid)
        site.open_gate("a")
        site.open_gate("b")


def tcp_sockets(pid: int) -> set[str]:
    """The inodes of the TCP sockets that a process has open."""
    tcp = {line.split()[9] for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]}
    found = set()
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(entry).removeprefix("socket:[").removesuffix("]"))
    return found & tcp


# ---------------------------------------------------------------------------------------------- bad company


def test_bad_clients_keep_the_supervisor_from_nothing(tmp_path: pathlib.Path) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    with contextlib.closing(site), site.worker("--health", "0") as worker, contextlib.ExitStack() as stack:

        def client(said: bytes) -> socket.socket:
            sock = stack.enter_context(socket.create_connection(address(worker), timeout=30))
            sock.sendall(said)
            return sock

        slow = [client(b"GET /li") for _ in range(3 * MOST_CONNECTIONS)]
        # Good answers while they hold on, and the supervisor does its own work.
        wait_for_answer(worker, "/ready", 200)
        os.kill(worker.child_pids[0], signal.SIGKILL)
        worker.wait_for("was killed by SIGKILL; starting another one")
        eventually(lambda: len(worker.child_pids) == 2, "another child")
        assert site.call("add", 1, 2).get(timeout=30) == 3
        # Each is closed sooner or later, those beyond the limit at once.
        begun = time.monotonic()
        for sock in slow:
            assert ended(sock) == b""
        assert time.monotonic() - begun < 5 * DEADLINE
        assert client(b"hello\r\n\r\n").recv(100).startswith(b"HTTP/1.1 400 ")
        assert client(b"\x16\x03\x01 \n\n").recv(100).startswith(b"HTTP/1.1 400 ")
        assert client(b"POST /live HTTP/1.1\r\n\r\n").recv(100).startswith(b"HTTP/1.1 405 ")
        assert ended(client(b"HEAD /live HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")
        assert client(b"x" * MOST_BYTES).recv(100).startswith(b"HTTP/1.1 431 ")
        assert ended(client(b"GET /live?x=1 HTTP/1.0\n\n")).startswith(b"HTTP/1.1 200 ")
        assert worker.stop() == 0


def ended(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            said += data
    return said


def test_the_command_knows_who_is_no_worker(tmp_path: pathlib.Path) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/queue.db")
    (tmp_path / "index.html").write_text("<p>hello")
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            eventually(lambda: "no worker of Umbel" in command(site, "--url", f"127.0.0.1:{port}").err)
            assert command(site, "--url", f"127.0.0.1:{port}/").code == 3
        finally:
            server.kill()
            site.close()
