"""The supervisor: forks the node and the children and forks them again; passes on signals; opens nothing.

It stays a clean template (a zygote) to fork from: the app is imported, but there is no event loop, no connection
and no thread in it. What can go wrong with user code goes wrong in a child; what can go wrong with a broker
goes wrong in the node; either can be replaced while the other lives or waits.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import FrameType

import msgspec

from umbel.worker import link
from umbel.worker.exits import Exits
from umbel.worker.forking import (
    close_node_ends,
    die_with_parent,
    fork,
    leave_signals_to_the_supervisor,
    run_and_exit,
)
from umbel.worker.health import LIMITS, Limits
from umbel.worker.heartbeat import Vigil
from umbel.worker.ipc import ChildEnd, make_ends
from umbel.worker.probes import Answer, Probes

logger = logging.getLogger("umbel.worker")

_QUICK = 1.0
"""A process that ends sooner than this after its start is started again after a pause …"""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""… which doubles each time in a row: one crash costs next to nothing, and a loop of them does not keep the machine busy."""
_NODE_QUICK_DEATHS = 5
"""So many quick ends of the node in a row, and the worker gives up with a non-zero code."""
_PREDECESSORS = 8
"""So many nodes that have died are remembered, and their leases ended by the next one."""
GIVE_UP = 69
"""Exit code of a node that must not be started again: the broker is out of reach (EX_UNAVAILABLE)."""
STUCK = 70
"""Exit code of a node whose fetch loop is stuck for good (EX_SOFTWARE)."""
_TELL_SECONDS = 0.02
"""A node that has not read what it was told is told the rest so often."""
_ECHO = 0.02
"""A signal that comes again so soon is the same one, sent to the process and to its group."""
_FAREWELL = 5.0
"""How long children may take to exit after the node has let them go."""


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """What to run. The two callables are entered in a forked process and never return to the caller's code."""

    children: int
    slots: int
    in_place: bool
    """``solo``: the only child is this very process, so that a debugger can be used."""
    run_node: Callable[[socket.socket, str, tuple[str, ...]], int]
    """(link, id, predecessors) -> exit code. `id` is new for each node."""
    run_child: Callable[[ChildEnd, int], None]
    """(connection, index)."""
    changed: Callable[[], str | None] | None = None
    """For ``--autoreload``: names a source file that has changed since the start, else None. Polled every second."""
    probes: Probes | None = None
    """For ``--health``."""
    limits: Limits = LIMITS
    on_fork: Callable[[], object] = lambda: None
    """Called in the supervisor before a child is forked."""
    on_ready: Callable[[], object] = lambda: None
    """Called in the supervisor when the node has begun to fetch for the first time."""
    on_stop: Callable[[str, str], object] = lambda how, sig: None
    """Called in the supervisor with "warm" or "cold", and the name of the signal, when the worker begins to stop."""


class _Process(msgspec.Struct):
    pid: int
    index: int
    started: float
    killed: bool = False
    """By this worker itself."""


class Supervisor:
    """``run()`` keeps a node and its children alive until a signal ends the worker, and returns an exit code."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._size = plan.children
        """How many children there shall be."""
        self._node_pid = 0
        self._node_ids: list[str] = []
        self._node_started = 0.0
        self._node_quick_deaths = 0
        self._children: dict[int, _Process] = {}
        self._respawn_at: dict[int, float] = {}
        self._quick_deaths: dict[int, int] = {}
        """How often in a row the child of that index has died right after its start."""
        self._link: socket.socket | None = None
        self._outbox: link.Outbox | None = None
        self._stopping = ""
        self._signals: list[int] = []
        self._last_signal = (0, 0.0)
        self._reload = False
        self._killed_for_node: set[int] = set()
        self._vigil = Vigil(plan.limits)
        self._node_killed = False
        self._selector: selectors.BaseSelector | None = None
        self._exits = Exits()
        self._was_ready = False

    # -- life ------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Returns the exit code: 0 after a shutdown, 1 when the node cannot be kept alive."""
        wakeup, notify = socket.socketpair()
        wakeup.setblocking(False)
        notify.setblocking(False)
        signal.set_wakeup_fd(notify.fileno(), warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(signum, self._on_signal)
        # Objects that exist now are shared with every fork for as long as the collector leaves them alone.
        gc.collect()
        gc.freeze()
        if self._plan.in_place:
            self._fork_node()
            return self._serve_in_place()
        self._selector = selectors.DefaultSelector()
        if self._plan.probes is not None:
            self._plan.probes.join(self._selector, self._answer)
        self._fork_node()
        for index in range(self._size):
            self._fork_child(index)
        code = self._watch(wakeup)
        if self._plan.probes is not None:
            self._plan.probes.close()
        self._dismiss_children()
        logger.info("Stopped.")
        if self._reload:
            logger.warning("Starting anew.")
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        return code

    def _watch(self, wakeup: socket.socket) -> int:
        assert self._selector is not None
        self._selector.register(wakeup, selectors.EVENT_READ, lambda: _drain(wakeup))
        while True:
            events = self._selector.select(self._timeout())
            # Before anything is made of the node's silence: what it has said is heard.
            self._vigil.look()
            self._exits.look()
            self._listen()
            if self._outbox is not None:
                self._outbox.flush()
            for key, _mask in events:
                if key.data is not None:
                    key.data()
            while self._signals:
                self._handle(self._signals.pop(0))
            code = self._reap()
            if code is not None:
                return code
            if self._stopping and not self._node_pid:
                return 0  # the node had died, and waited to be started again: there is nobody to stop
            self._kill_node_that_hangs()
            self._respawn()
            if self._plan.probes is not None:
                self._plan.probes.expire()
            if self._plan.changed is not None and not self._stopping:
                changed = self._plan.changed()
                if changed:
                    logger.warning("%s has changed.", changed)
                    self._reload = True
                    self._stop("warm")

    def _timeout(self) -> float | None:
        waits = [max(0.0, at - time.monotonic()) for at in self._respawn_at.values()]
        if self._plan.changed is not None:
            waits.append(1.0)
        if self._node_pid:
            waits.append(self._plan.limits.beat)
        if self._outbox:
            waits.append(_TELL_SECONDS)
        if self._plan.probes is not None and (wait := self._plan.probes.timeout()) is not None:
            waits.append(wait)
        return min(waits) if waits else None

    # -- health ----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Hear what the node has said."""
        while self._link is not None:
            try:
                message, _ = link.receive(self._link)
            except BlockingIOError:
                return
            if message is None:
                # It is about to end. Until it has, there is nothing to hear, and nothing to be woken for.
                if self._selector is not None and self._link in self._selector.get_map():
                    self._selector.unregister(self._link)
                return
            if isinstance(message, link.Beat):
                self._vigil.heard(message)
                if not self._was_ready:
                    self._was_ready = True
                    self._plan.on_ready()
            elif isinstance(message, link.Killing) and message.pid in self._children:
                self._children[message.pid].killed = True
            elif isinstance(message, link.Resize):
                self._resize(message.children)

    def _kill_node_that_hangs(self) -> None:
        if self._node_pid and not self._node_killed and self._vigil.hangs():
            self._kill_node(
                f"has said nothing for {self._plan.limits.hung:.0f} s, and should have every second: its event loop hangs, "
                "or somebody has stopped it"
            )

    def _kill_node(self, why: str) -> None:
        logger.critical("The node (pid %d) %s. Killing it; what it held is taken back.", self._node_pid, why)
        self._node_killed = True
        os.kill(self._node_pid, signal.SIGKILL)

    def _tell_node(self, message: link.Message, fds: Iterable[int] = ()) -> None:
        """Now or later: a node that is slow to read is no reason to wait, and whether it hangs its silence tells."""
        if self._outbox is not None:
            self._outbox.put(message, fds)

    def _answer(self, path: str) -> Answer | None:
        if path not in ("/live", "/ready"):
            return None
        live, ready, reason = self._vigil.verdict()
        if live and self._stopping:
            ready, reason = False, "it is shutting down"
        elif live and not self._node_pid:
            ready, reason = False, "the node has died and is about to be started again"
        facts = {"live": live, "ready": ready, "reason": reason, **self._vigil.facts()}
        good = live if path == "/live" else ready
        return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, {
            **facts,
            "pid": os.getpid(),
            "node_pid": self._node_pid or None,
        }

    # -- signals ---------------------------------------------------------------------------------------

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._signals.append(signum)

    def _handle(self, signum: int) -> None:
        if signum == signal.SIGCHLD:
            return
        last, self._last_signal = self._last_signal, (signum, time.monotonic())
        if last[0] == signum and self._last_signal[1] - last[1] < _ECHO:
            return
        name = signal.Signals(signum).name
        if signum == signal.SIGHUP:
            self._reload = True
        elif self._reload:
            self._reload = False
            logger.warning("%s: shutting down instead of starting anew.", name)
            if signum != signal.SIGQUIT:
                return
        cold = bool(signum == signal.SIGQUIT or self._stopping)
        self._plan.on_stop("cold" if cold else "warm", name)
        if cold:
            logger.warning("%s: cold shutdown.", name)
            self._stop("cold")
        else:
            logger.warning(
                "%s: warm shutdown. Running tasks may finish; a second signal interrupts them.", name
            )
            self._stop("warm")

    def _stop(self, mode: str) -> None:
        self._stopping = mode
        self._tell_node(link.Stop("cold" if mode == "cold" else "warm"))

    # -- processes -------------------------------------------------------------------------------------

    def _fork_node(self) -> None:
        ours, theirs = link.make_link()
        # Not only the last one: it may have died before it had taken back what the one before it held.
        predecessors = tuple(self._node_ids[-_PREDECESSORS:])
        node_id = os.urandom(8).hex()
        self._node_ids = [*predecessors, node_id]
        self._link, self._outbox = ours, link.Outbox(ours)
        self._node_started = time.monotonic()
        self._node_killed = False
        self._vigil.begin()
        pid = fork()
        if pid == 0:
            self._leave_to_the_supervisor()
            leave_signals_to_the_supervisor()
            run_and_exit(lambda: self._plan.run_node(theirs, node_id, predecessors))
        theirs.close()
        self._node_pid = pid
        if self._selector is not None:
            self._selector.register(ours, selectors.EVENT_READ)

    def _resize(self, size: int) -> None:
        self._size = size
        there = {child.index for child in self._children.values()}
        for index in range(size):
            if index not in there:
                self._respawn_at.setdefault(index, time.monotonic())

    def _fork_child(self, index: int) -> None:
        self._plan.on_fork()
        child_end, node_ends = make_ends()
        pid = fork()
        if pid == 0:
            die_with_parent()
            leave_signals_to_the_supervisor()
            close_node_ends(node_ends)
            self._leave_to_the_supervisor()
            run_and_exit(lambda: self._plan.run_child(child_end, index))
        self._children[pid] = _Process(pid, index, time.monotonic())
        self._introduce(index, pid, node_ends)
        child_end.close()

    def _introduce(self, index: int, pid: int, node_ends: tuple[socket.socket, int, int]) -> None:
        sock, *tokens = node_ends
        self._tell_node(link.NewChild(index, pid, self._plan.slots), [sock.detach(), *tokens])

    def _respawn(self) -> None:
        if self._stopping:
            return
        now = time.monotonic()
        for index, at in list(self._respawn_at.items()):
            if at <= now:
                del self._respawn_at[index]
                if index < 0:
                    self._replace_node()
                elif index < self._size:
                    self._fork_child(index)

    def _reap(self) -> int | None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            if pid == self._node_pid:
                code = self._node_ended(status)
                if code is not None:
                    return code
            elif pid in self._children:
                self._listen()
                self._child_ended(self._children.pop(pid), status)

    def _child_ended(self, child: _Process, status: int) -> None:
        how = self._exits.describe(status, ours=child.killed)
        self._tell_node(link.ChildDied(child.pid, how))
        if child.pid in self._killed_for_node:
            self._killed_for_node.discard(child.pid)
            return
        if status != 0 and not self._stopping:
            logger.error("Child %d (pid %d) %s; starting another one.", child.index + 1, child.pid, how)
        quick = status != 0 and time.monotonic() - child.started < _QUICK
        deaths = self._quick_deaths[child.index] = self._quick_deaths.get(child.index, 0) + 1 if quick else 0
        pause = min(_FIRST_PAUSE * 2 ** (deaths - 1), _LONGEST_PAUSE) if deaths else 0.0
        self._respawn_at[child.index] = time.monotonic() + pause

    def _node_ended(self, status: int) -> int | None:
        pid, self._node_pid = self._node_pid, 0
        self._listen()
        self._hang_up()
        how = self._exits.describe(status, ours=self._node_killed)
        if status != 0 or not self._stopping:
            # What its children were running cannot be reported any more, and will be run again: they must not go on.
            self._kill_children()
        if self._stopping:
            if status != 0:
                logger.error("The node (pid %d) %s during the shutdown; what it held is run again.", pid, how)
            return 0 if status == 0 else 1
        if os.waitstatus_to_exitcode(status) == GIVE_UP:
            return GIVE_UP
        logger.error("The node (pid %d) %s; starting another one.", pid, how)
        if self._node_killed or os.waitstatus_to_exitcode(status) == STUCK:
            self._vigil.vain += 1
            if self._vigil.vain >= self._plan.limits.nodes:
                logger.critical(
                    "%d nodes in a row hung, and none of them fetched anything. Giving up.", self._vigil.vain
                )
                return 1
        if time.monotonic() - self._node_started < _QUICK:
            self._node_quick_deaths += 1
            if self._node_quick_deaths >= _NODE_QUICK_DEATHS:
                logger.critical(
                    "The node ended %d times right after its start. Giving up.", _NODE_QUICK_DEATHS
                )
                return 1
        else:
            self._node_quick_deaths = 0
        self._respawn_at.clear()
        self._respawn_at[-1] = time.monotonic() + (0.2 * self._node_quick_deaths)
        return None

    def _kill_children(self) -> None:
        for pid, child in self._children.items():
            child.killed = True
            self._killed_for_node.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _hang_up(self) -> None:
        if self._link is not None:
            if self._selector is not None and self._link in self._selector.get_map():
                self._selector.unregister(self._link)
            self._link.close()
            self._link = None
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None

    def _leave_to_the_supervisor(self) -> None:
        """In a forked process: let go of what only the supervisor uses."""
        if self._link is not None:
            self._link.close()
        if self._outbox is not None:
            self._outbox.close()
        if self._selector is not None:
            self._selector.close()
        if self._plan.probes is not None:
            self._plan.probes.close()

    def _replace_node(self) -> None:
        self._fork_node()
        for index in range(self._size):
            self._fork_child(index)

    def _dismiss_children(self) -> None:
        deadline = time.monotonic() + _FAREWELL
        while self._children and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                pid, _status = os.waitpid(-1, os.WNOHANG)
                self._children.pop(pid, None)
            time.sleep(0.005)
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    # -- solo ------------------------------------------------------------------------------------------

    def _serve_in_place(self) -> int:
        def on_signal(signum: int, frame: FrameType | None) -> None:
            self._handle(signum)

        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(signum, on_signal)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child_end, node_ends = make_ends()
        self._introduce(0, os.getpid(), node_ends)
        self._plan.run_child(child_end, 0)
        self._stop("warm")
        _pid, status = os.waitpid(self._node_pid, 0)
        return 0 if status == 0 else 1


def _drain(wakeup: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        wakeup.recv(4096)
