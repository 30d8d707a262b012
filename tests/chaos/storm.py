"""Kills at random under load. The seed decides all of it but the timing, which no seed can."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from chaos.ledger import Ledger
from worker.harness import Worker, eventually

BACKLOG = 600
"""Calls that wait at least, so that there is always something to disturb."""
LONG_SECONDS = 0.5
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
"""How long a storm lasts in ``make soak``."""
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
"""Printed by each storm; given, it repeats what chance decided."""
KILLS = ("child", "child", "child", "node", "supervisor", "everything")
SETTINGS = {
    # What is tested is that nothing is lost, not that crashes are capped.
    "task_max_deliveries": 1_000_000,
    "worker_lease": 2,
}


@dataclass
class Storm:
    """A worker that is started again whenever it has ended, as by an init system, and what happens to it."""

    ledger: Ledger
    seed: int
    options: dict[str, object] = field(default_factory=dict)
    """Of the worker."""
    settings: dict[str, object] = field(default_factory=dict)
    """Of the worker, in place of or beside ``SETTINGS``."""

    def __post_init__(self) -> None:
        self.blows: dict[str, Callable[[], None]] = {
            "child": self.kill_a_child,
            "node": self.kill_the_node,
            "supervisor": self.kill_the_supervisor,
            "everything": self.kill_everything,
        }
        """What can happen, by name. More may be added."""
        self._chance = random.Random(self.seed)
        self._stack = contextlib.ExitStack()

    @contextlib.contextmanager
    def running(self) -> Iterator[Storm]:
        """At the end every process is gone."""
        print(f"seed {self.seed}")
        with self._stack:
            self._start()
            yield self

    def blow(self, seconds: float, names: Sequence[str]) -> None:
        """For so long, let one of these happen at random after each bit of progress."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Sometimes in quick succession, mostly after a stretch of work.
            goal = len(self.ledger.finished()) + self._chance.choice((1, 20, 100, 400))
            while len(self.ledger.accepted) < goal + BACKLOG:
                self.ledger.send(BACKLOG)
                self.ledger.send(2, LONG_SECONDS)
            self.ledger.wait_for_finished(goal)
            self.blows[self._chance.choice(names)]()

    def _start(self) -> None:
        self.worker: Worker = self._stack.enter_context(
            self.ledger.site.worker(app="chaos.jobs", settings={**SETTINGS, **self.settings}, **self.options)
        )
        self._nodes = 1

    # -- the kills

    def kill_a_child(self) -> None:
        pids = eventually(lambda: self.worker.child_pids, "a child")
        pid = self._chance.choice(pids)
        self.ledger.fault("child", [pid])
        with contextlib.suppress(
            ProcessLookupError
        ):  # the blow before this one has killed it, and it is only now gone
            os.kill(pid, signal.SIGKILL)

    def kill_the_node(self) -> None:
        """The supervisor ends its children and starts everything anew."""
        node = self.worker.node_pid
        self.ledger.fault("node", self.worker.child_pids)
        os.kill(node, signal.SIGKILL)
        self._nodes += 1
        self.worker.wait_for(r" ready\.", count=self._nodes)

    def kill_the_supervisor(self) -> None:
        """Its children die with it; its node gives back what they ran, and goes. The next worker starts meanwhile."""
        self.ledger.fault("supervisor", self.worker.child_pids)
        os.kill(self.worker.pid, signal.SIGKILL)
        self._start()

    def kill_everything(self) -> None:
        """As when the power fails. Nobody gives anything back: the leases must do it."""
        self.ledger.fault("everything", self.worker.child_pids)
        self.worker.kill_everything()
        self._start()
