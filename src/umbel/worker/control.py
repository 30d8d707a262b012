"""What a node answers to remote control: Celery's commands, and Flower's with them. Runs no code of users.

A command that this version cannot carry out is answered with an error that says so: whoever asks must not believe that it was.
"""

from __future__ import annotations

import asyncio
import fnmatch
import inspect
import logging
import os
import re
import resource
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from umbel._version import __version__
from umbel.codecs.commands import Command, read_command, write_reply
from umbel.core.stamps import MARK
from umbel.errors import MessageError, OperationalError
from umbel.panel import Panel
from umbel.ports import Remote
from umbel.routing import Queue, declared_queues
from umbel.worker.inflight import Held
from umbel.worker.orders import Orders
from umbel.worker.pauses import pause_after
from umbel.worker.request import Request

if TYPE_CHECKING:
    from umbel.worker.node import Node

__all__ = ["Commands", "refused_commands"]

logger = logging.getLogger("umbel.worker")

Handler = Callable[..., Any]
_SILENT = frozenset({"shutdown", "heartbeat", "election"})
"""Those that Celery does not answer either."""
_NOT_HERE = {"autoscale": "the number of processes is fixed; pool_grow and pool_shrink change it"}


_TASK_INFO = ("exchange", "routing_key", "rate_limit")
"""What ``registered`` shows of a task, if it is set."""
_SHOWN = 1000
"""So many calls that are due later are shown."""


def refused_commands() -> dict[str, str]:
    """The commands that are answered with an error, each with what it says."""
    return dict(_NOT_HERE)


class Commands(Orders):
    """Of one node. `box` is where its commands come from, `conf` are the settings that it shows, without secrets."""

    def __init__(self, node: Node, box: str, conf: Callable[[], dict[str, Any]]) -> None:
        self._node = node
        self.state = SimpleNamespace(app=None, hostname=node.settings.name, consumer=None, tset=set)
        """What commands of the program's own are given."""
        self._asked: set[asyncio.Task[None]] = set()
        self._box = box
        self._conf = conf
        self._began = time.monotonic()
        self.listening = asyncio.Event()
        """From now on no command is missed, or there are none."""
        self._handlers: dict[str, Handler] = {
            name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }
        self._handlers["dump_active"] = self.do_active
        self._handlers["dump_reserved"] = self.do_reserved
        self._handlers["dump_schedule"] = self.do_scheduled
        self._handlers["dump_revoked"] = self.do_revoked
        self._handlers["dump_tasks"] = self.do_registered
        self._handlers["dump_conf"] = self.do_conf

    async def run(self) -> None:
        """Answer until cancelled. Where the broker carries no commands there is nothing to do."""
        broker, failures = self._node.broker, 0
        if not isinstance(broker, Remote) or not self._node.judge.conf.worker_enable_remote_control:
            self.listening.set()
            await asyncio.Event().wait()
            return
        while True:
            try:
                commands = await broker.commands(self._box)
                self.listening.set()
                async for message in commands:
                    failures = 0
                    await self._heed(broker, message)
            except OperationalError as exc:
                logger.debug("Not listening for commands: %s", exc)
            await asyncio.sleep(pause_after(failures))
            failures += 1

    async def _heed(self, broker: Remote, message: bytes) -> None:
        try:
            command = read_command(message)
        except MessageError as exc:
            logger.warning("%s", exc)
            return
        if command is None or not self._is_meant(command):
            return
        if command.method in Panel.data:
            # The program's own may take its time: the others do not wait for it.
            task = asyncio.get_running_loop().create_task(self._reply(broker, command))
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)
        else:
            await self._reply(broker, command)

    async def _reply(self, broker: Remote, command: Command) -> None:
        answer = await self._answer(command)
        address = (command.reply_to or {}).get("routing_key")
        if isinstance(address, str) and command.method not in _SILENT:
            reply = write_reply(command, self._box, {self._node.settings.name: answer})
            try:
                await broker.reply(self._box, address, reply)
            except OperationalError as exc:
                logger.debug("A command could not be answered: %s", exc)

    def _is_meant(self, command: Command) -> bool:
        name = self._node.settings.name
        if command.destination is not None and name not in command.destination:
            return False
        if command.pattern and command.matcher:
            try:
                if command.matcher == "pcre":
                    return re.match(command.pattern, name) is not None
                return fnmatch.fnmatch(name, command.pattern)
            except re.error as exc:
                logger.warning(
                    "The pattern %r of a command is no regular expression: %s", command.pattern, exc
                )
                return False
        return True

    async def _answer(self, command: Command) -> Any:
        if command.method in _NOT_HERE:
            return {"error": f"{command.method}: {_NOT_HERE[command.method]}."}
        handler = Panel.data.get(command.method) or self._handlers.get(command.method)
        if handler is None:
            logger.error("There is no command %r.", command.method)
            return {"error": f"There is no command {command.method!r}."}
        try:
            if command.method in Panel.data:
                answer = await asyncio.to_thread(handler, self.state, **command.arguments)
            else:
                answer = handler(**command.arguments)
            if inspect.isawaitable(answer):
                answer = await answer
            msgspec.json.encode(answer)
        except Exception as exc:
            # Whatever was asked, and however wrongly: the node goes on.
            logger.exception("The command %s failed", command.method)
            return {"error": repr(exc)}
        return answer

    # -- what runs and what waits

    def _handed(self) -> list[tuple[Held, int, bool]]:
        """What children have, with the process and whether it runs: they begin their calls in order."""
        found = []
        for child in self._node.crew.children.values():
            for place, held in enumerate(child.handed.values()):
                found.append((held, child.pid, place < child.slots))
        return found

    def _info(self, held: Held, pid: int | None = None) -> dict[str, Any]:
        return Request(held, self._node.settings.name, worker_pid=pid).info()

    def do_active(self, safe: bool = False) -> list[dict[str, Any]]:
        return [self._info(held, pid) for held, pid, runs in self._handed() if runs]

    def do_reserved(self, safe: bool = False) -> list[dict[str, Any]]:
        waiting = [held for held, _, runs in self._handed() if not runs]
        return [self._info(held) for held in (*waiting, *self._node.crew.buffer, *self._node.pace.calls())]

    async def do_scheduled(self, safe: bool = False) -> list[dict[str, Any]]:
        """What is due later lies in the broker: every worker tells of all in its queues."""
        node, found = self._node, []
        for shelved in await node.broker.browse("scheduled", list(node.queues), limit=_SHOWN):
            if shelved.frame is not None:
                due = datetime.fromtimestamp(node.broker.now() + (shelved.due_in or 0.0), UTC)
                request = Request(Held.waiting(shelved.frame, shelved.queue), node.settings.name).info()
                found.append(
                    {"eta": due.isoformat(), "priority": 6, "request": {**request, "time_start": None}}
                )
        return found

    async def do_revoked(self) -> list[str]:
        known = await self._node.broker.revoked()
        return sorted(task_id for task_id in known if not task_id.startswith(MARK))

    def do_query_task(self, ids: Collection[str] | str, **unused: Any) -> dict[str, Any]:
        wanted = {ids} if isinstance(ids, str) else set(ids)
        answer = {}
        for held in self._node.inflight:
            if held.frame.task_id in wanted:
                running = any(held is other and runs for other, _, runs in self._handed())
                answer[held.frame.task_id] = ["active" if running else "reserved", self._info(held)]
        return answer

    # -- what the worker is

    def do_ping(self) -> dict[str, str]:
        return {"ok": "pong"}

    def do_registered(self, taskinfoitems: Any = None, builtins: bool = False, **unused: Any) -> list[str]:
        return self._node.judge.described(taskinfoitems or _TASK_INFO, builtins=builtins)

    def do_active_queues(self) -> list[dict[str, Any]]:
        declared = declared_queues(self._node.judge.conf)
        return [_as_dict(name, declared.get(name)) for name in self._node.queues]

    def do_stats(self) -> dict[str, Any]:
        node, usage = self._node, resource.getrusage(resource.RUSAGE_SELF)
        return {
            "total": dict(node.journal.total),
            "pid": os.getpid(),
            "clock": "1",
            "uptime": round(time.monotonic() - self._began),
            "prefetch_count": node.size * node.settings.slots,
            "broker": {"transport": node.broker.caps.name.lower(), "hostname": node.broker.url},
            "pool": {
                "implementation": node.settings.pool,
                "max-concurrency": node.size * node.settings.slots,
                "processes": [child.pid for child in node.crew.children.values()],
                "max-tasks-per-child": node.settings.max_tasks_per_child or "N/A",
            },
            "rusage": {"utime": usage.ru_utime, "stime": usage.ru_stime, "maxrss": usage.ru_maxrss},
            "counters": dict(node.journal.counters),
        }

    def do_conf(self, with_defaults: bool = False, **unused: Any) -> dict[str, Any]:
        return self._conf()

    def do_report(self) -> dict[str, str]:
        return {"ok": f"umbel:{__version__} pool:{self._node.settings.pool}"}

    def do_memsample(self) -> str:
        return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.2f}MB"

    def do_clock(self) -> dict[str, int]:
        return {"clock": 1}

    def do_hello(self, from_node: str = "", revoked: Any = None, **unused: Any) -> dict[str, Any] | None:
        return None if from_node == self._node.settings.name else {"revoked": {}, "clock": 1}


def _as_dict(name: str, queue: Queue | None) -> dict[str, Any]:
    """A queue in the form in which kombu shows it."""
    exchange = {
        "name": queue.exchange if queue else name,
        "type": queue.exchange_type if queue else "direct",
        "arguments": None,
        "durable": True,
        "passive": False,
        "auto_delete": False,
        "delivery_mode": None,
        "no_declare": False,
    }
    limits = dict.fromkeys(
        ("expires", "message_ttl", "max_length", "max_length_bytes", "max_priority", "queue_arguments")
    )
    return {
        "name": name,
        "exchange": exchange,
        "routing_key": queue.routing_key if queue else name,
        "binding_arguments": None,
        "consumer_arguments": None,
        "durable": True,
        "exclusive": False,
        "auto_delete": False,
        "no_ack": False,
        "alias": None,
        "bindings": [],
        "no_declare": None,
        **limits,
    }
