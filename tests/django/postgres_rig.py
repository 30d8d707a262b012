"""A PostgreSQL of a test's own that can be broken: the server, a fault proxy before it, a site behind the proxy, its ledger."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg
from django.db import connections
from tests.servers import PostgresServer

from chaos.ledger import Ledger
from chaos.proxy import FaultProxy
from worker.harness import Site, Worker

TIMEOUT = 1.5
"""``stuck_timeout``, and that of a connection, in seconds."""
URL = f"django://postgres?stuck_timeout={TIMEOUT}"


@dataclass
class Rig:
    """Whatever is sent, and the workers that are started without more words, go through the proxy."""

    server: PostgresServer
    proxy: FaultProxy
    ledger: Ledger

    @contextlib.contextmanager
    def worker(
        self, name: str = "one", environment: Mapping[str, str] | None = None, **options: object
    ) -> Iterator[Worker]:
        """A worker behind the proxy. It must not believe that it has lost a lease: none of these faults is that long."""
        usual = self.ledger.site.environment
        self.ledger.site.environment = {**usual, **(environment or {})}
        worker = Worker(self.ledger.site, "-n", f"{name}@%h", app="chaos.jobs", **options)
        self.ledger.site.environment = usual
        try:
            worker.start()
            yield worker
        finally:
            worker.kill_everything()
        lost = [line for line in worker.lines if "LeaseLost" in line]
        assert not lost, lost

    def direct_worker(self, settings: dict[str, object]) -> contextlib.AbstractContextManager[Worker]:
        """A worker that has a way of its own to the server, as another machine may have."""
        there = {"UMBEL_TEST_POSTGRES_PORT": str(self.server.port)}
        return self.worker("direct", there, settings=settings)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """No process of the server runs meanwhile, and its connections stay open."""
        assert self.server.process is not None
        pids = [self.server.process.pid, *_children(self.server.process.pid)]
        with self.ledger.outage("paused"):
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                yield
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)

    def restart(self, signum: int = signal.SIGQUIT) -> None:
        """As after a crash, or with SIGINT in good order."""
        with self.ledger.outage("restarted"):
            self.server.stop(signum)
            self.server.start()

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """From outside."""
        where = {"host": "127.0.0.1", "port": self.server.port, "user": "postgres"}
        where["options"] = "-c default_transaction_read_only=off"
        with psycopg.connect(dbname="umbel", autocommit=True, **where) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


@contextlib.contextmanager
def make_rig(
    directory: pathlib.Path, environment: Mapping[str, str], *, tcp_port: int | None = None
) -> Iterator[Rig]:
    """`tcp_port`: where clients connect to instead of the proxy."""
    with (
        tempfile.TemporaryDirectory(prefix="umbel-postgres-") as home,
        PostgresServer(pathlib.Path(home) / "server", tcp=True, durable=True) as server,
        FaultProxy(server.port) as proxy,
    ):
        _make_database(server, {**environment, **_where(server.port)})
        port = tcp_port or proxy.port
        site = Site(directory / "site", URL, environment={**environment, **_where(port)})
        with _aimed_at(port):
            try:
                yield Rig(server, proxy, Ledger(site))
            finally:
                site.close()


def _where(port: int) -> dict[str, str]:
    return {
        "UMBEL_TEST_POSTGRES_HOST": "127.0.0.1",
        "UMBEL_TEST_POSTGRES_PORT": str(port),
        "PGCONNECT_TIMEOUT": "2",
    }


def _make_database(server: PostgresServer, environment: Mapping[str, str]) -> None:
    where = {"host": "127.0.0.1", "port": server.port, "user": "postgres"}
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as connection:
        connection.execute("CREATE DATABASE umbel")
    command = [sys.executable, "-m", "django", "migrate", "umbel", "--database=postgres", "-v0"]
    subprocess.run(command, env={**os.environ, **environment}, check=True)


@contextlib.contextmanager
def _aimed_at(port: int) -> Iterator[None]:
    """The alias of this process means that server for a while."""
    settings = connections.settings["postgres"]
    usual = {name: settings[name] for name in ("HOST", "PORT", "OPTIONS")}
    connections["postgres"].close()
    settings.update(HOST="127.0.0.1", PORT=str(port), OPTIONS={"connect_timeout": 2})
    try:
        yield
    finally:
        connections["postgres"].close()
        settings.update(usual)
