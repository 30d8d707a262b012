"""``app.control``: remote control. Asks the workers, and tells them what to do, in Celery's words.

On Redis commands travel as Celery's do: workers of both kinds hear them, and both kinds answer. Other brokers carry no commands; there,
what workers announce of themselves in the broker answers ``ping``, ``registered``, ``active_queues`` and ``stats``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from umbel import portal, records
from umbel.codecs.commands import Command, read_reply, write_command
from umbel.errors import CapabilityError
from umbel.ids import new_id
from umbel.ports import NodeInfo, Remote

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["Control", "Inspect"]

_POLL = 0.01
_LIVES = 60.0
"""Seconds after which a command that nobody is waited for is not carried out any more."""
_ANNOUNCED: dict[str, Callable[[NodeInfo], Any]] = {
    "ping": lambda node: {"ok": "pong"},
    "registered": lambda node: sorted(node.tasks),
    "active_queues": lambda node: [{"name": name, "routing_key": name} for name in node.queues],
    "stats": lambda node: {
        "pid": node.pid,
        "pool": {"implementation": node.pool, "max-concurrency": node.concurrency},
        "counters": dict(node.counters),
    },
}


class Inspect:
    """``app.control.inspect()``: each answer is a dict by the names of workers, or None when nobody answered.

    ::

        app.control.inspect().active()                     # {"umbel@web1": [{"id": …, "name": "shop.ship", …}]}
        app.control.inspect(["umbel@web1"]).registered()
    """

    def __init__(
        self,
        destination: Collection[str] | str | None = None,
        timeout: float = 1.0,
        *,
        app: Umbel,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        limit: int | None = None,
        **who: Any,
    ) -> None:
        """`destination`: only these workers; `timeout`: seconds to wait for answers; `limit`: not for more answers than that;
        `pattern` and `matcher` ("glob" or "pcre"): only workers with such names."""
        self._app = app
        self._options = {
            "destination": destination,
            "timeout": timeout,
            "callback": callback,
            "limit": limit,
            **who,
        }

    def _request(self, command: str, **arguments: Any) -> dict[str, Any] | None:
        """Ask for a command by its name, also one of the program's own (see ``umbel.panel``)."""
        return self._ask(command, **arguments)

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any] | None:
        answers = self._app.control.broadcast(command, arguments, reply=True, **self._options)
        merged: dict[str, Any] = {}
        for answer in answers or ():
            merged.update(answer)
        return merged or None

    def ping(self, destination: Collection[str] | str | None = None) -> dict[str, Any] | None:
        """``{"umbel@web1": {"ok": "pong"}}``."""
        if destination is not None:
            self._options["destination"] = destination
        return self._ask("ping")

    def active(self, safe: bool | None = None) -> dict[str, Any] | None:
        """The calls that run."""
        return self._ask("active")

    def reserved(self, safe: bool | None = None) -> dict[str, Any] | None:
        """The calls that workers have taken and not begun."""
        return self._ask("reserved")

    def scheduled(self, safe: bool | None = None) -> dict[str, Any] | None:
        """The calls that are due later. Workers of Celery tell of those that they keep; with Umbel they lie in the broker, and every worker
        tells of those in its queues."""
        return self._ask("scheduled")

    def revoked(self) -> dict[str, Any] | None:
        """The ids of the calls that are revoked. Umbel's are in the broker, and every worker tells of all of them."""
        return self._ask("revoked")

    def registered(self, *taskinfoitems: str) -> dict[str, Any] | None:
        """The names of the tasks that each knows."""
        return self._ask("registered", **({"taskinfoitems": taskinfoitems} if taskinfoitems else {}))

    registered_tasks = registered

    def active_queues(self) -> dict[str, Any] | None:
        """The queues that each consumes."""
        return self._ask("active_queues")

    def stats(self) -> dict[str, Any] | None:
        """Process, pool and counters of each."""
        return self._ask("stats")

    def conf(self, with_defaults: bool = False) -> dict[str, Any] | None:
        """The settings of each, without secrets."""
        return self._ask("conf", with_defaults=with_defaults)

    def report(self) -> dict[str, Any] | None:
        """What each would write into a bug report."""
        return self._ask("report")

    def clock(self) -> dict[str, Any] | None:
        """Celery's logical clock. Umbel has none, and answers 1."""
        return self._ask("clock")

    def hello(self, from_node: str, revoked: Any = None) -> dict[str, Any] | None:
        """What workers of Celery tell each other at their start."""
        return self._ask("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> dict[str, Any] | None:
        """The memory of each worker's node, in megabytes, as a text."""
        return self._ask("memsample")

    def query_task(self, *ids: Any) -> dict[str, Any] | None:
        """For each worker the calls of these ids that it has: ``{id: ["active", {…}]}``."""
        wanted = ids[0] if len(ids) == 1 and isinstance(ids[0], list | tuple) else ids
        return self._ask("query_task", ids=list(wanted))


class Control:
    """``app.control``."""

    def __init__(self, app: Umbel) -> None:
        self._app = app

    def inspect(
        self, destination: Collection[str] | str | None = None, timeout: float = 1.0, **options: Any
    ) -> Inspect:
        """Ask the workers; all of them, or those of `destination`."""
        return Inspect(destination, timeout, app=self._app, **options)

    def ping(
        self, destination: Collection[str] | str | None = None, timeout: float = 1.0, **options: Any
    ) -> list[dict[str, Any]]:
        """``[{"umbel@web1": {"ok": "pong"}}]``."""
        return self.broadcast("ping", reply=True, destination=destination, timeout=timeout, **options) or []

    def broadcast(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        destination: Collection[str] | str | None = None,
        reply: bool = False,
        timeout: float = 1.0,
        **options: Any,
    ) -> list[dict[str, Any]] | None:
        """Send a command to the workers, or to those of `destination`.

        With `reply` wait for their answers: `timeout` seconds, or until as many have come as there are destinations, or `limit`.
        `callback` is called with each. Raises CapabilityError when the broker carries no commands, and has no answer of its own.
        """
        names = [destination] if isinstance(destination, str) else destination
        asked = Command(
            method=command,
            arguments=dict(arguments or {}),
            destination=None if names is None else list(names),
            pattern=options.get("pattern"),
            matcher=options.get("matcher") or ("glob" if options.get("pattern") else None),
        )
        limit = options.get("limit") or (len(names) if names else None)
        answers = portal.run(self._carry(asked, reply, timeout, limit))
        if not reply:
            return None
        for answer in answers if options.get("callback") else ():
            options["callback"](answer)
        return answers

    async def _carry(
        self, command: Command, reply: bool, timeout: float, limit: int | None
    ) -> list[dict[str, Any]]:
        broker = self._app.broker
        await broker.open()
        if not isinstance(broker, Remote):
            return _announced(command, await broker.nodes(), broker.caps.name)
        box = f"{self._app.conf.control_exchange}.pidbox"
        if not reply:
            await broker.broadcast(box, write_command(command, box, lives=_LIVES))
            return []
        address, command.ticket = new_id(), new_id()
        command.reply_to = {"exchange": f"reply.{box}", "routing_key": address}
        answers: list[dict[str, Any]] = []
        await broker.expect(box, address)
        try:
            deadline = time.monotonic() + timeout
            await broker.broadcast(box, write_command(command, box, lives=timeout))
            while time.monotonic() < deadline and (limit is None or len(answers) < limit):
                for message in await broker.replies(box, address):
                    ticket, answer = read_reply(message)
                    if ticket == command.ticket:
                        answers.append(answer)
                await asyncio.sleep(_POLL)
        finally:
            await broker.dismiss(box, address)
        return answers

    def revoke(
        self, task_id: str | Collection[str], terminate: bool = False, signal: Any = None, **options: Any
    ) -> Any:
        """These calls must not run; with `terminate` those that run are killed.

        It is kept in the broker for a day, where workers that start later find it, and told to Celery's workers, which keep it in memory.
        """
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        for one in ids:
            self._app.AsyncResult(one).revoke(terminate=terminate)
        if not self.reaches_celery:
            return None
        arguments = {"task_id": task_id if isinstance(task_id, str) else ids, "terminate": terminate}
        arguments["signal"] = str(signal or "SIGTERM")
        return self.broadcast("revoke", arguments, **options)

    def revoke_by_stamped_headers(
        self, headers: dict[str, Any], terminate: bool = False, signal: Any = None, **options: Any
    ) -> Any:
        """Calls with one of these stamps must not run; with `terminate` those that run are killed.

        ``app.control.revoke_by_stamped_headers({"user": ["ann", "bob"]})``. It is kept as that of ``revoke`` is, and holds for calls that
        are sent later too.
        """
        portal.run(records.revoke_stamped(self._app, headers, terminate))
        if not self.reaches_celery:
            return None
        arguments = {"headers": headers, "terminate": terminate, "signal": str(signal or "SIGTERM")}
        return self.broadcast("revoke_by_stamped_headers", arguments, **options)

    def terminate(self, task_id: str | Collection[str], signal: Any = None, **options: Any) -> Any:
        """``revoke`` of what runs."""
        return self.revoke(task_id, terminate=True, signal=signal, **options)

    @property
    def reaches_celery(self) -> bool:
        """Whether the broker carries commands, to workers of Celery too."""
        return isinstance(self._app.broker, Remote)

    def shutdown(self, destination: Collection[str] | str | None = None, **options: Any) -> Any:
        """Let the workers end what they run, and stop."""
        return self.broadcast("shutdown", destination=destination, **options)

    def purge(self, connection: Any = None) -> int:
        """Delete what waits in the queues of the settings. Returns how many. It cannot be undone."""

        async def delete() -> int:
            await self._app.broker.open()
            return await self._app.broker.purge(list(self._app.queues))

        return portal.run(delete())

    discard_all = purge

    def enable_events(self, destination: Any = None, **options: Any) -> Any:
        """Let the workers publish events."""
        return self.broadcast("enable_events", destination=destination, **options)

    def disable_events(self, destination: Any = None, **options: Any) -> Any:
        """Let them stop it."""
        return self.broadcast("disable_events", destination=destination, **options)

    def rate_limit(self, task_name: str, rate_limit: Any, destination: Any = None, **options: Any) -> Any:
        """Let each worker begin `task_name` no more often than that: ``"10/m"``, or 0 for as often as it comes.

        It is kept in the memory of the workers. Those of Umbel know such limits only for programs that were written for Celery.
        """
        return self.broadcast(
            "rate_limit", {"task_name": task_name, "rate_limit": rate_limit}, destination, **options
        )

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Any = None,
        **options: Any,
    ) -> Any:
        """Change the time limits of a task, in seconds, in the memory of the workers."""
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments, destination, **options)

    def pool_grow(self, n: int = 1, destination: Any = None, **options: Any) -> Any:
        """Let workers have `n` processes more."""
        return self.broadcast("pool_grow", {"n": n}, destination, **options)

    def pool_shrink(self, n: int = 1, destination: Any = None, **options: Any) -> Any:
        """Let workers have `n` processes fewer, when these have ended what they run."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **options)

    def pool_restart(
        self, modules: Any = None, reload: bool = False, destination: Any = None, **options: Any
    ) -> Any:
        """Let workers replace their processes. They must have the setting worker_pool_restarts."""
        arguments = {"modules": modules or [], "reload": reload}
        return self.broadcast("pool_restart", arguments, destination, **options)

    def autoscale(self, max: int, min: int, destination: Any = None, **options: Any) -> Any:
        """Change the bounds of workers of Celery that scale themselves; Umbel's answer with an error."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **options)

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        **options: Any,
    ) -> Any:
        """Let workers consume `queue` too, until they stop."""
        arguments = {
            "queue": queue,
            "exchange": exchange,
            "exchange_type": exchange_type,
            "routing_key": routing_key,
            **(options.pop("options", None) or {}),
        }
        return self.broadcast("add_consumer", arguments, **options)

    def cancel_consumer(self, queue: str, destination: Any = None, **options: Any) -> Any:
        """Let workers consume `queue` no longer. What they have taken from it is run."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **options)

    def heartbeat(self, destination: Any = None, **options: Any) -> Any:
        """Let workers of Celery publish a heartbeat now. Umbel's do so by themselves."""
        return self.broadcast("heartbeat", destination=destination, **options)

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> Any:
        """Ask workers of Celery to elect one of them. Umbel's need none."""
        return self.broadcast("election", {"id": id, "topic": topic, "action": action})


def _announced(command: Command, nodes: Sequence[NodeInfo], broker: str) -> list[dict[str, Any]]:
    answer = _ANNOUNCED.get(command.method)
    if answer is None:
        raise CapabilityError(
            f"The command {command.method!r} cannot be sent: {broker} carries no remote control. Redis does. There are "
            f"answers here to {', '.join(_ANNOUNCED)}; look also with `umbel list held` and `umbel list scheduled`."
        )
    return [
        {node.name: answer(node)}
        for node in nodes
        if command.destination is None or node.name in command.destination
    ]
