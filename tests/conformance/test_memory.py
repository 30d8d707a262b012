"""``memory://`` against the contract, and what is its own."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable

import pytest

from umbel.backends import open_broker, open_store
from umbel.backends.memory import MemoryBroker, forget_memory, place
from umbel.errors import CapabilityError, ConfigurationError
from umbel.ports import Broker, ResultStore
from umbel.testing.conformance import AdoptionConformance, BrokerConformance, ResultStoreConformance
from umbel.testing.conformance.harness import PATIENCE, drain, in_forked_child, task


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4()}"


class MemoryFixtures:
    @pytest.fixture
    def make_broker(self, url: str) -> Callable[[], Broker]:
        return lambda: open_broker(url)

    @pytest.fixture
    def make_store(self, url: str) -> Callable[[], ResultStore]:
        return lambda: open_store(url)


class TestMemoryBroker(MemoryFixtures, BrokerConformance):
    pass


class TestMemoryStore(MemoryFixtures, ResultStoreConformance):
    pass


class TestMemoryAdoption(MemoryFixtures, AdoptionConformance):
    pass


class TestMemoryItself:
    def test_a_name_is_shared_and_names_are_apart(self, url: str) -> None:
        sender, same, other = MemoryBroker(url), MemoryBroker(url), MemoryBroker(f"{url}-other")
        sender.send_now([task("one")])
        assert _waiting(same) == 1
        assert _waiting(other) == 0

    def test_a_forgotten_name_is_empty_again(self, url: str) -> None:
        name = url.removeprefix("memory://")
        old = MemoryBroker(name)
        old.send_now([task("one")])
        forget_memory(name)
        assert _waiting(MemoryBroker(name)) == 0
        assert _waiting(old) == 1

    def test_several_loops_and_threads_share_it(self, url: str) -> None:
        async def take() -> list[str]:
            return [delivery.receipt.queue for delivery in await drain(open_broker(url), 1, limit=1)]

        waiting = [threading.Thread(target=lambda: taken.extend(asyncio.run(take()))) for _ in range(3)]
        taken: list[str] = []
        for thread in waiting:
            thread.start()
        for n in range(3):
            open_broker(url).send_now([task(str(n))])
        for thread in waiting:
            thread.join(PATIENCE)
        assert taken == ["q"] * 3

    def test_a_forked_child_is_told_that_it_cannot_reach_it(self, url: str) -> None:
        broker, store = open_broker(url), open_store(url)

        def child() -> bytes:
            for use in (lambda: broker.send_now([task("one")]), lambda: store.get_now(["1"])):
                with pytest.raises(CapabilityError, match=r"forked.*sqlite://"):
                    use()
            return b"refused"

        assert in_forked_child(child) == b"refused"

    def test_there_are_no_options(self) -> None:
        with pytest.raises(ConfigurationError, match="'fast'"):
            open_broker("memory://x?fast=1")
        with pytest.raises(ConfigurationError, match="'visibility_timeout'"):
            open_store("memory://x", {"visibility_timeout": 3})

    def test_what_is_remembered_is_swept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(place, "SWEEP_EVERY", 0.0)
        memo = place.Memo()
        for n in range(100):
            memo.add(str(n), -1.0)
        assert len(memo) == 1


def _waiting(broker: Broker) -> int:
    return asyncio.run(_depth(broker))


async def _depth(broker: Broker) -> int:
    return (await broker.depth(["q"]))["q"].waiting
