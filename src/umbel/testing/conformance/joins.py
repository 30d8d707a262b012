"""The joins of a result store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import msgspec

from umbel.ports import Arrival, Join, ResultStore
from umbel.testing.conformance.harness import SHORT, Stores, store_scenario

TTL = 60.0


def part(task_id: str, value: object = None, state: str = "SUCCESS") -> bytes:
    """What a call brings, as on the wire."""
    return msgspec.json.encode([1, task_id, state, value])


async def arrives(
    store: ResultStore,
    join: str,
    task_id: str,
    index: int | None,
    *,
    failed: bool = False,
    value: object = None,
) -> Sequence[bytes] | None:
    """A call arrives, from another thread."""
    state = "FAILURE" if failed else "SUCCESS"
    arrival = Arrival(
        join=join, task_id=task_id, index=index, part=part(task_id, value, state), failed=failed
    )
    return await asyncio.to_thread(store.arrive_now, arrival, ttl=TTL)


def opened(store: ResultStore, size: int, *, ttl: float | None = TTL) -> str:
    """The id of a new join."""
    join_id = uuid.uuid4().hex
    store.open_joins_now([Join(id=join_id, size=size)], ttl=ttl)
    return join_id


class JoinsConformance:
    """Every method of ``umbel.ports.ResultStore`` that is about joins."""

    @store_scenario
    async def test_whoever_comes_last_gets_the_parts_in_their_order(self, stores: Stores) -> None:
        join = opened(stores.a, 3)
        assert await arrives(stores.a, join, "c", 2, value=3) is None
        assert await arrives(stores.b, join, "a", 0, value="ä") is None
        assert await arrives(stores.a, join, "b", 1) == [part("a", "ä"), part("b"), part("c", 3)]

    @store_scenario
    async def test_calls_without_a_place_come_last(self, stores: Stores) -> None:
        join = opened(stores.a, 3)
        await arrives(stores.a, join, "x", None)
        await arrives(stores.a, join, "b", 12)
        assert await arrives(stores.a, join, "a", 2) == [part("a"), part("b"), part("x")]

    @store_scenario
    async def test_two_calls_may_have_one_place(self, stores: Stores) -> None:
        join = opened(stores.a, 2)
        await arrives(stores.a, join, "a", 0)
        assert set(await arrives(stores.a, join, "b", 0) or ()) == {part("a"), part("b")}

    @store_scenario
    async def test_a_slot_is_filled_once(self, stores: Stores) -> None:
        join = opened(stores.a, 2)
        assert await arrives(stores.a, join, "a", 0, value=1) is None
        assert await arrives(stores.b, join, "a", 0, value=2) is None
        assert await arrives(stores.a, join, "b", 1) == [part("a", 1), part("b")]

    @store_scenario
    async def test_whoever_comes_again_gets_the_parts_too(self, stores: Stores) -> None:
        join = opened(stores.a, 2)
        await arrives(stores.a, join, "a", 0)
        parts = await arrives(stores.a, join, "b", 1)
        assert parts == [part("a"), part("b")]
        assert await arrives(stores.b, join, "a", 0, value="again") == parts
        assert await arrives(stores.b, join, "b", 1, value="again") == parts

    @store_scenario
    async def test_a_success_takes_the_place_of_a_failure(self, stores: Stores) -> None:
        join = opened(stores.a, 2)
        await arrives(stores.a, join, "a", 0, failed=True)
        failed = await arrives(stores.a, join, "b", 1)
        assert failed == [part("a", None, "FAILURE"), part("b")]
        assert await arrives(stores.a, join, "a", 0, failed=True, value="again") == failed
        assert await arrives(stores.b, join, "a", 0, value=1) == [part("a", 1), part("b")]
        assert await arrives(stores.a, join, "a", 0, failed=True) == [part("a", 1), part("b")]

    @store_scenario
    async def test_there_is_no_news_before_the_last_failure_is_mended(self, stores: Stores) -> None:
        join = opened(stores.a, 3)
        await arrives(stores.a, join, "a", 0, failed=True)
        await arrives(stores.a, join, "b", 1, failed=True)
        assert await arrives(stores.a, join, "c", 2) is not None
        assert await arrives(stores.b, join, "b", 1, value=2) is None
        assert await arrives(stores.a, join, "a", 0, value=1) == [part("a", 1), part("b", 2), part("c")]

    @store_scenario
    async def test_opening_a_join_again_changes_nothing(self, stores: Stores) -> None:
        join = opened(stores.a, 2)
        await arrives(stores.a, join, "a", 0)
        stores.b.open_joins_now([Join(id=join, size=2)], ttl=TTL)
        assert await arrives(stores.a, join, "b", 1) == [part("a"), part("b")]

    @store_scenario
    async def test_a_join_can_be_widened(self, stores: Stores) -> None:
        join = opened(stores.a, 2)
        await arrives(stores.a, join, "a", 0)
        stores.b.widen_join_now(join, 1, ttl=TTL)
        assert await arrives(stores.a, join, "b", 1) is None
        assert await arrives(stores.b, join, "c", 1) == [part("a"), part("b"), part("c")]

    @store_scenario
    async def test_nobody_completes_a_join_that_is_closed_or_was_never_opened(self, stores: Stores) -> None:
        join = opened(stores.a, 1)
        assert await arrives(stores.a, join, "a", 0) == [part("a")]
        await stores.b.close_joins([join, "never-opened"])
        assert await arrives(stores.a, join, "a", 0) is None
        assert await arrives(stores.a, uuid.uuid4().hex, "a", 0) is None

    @store_scenario
    async def test_joins_are_apart_from_one_another(self, stores: Stores) -> None:
        one, other = opened(stores.a, 1), opened(stores.a, 2)
        assert await arrives(stores.a, other, "a", 0) is None
        assert await arrives(stores.a, one, "a", 0) == [part("a")]
        await stores.a.close_joins([one])
        assert await arrives(stores.a, other, "b", 1) == [part("a"), part("b")]

    @store_scenario
    async def test_all_arrive_at_once_and_somebody_gets_them_all(self, stores: Stores) -> None:
        join = opened(stores.a, 40)
        answers = await asyncio.gather(
            *(arrives((stores.a, stores.b)[n % 2], join, str(n), n) for n in range(40))
        )
        complete = [answer for answer in answers if answer is not None]
        assert complete == [[part(str(n)) for n in range(40)]]

    @store_scenario
    async def test_a_join_that_nobody_arrives_at_is_forgotten(self, stores: Stores) -> None:
        join, lasting = opened(stores.a, 1, ttl=1.0), opened(stores.a, 1, ttl=None)
        await asyncio.sleep(1.0 + SHORT)
        assert await arrives(stores.a, join, "a", 0) is None
        await stores.a.prune()
        assert await arrives(stores.a, lasting, "a", 0) == [part("a")]
