"""A Redis of a test's own that can be broken: the server, a fault proxy before it, a site behind the proxy, and its ledger."""

from __future__ import annotations

import contextlib
import pathlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.ledger import Ledger
from chaos.proxy import FaultProxy
from servers import RedisServer
from worker.harness import Site, Worker

TIMEOUT = 1.0
"""socket_timeout and socket_connect_timeout, in seconds, where a test does not want the defaults (10 and 4)."""


@dataclass
class Rig:
    """Whatever is sent, and the workers that are started without more words, go through the proxy."""

    server: RedisServer
    proxy: FaultProxy
    ledger: Ledger

    @property
    def site(self) -> Site:
        return self.ledger.site

    @contextlib.contextmanager
    def worker(self, name: str = "one", **options: object) -> Iterator[Worker]:
        """A worker behind the proxy. It must not believe that it has lost a lease: none of these faults is that long."""
        with self.site.worker("-n", f"{name}@%h", app="chaos.jobs", **options) as worker:
            yield worker
        lost = [line for line in worker.lines if "LeaseLost" in line]
        assert not lost, lost

    def direct_worker(
        self, settings: dict[str, object] | None = None
    ) -> contextlib.AbstractContextManager[Worker]:
        """A worker that has a way of its own to the server, as another machine may have."""
        url = self.server.url()
        there = {"broker_url": url, "result_backend": url, **(settings or {})}
        return self.worker("direct", settings=there)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The server does not run meanwhile, and its connections stay open."""
        assert self.server.process is not None
        with self.ledger.outage("paused"):
            self.server.process.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                self.server.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill the server and start it again: it reads its append-only file."""
        with self.ledger.outage("restarted"):
            self.server.stop()
            self.server.start()


@contextlib.contextmanager
def make_rig(directory: pathlib.Path, *, timeout: float | None = TIMEOUT) -> Iterator[Rig]:
    """`timeout`: of a socket, in seconds; None: the default settings."""
    with RedisServer(directory / "redis", aof=True) as server, FaultProxy(server.port) as proxy:
        query = f"?socket_timeout={timeout}&socket_connect_timeout={timeout}" if timeout is not None else ""
        site = Site(directory / "site", f"redis://127.0.0.1:{proxy.port}/0{query}")
        try:
            yield Rig(server, proxy, Ledger(site))
        finally:
            site.close()
