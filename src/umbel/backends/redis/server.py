"""One Redis server as the broker and the result store use it: connected when needed, its errors in Umbel's terms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from umbel import faults
from umbel.backends.redis.address import Address
from umbel.backends.redis.clock import ServerClock
from umbel.backends.redis.options import Options
from umbel.backends.redis.pool import Pool
from umbel.backends.redis.scripts import Script
from umbel.backends.redis.wire import Arg, Command, Lost, Refusal, SyncWire, Wire, pack, pack_one
from umbel.errors import BrokerUnavailable, ConfigurationError, StoreFull, StoreUnavailable, UmbelError

__all__ = ["Server"]

T = TypeVar("T")

_FULL = ("OOM command not allowed", "READONLY", "MISCONF")
_LOGIN = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password", "ERR DB index")


class Server:
    """Calls to one server. One connection serves all asynchronous callers; threads borrow theirs from a pool.

    A connection that is lost fails the calls that were under way; the next call opens another one.
    """

    def __init__(
        self, address: Address, options: Options, unavailable: type[BrokerUnavailable | StoreUnavailable]
    ) -> None:
        self.address = address
        self.options = options
        self.version: tuple[int, int] = (0, 0)
        """Of Redis, once connected."""
        self.clock = ServerClock()
        self.on_connect: Callable[[], None] = lambda: None
        self.on_step: Callable[[], None] = lambda: None
        """Called by the task whose call has got an answer, or has failed."""
        self._unavailable = unavailable
        self._wire: Wire | None = None
        self._lock: asyncio.Lock | None = None
        self._pool = Pool(address, options)

    def error(self, exc: Lost | Refusal) -> UmbelError:
        """What a failure means to a caller; the URL is named without its password."""
        text, url = str(exc), self.address.url
        if isinstance(exc, Lost):
            error = self._unavailable(
                f"Redis at {url} does not answer: {text}. Check that it runs and is not overloaded."
                if exc.in_doubt
                else f"Redis at {url} cannot be reached: {text}. Check that it runs and the URL."
            )
            error.in_doubt = exc.in_doubt
            return error
        # Before Redis 7, what a script's command was refused for stands inside the text.
        if text.startswith("WRONGTYPE") or "WRONGTYPE Operation" in text:
            error = self._unavailable(f"Redis at {url} refused: {text}. Nothing was written.")
            error.refused = True
            return error
        if any(sign in text for sign in _FULL):
            return StoreFull(f"Redis at {url} takes nothing new: {text}. Nothing was written.")
        if text.startswith(_LOGIN):
            return ConfigurationError(
                f"Redis at {url} refuses this login: {text}. Check user, password and database in the URL."
            )
        return self._unavailable(f"Redis at {url} refused: {text}.")

    # -- in a loop

    async def wire(self) -> Wire:
        """The shared connection, opened if need be. Raises Lost and Refusal."""
        wire = self._wire
        loop = asyncio.get_running_loop()
        if wire is not None and wire.alive and wire.loop is loop:
            return wire
        if self._lock is None or (wire is not None and wire.loop is not loop):
            self._lock, self._wire = asyncio.Lock(), None
        async with self._lock:
            if self._wire is None or not self._wire.alive:
                self._wire = await self._open()
                self.on_connect()
            return self._wire

    async def _open(self) -> Wire:
        wire = await Wire.open(self.address, self.options)
        self.on_step()
        try:
            info = await wire.call("INFO", "server")
            self.on_step()
            self.clock.hear(await wire.call("TIME"))
            self.on_step()
        except BaseException:
            wire.close()  # whoever wanted it has given up
            raise
        self.version = _version(info if isinstance(info, bytes) else b"")
        return wire

    async def connect(self) -> None:
        """Connect now, so that what fails afterwards may have reached the server."""
        try:
            await self.wire()
        except (Lost, Refusal) as exc:
            raise self.error(exc) from exc

    async def within(self, timeout: float, work: Callable[[], Awaitable[T]]) -> T:
        """``work()``, connecting included, within `timeout` seconds. Raises what is in doubt when it had begun."""
        connected = False
        try:
            async with asyncio.timeout(timeout):
                await self.connect()
                connected = True
                return await work()
        except TimeoutError:
            raise self.error(Lost(f"no answer within {timeout:.3g} s", in_doubt=connected)) from None

    async def call(self, *command: Arg) -> Any:
        """The answer to one command."""
        return (await self.calls([command]))[0]

    async def calls(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that are sent in one go. If one is refused, its error is raised; the others happened."""
        try:
            wire = await self.wire()
            answers = [await future for future in wire.send(pack(commands), len(commands))]
        except (Lost, Refusal) as exc:
            raise self.error(exc) from exc
        finally:
            self.on_step()
        self.check(answers)
        return answers

    async def run(self, script: Script, *args: Arg, keys: Sequence[str] = ()) -> Any:
        """The result of a script; sends its text when the server does not have it."""
        try:
            wire = await self.wire()
            script = script.for_server(self.version)
            answer = await wire.call("EVALSHA", script.sha, len(keys), *keys, *args)
            if isinstance(answer, Refusal) and str(answer).startswith("NOSCRIPT"):
                answer = await wire.call("EVAL", script.text, len(keys), *keys, *args)
        except (Lost, Refusal) as exc:
            raise self.error(exc) from exc
        finally:
            self.on_step()
        self.check((answer,))
        return answer

    def check(self, answers: Sequence[Any]) -> None:
        """Raise the error of the first answer that is one."""
        for answer in answers:
            if isinstance(answer, Refusal):
                if self._wire is not None and str(answer).startswith("READONLY"):
                    self._wire.close(
                        "the server became a replica"
                    )  # the next connection asks the sentinels again
                raise self.error(answer)

    async def close(self) -> None:
        """Let go of all connections."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
            if wire.loop is asyncio.get_running_loop():
                await wire.closed
        self._pool.close()

    # -- in a thread

    # `until`, by time.monotonic(), bounds all of it: connecting, sending, and the answer.

    def calls_now(self, commands: Sequence[Command], until: float | None = None) -> list[Any]:
        """``calls`` for synchronous callers."""
        try:
            with self._pool.lend(until) as wire:
                answers = wire.calls(commands)
                _leave_replica(wire, answers)
        except (Lost, Refusal) as exc:
            raise self.error(exc) from exc
        self._check_now(answers)
        return answers

    def push_now(self, key: str, entry: bytes, until: float | None = None) -> None:
        """LPUSH of one entry: the path of every ``delay()``."""
        try:
            with self._pool.lend(until) as wire:
                wire.post(pack_one(("LPUSH", key, entry)))
                faults.point("redis.send_written")
                answers = (wire.read(),)
                _leave_replica(wire, answers)
        except (Lost, Refusal) as exc:
            raise self.error(exc) from exc
        self._check_now(answers)

    def run_now(
        self, script: Script, *args: Arg, keys: Sequence[str] = (), until: float | None = None
    ) -> Any:
        """``run`` for synchronous callers."""
        try:
            with self._pool.lend(until) as wire:
                answer = wire.call("EVALSHA", script.sha, len(keys), *keys, *args)
                if isinstance(answer, Refusal) and str(answer).startswith("NOSCRIPT"):
                    answer = wire.call("EVAL", script.text, len(keys), *keys, *args)
                _leave_replica(wire, (answer,))
        except (Lost, Refusal) as exc:
            raise self.error(exc) from exc
        self._check_now((answer,))
        return answer

    def _check_now(self, answers: Sequence[Any]) -> None:
        for answer in answers:
            if isinstance(answer, Refusal):
                raise self.error(answer)


def _leave_replica(wire: SyncWire, answers: Sequence[Any]) -> None:
    """Close the connection to a server that became a replica: the next one asks the sentinels again."""
    if any(isinstance(answer, Refusal) and str(answer).startswith("READONLY") for answer in answers):
        wire.close()


def _version(info: bytes) -> tuple[int, int]:
    for line in info.splitlines():
        if line.startswith(b"redis_version:"):
            major, minor = line.partition(b":")[2].split(b".")[:2]
            return int(major), int(minor)
    return (7, 0)  # INFO is not allowed to this user: assume what is in use today
