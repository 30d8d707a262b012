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
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

import msgspec

from umbel._version import __version__
from umbel.codecs.commands import Command, read_command, write_reply
from umbel.errors import MessageError, OperationalError
from umbel.ports import Remote
from umbel.worker.inflight import Held
from umbel.worker.pauses import pause_after

if TYPE_CHECKING:
    from umbel.worker.node import Node

__all__ = ["Commands"]

logger = logging.getLogger("umbel.worker")

Handler = Callable[..., Any]
_SILENT = frozenset({"shutdown", "heartbeat", "election"})
"""Those that Celery does not answer either."""
_NOT_HERE = {
    "rate_limit": "rate limits are not in this version",
    "time_limit": "limits are those of the settings and the tasks; start the worker anew to change them",
    "pool_grow": "the number of processes is fixed; start another worker, or this one with another -c",
    "pool_shrink": "the number of processes is fixed; start the worker anew with another -c",
    "pool_restart": "send SIGHUP to the worker instead",
    "autoscale": "the number of processes is fixed",
    "add_consumer": "the queues are fixed; start the worker with another -Q",
    "cancel_consumer": "the queues are fixed; start the worker with another -Q",
    "revoke_by_stamped_headers": "revoking by stamps is not in this version; revoke by id",
}


class Commands:
    """Of one node. `box` is where its commands come from, `conf` are the settings that it shows, without secrets."""

    def __init__(self, node: Node, box: str, conf: Callable[[], dict[str, Any]]) -> None:
        self._node = node
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
        if not isinstance(broker, Remote):
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
        answer = await self._answer(command)
        address = (command.reply_to or {}).get("routing_key")
        if isinstance(address, str) and command.method not in _SILENT:
            await broker.reply(
                self._box, address, write_reply(command, self._box, {self._node.settings.name: answer})
            )

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
        handler = self._handlers.get(command.method)
        if handler is None:
            logger.error("There is no command %r.", command.method)
            return {"error": f"There is no command {command.method!r}."}
        try:
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
        headers = held.frame.headers
        info = held.frame.properties.get("delivery_info")
        args, kwargs = _arguments(held)
        return {
            "id": held.frame.task_id,
            "name": held.frame.task_name,
            "args": args,
            "kwargs": kwargs,
            "type": held.frame.task_name,
            "hostname": self._node.settings.name,
            "time_start": held.began or time.time(),
            "acknowledged": held.receipt is None,
            "delivery_info": {
                "exchange": info.get("exchange", "") if isinstance(info, dict) else "",
                "routing_key": held.queue,
                "priority": held.frame.properties.get("priority", 0),
                "redelivered": held.deliveries > 1,
            },
            "worker_pid": pid,
            "retries": headers.get("retries", 0),
        }

    def do_active(self, safe: bool = False) -> list[dict[str, Any]]:
        return [self._info(held, pid) for held, pid, runs in self._handed() if runs]

    def do_reserved(self, safe: bool = False) -> list[dict[str, Any]]:
        waiting = [held for held, _, runs in self._handed() if not runs]
        return [self._info(held) for held in (*waiting, *self._node.crew.buffer)]

    def do_scheduled(self, safe: bool = False) -> list[dict[str, Any]]:
        return []  # what is due later lies in the broker, with no worker

    def do_revoked(self) -> list[str]:
        return []  # kept in the broker

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
        return sorted(self._node.judge.known_tasks())

    def do_active_queues(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "exchange": {"name": name, "type": "direct"}, "routing_key": name, "durable": True}
            for name in self._node.settings.queues
        ]

    def do_stats(self) -> dict[str, Any]:
        node, usage = self._node, resource.getrusage(resource.RUSAGE_SELF)
        return {
            "total": {"all": node.journal.counters.get("success", 0)},
            "pid": os.getpid(),
            "clock": "1",
            "uptime": round(time.monotonic() - self._began),
            "prefetch_count": node.settings.children * node.settings.slots,
            "broker": {"transport": node.broker.caps.name.lower(), "hostname": node.broker.url},
            "pool": {
                "implementation": node.settings.pool,
                "max-concurrency": node.settings.children * node.settings.slots,
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

    def do_clock(self) -> dict[str, int]:
        return {"clock": 1}

    def do_hello(self, from_node: str = "", revoked: Any = None, **unused: Any) -> dict[str, Any] | None:
        return None if from_node == self._node.settings.name else {"revoked": {}, "clock": 1}

    # -- what it is told to do

    async def do_revoke(
        self, task_id: Collection[str] | str, terminate: bool = False, signal: Any = None, **unused: Any
    ) -> dict[str, str]:
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        await self._node.broker.revoke(ids)
        self._node.revoke(ids, terminate=terminate)
        return {"ok": f"{'terminate' if terminate else 'revoke'}: {', '.join(ids)}"}

    def do_terminate(
        self, task_id: Collection[str] | str, signal: Any = None, **unused: Any
    ) -> Awaitable[dict[str, str]]:
        return self.do_revoke(task_id, terminate=True)

    def do_shutdown(self, msg: str = "", **unused: Any) -> None:
        logger.warning("Told to shut down by remote control.")
        self._node.shut_down()

    def do_enable_events(self) -> dict[str, str]:
        changed = self._node.events.enable()
        return {"ok": "task events enabled" if changed else "task events already enabled"}

    def do_disable_events(self) -> dict[str, str]:
        changed = self._node.events.disable()
        return {"ok": "task events disabled" if changed else "task events already disabled"}

    def do_heartbeat(self) -> None:
        """It beats anyway, while events are on."""

    def do_election(self, **unused: Any) -> None:
        """There is nothing to elect."""


def _arguments(held: Held) -> tuple[Any, Any]:
    """As values where they are plain JSON; else as they are shown."""
    frame = held.frame
    if frame.content_type == "application/json" and "compression" not in frame.headers:
        try:
            body = msgspec.json.decode(frame.body)
        except msgspec.MsgspecError:
            body = None
        if isinstance(body, list) and len(body) == 3:
            return body[0], body[1]
    return frame.headers.get("argsrepr", ""), frame.headers.get("kwargsrepr", "")
