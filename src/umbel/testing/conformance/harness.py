"""What the suites are written with: scenarios, handles, frames, and waiting for what must happen."""

from __future__ import annotations

import asyncio
import os
import select
import traceback
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from umbel.core.frame import Frame
from umbel.ports import Broker, Delivery, Located, Outgoing, Record, ResultStore, Shelf

__all__ = [
    "LONG",
    "PATIENCE",
    "SHORT",
    "Brokers",
    "MakeBroker",
    "MakeStore",
    "Stores",
    "adoption_scenario",
    "bodies",
    "broker_scenario",
    "drain",
    "eventually",
    "in_forked_child",
    "record",
    "run_scenario",
    "shelf_of",
    "store_scenario",
    "task",
]

MakeBroker = Callable[[], Broker]
MakeStore = Callable[[], ResultStore]

LONG = 60.0
"""A lease that does not end during a test, or a wait that would make it fail."""
SHORT = 0.1
"""A lease that ends, a delay that passes, a window that closes."""
PATIENCE = 20.0
"""How long to wait for what must happen. Reaching it is a failure."""


class Brokers:
    """Handles to one empty broker. ``a`` and ``b`` are open; ``another()`` makes more."""

    def __init__(self, make: MakeBroker) -> None:
        self._make = make
        self._opened: list[Broker] = []
        self.a: Broker
        self.b: Broker

    async def __aenter__(self) -> Brokers:
        self.a = await self.another()
        self.b = await self.another()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for broker in self._opened:
            await broker.close()

    async def another(self) -> Broker:
        """One more handle, open."""
        broker = self._make()
        await broker.open()
        self._opened.append(broker)
        return broker

    def unopened(self) -> Broker:
        """One more handle, as it was made."""
        broker = self._make()
        self._opened.append(broker)
        return broker


class Stores:
    """Handles to one empty result store. ``a`` and ``b`` are open."""

    def __init__(self, make: MakeStore) -> None:
        self._make = make
        self._opened: list[ResultStore] = []
        self.a: ResultStore
        self.b: ResultStore

    async def __aenter__(self) -> Stores:
        self.a = await self.another()
        self.b = await self.another()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for store in self._opened:
            await store.close()

    async def another(self) -> ResultStore:
        """One more handle, open."""
        store = self._make()
        await store.open()
        self._opened.append(store)
        return store

    def unopened(self) -> ResultStore:
        """One more handle, as it was made."""
        store = self._make()
        self._opened.append(store)
        return store


def run_scenario(scenario: Coroutine[Any, Any, None]) -> None:
    """Run it in an event loop of its own, and not for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(3 * PATIENCE):
            await scenario

    asyncio.run(bounded())


def broker_scenario(test: Callable[[Any, Brokers], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """``async def test_x(self, brokers)`` as a test that pytest runs with the fixture ``make_broker``."""

    def run(self: object, make_broker: MakeBroker) -> None:
        async def scenario() -> None:
            async with Brokers(make_broker) as brokers:
                await test(self, brokers)

        run_scenario(scenario())

    return _named_after(test, run)


def store_scenario(test: Callable[[Any, Stores], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """``async def test_x(self, stores)`` as a test that pytest runs with the fixture ``make_store``."""

    def run(self: object, make_store: MakeStore) -> None:
        async def scenario() -> None:
            async with Stores(make_store) as stores:
                await test(self, stores)

        run_scenario(scenario())

    return _named_after(test, run)


def adoption_scenario(
    test: Callable[[Any, Brokers, Stores], Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """``async def test_x(self, brokers, stores)``: both fixtures; ``brokers.a`` has adopted ``stores.a``."""

    def run(self: object, make_broker: MakeBroker, make_store: MakeStore) -> None:
        async def scenario() -> None:
            async with Brokers(make_broker) as brokers, Stores(make_store) as stores:
                assert brokers.a.adopt(stores.a) is True
                await test(self, brokers, stores)

        run_scenario(scenario())

    return _named_after(test, run)


def _named_after(test: Callable[..., Any], run: Callable[..., None]) -> Callable[..., None]:
    # functools.wraps would also set __wrapped__, and pytest would look for the fixtures of the inner function.
    run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
    run.__module__ = test.__module__
    return run


# ------------------------------------------------------------------------------------------------------- messages


def task(
    id: str,
    queue: str = "q",
    *,
    name: str = "tasks.add",
    priority: int = 0,
    due_in: float | None = None,
    dedupe_key: str | None = None,
    dedupe_window: float = 0.0,
) -> Outgoing:
    """A message of protocol 2 whose body is its id."""
    frame = Frame(
        id.encode(),
        "application/json",
        "utf-8",
        {"lang": "py", "task": name, "id": id, "root_id": id, "parent_id": None, "retries": 0},
        {"correlation_id": id},
    )
    return Outgoing(
        frame=frame,
        queue=queue,
        priority=priority,
        due_in=due_in,
        dedupe_key=dedupe_key,
        dedupe_window=dedupe_window,
    )


def record(
    task_id: str, state: str = "SUCCESS", value: object = None, *, ttl: float | None = 3600.0
) -> Record:
    """A record whose payload tells it apart."""
    payload = msgspec.json.encode({"task_id": task_id, "status": state, "result": value})
    return Record(task_id=task_id, state=state, payload=payload, ttl=ttl)


def bodies(deliveries: Sequence[Delivery]) -> list[str]:
    """The ids of messages that ``task`` made, in the order of delivery."""
    return [delivery.frame.body.decode() for delivery in deliveries if delivery.frame is not None]


async def drain(
    broker: Broker, number: int, *queues: str, limit: int = 1000, lease: float = LONG
) -> list[Delivery]:
    """Reserve until `number` messages of `queues` (default: ``q``) have come, in order; fails when they do not.

    A backend may answer with fewer than `limit` at a time, so one ``reserve`` proves nothing.
    """
    taken: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < number:
            taken += await broker.reserve(queues or ("q",), limit=limit, lease=lease, wait=1.0)
    assert len(taken) == number, f"{number} messages were there, {len(taken)} came: {bodies(taken)}"
    return taken


async def shelf_of(broker: Broker, task_id: str) -> Shelf | None:
    """Where the message of `task_id` is, as ``find`` says; None: nowhere."""
    located: Located | None = await broker.find(task_id)
    return None if located is None else located.shelf


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until ``check()`` is true: for what time alone brings about, such as the end of a window."""
    async with asyncio.timeout(PATIENCE):
        while not await check():  # noqa: ASYNC110  (there is no event: the store only changes its answers)
            await asyncio.sleep(SHORT / 5)


# ----------------------------------------------------------------------------------------------------------- fork


def in_forked_child(work: Callable[[], bytes]) -> bytes:
    """What ``work()`` returns in a child made by ``os.fork``; its traceback as an AssertionError if it fails."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is being tested
        pid = os.fork()
    if pid == 0:
        _work_and_exit(work, writer)
    os.close(writer)
    try:
        answer = _read_all(reader)
    finally:
        os.close(reader)
        os.waitpid(pid, 0)
    assert answer.startswith(b"ok:"), answer.decode(errors="replace") or "the child died without a word"
    return answer[3:]


def _work_and_exit(work: Callable[[], bytes], writer: int) -> None:
    """Never returns: the child must not run the rest of the parent's test session."""
    status = 1
    try:
        os.write(writer, b"ok:" + work())
        status = 0
    except BaseException:  # noqa: BLE001  (told to the parent, which raises it)
        os.write(writer, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _read_all(reader: int) -> bytes:
    answer = b""
    while select.select([reader], [], [], PATIENCE)[0]:
        chunk = os.read(reader, 65536)
        if not chunk:
            return answer
        answer += chunk
    return b"the child did not answer in time"
