"""The result store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection

import msgspec

from umbel.core.outcome import READY_STATES
from umbel.ports import ListsResults, Record, ResultStore
from umbel.testing.conformance.harness import (
    LONG,
    PATIENCE,
    SHORT,
    Stores,
    eventually,
    record,
    store_scenario,
)
from umbel.testing.conformance.joins import JoinsConformance


class ResultStoreConformance(JoinsConformance):
    """Every method of ``umbel.ports.ResultStore``."""

    # -- put and get

    @store_scenario
    async def test_open_and_close_are_idempotent(self, stores: Stores) -> None:
        await stores.a.open()
        await stores.b.close()
        await stores.b.close()
        await stores.a.put([record("1")])
        assert await stores.a.get(["1"]) == {"1": record("1").payload}

    @store_scenario
    async def test_get_returns_the_payloads_that_are_there(self, stores: Stores) -> None:
        await stores.a.put([record("1", value="ä" * 1000), record("2", "FAILURE")])
        await stores.a.put([])
        got = await stores.b.get(["2", "never-stored", "1"])
        assert got == {"1": record("1", value="ä" * 1000).payload, "2": record("2", "FAILURE").payload}
        assert await stores.b.get([]) == {}

    @store_scenario
    async def test_many_records_at_once(self, stores: Stores) -> None:
        ids = [f"{n:05}" for n in range(3000)]
        await stores.a.put([record(id) for id in ids])
        assert await stores.b.get(ids) == {id: record(id).payload for id in ids}

    @store_scenario
    async def test_get_now_needs_no_open_and_any_thread_may_call_it(self, stores: Stores) -> None:
        store = stores.unopened()
        await stores.a.put([record(str(n)) for n in range(20)])
        answers = await asyncio.gather(
            *(asyncio.to_thread(store.get_now, [str(n), "never-stored"]) for n in range(20))
        )
        assert [dict(answer) for answer in answers] == [{str(n): record(str(n)).payload} for n in range(20)]

    @store_scenario
    async def test_put_now_needs_no_open_and_any_thread_may_call_it(self, stores: Stores) -> None:
        store = stores.unopened()
        await asyncio.gather(*(asyncio.to_thread(store.put_now, [record(str(n))]) for n in range(20)))
        assert await stores.a.get([str(n) for n in range(20)]) == {
            str(n): record(str(n)).payload for n in range(20)
        }
        await asyncio.to_thread(store.put_now, [record("1", "FAILURE"), record("20")])
        assert await stores.a.get(["1", "20"]) == {"1": record("1").payload, "20": record("20").payload}

    @store_scenario
    async def test_the_latest_record_counts(self, stores: Stores) -> None:
        for latest in (record("1", "STARTED"), record("1", "PROGRESS", 50), record("1", "RETRY")):
            await stores.a.put([latest])
            assert await stores.b.get(["1"]) == {"1": latest.payload}
        await stores.a.put([record("2", "STARTED"), record("2", "FAILURE"), record("2", "RETRY")])
        assert await stores.b.get(["2"]) == {"2": record("2", "RETRY").payload}

    @store_scenario
    async def test_a_success_is_never_overwritten(self, stores: Stores) -> None:
        success = record("1", value="kept")
        await stores.a.put([success])
        for state in ("STARTED", "FAILURE", "REVOKED", "SUCCESS"):
            await stores.b.put([record("1", state, "too late")])
        await stores.a.put([record("2", value="kept"), record("2", "FAILURE")])
        got = await stores.a.get(["1", "2"])
        assert got == {"1": success.payload, "2": record("2", value="kept").payload}

    @store_scenario
    async def test_recent_names_the_latest_first_where_a_store_can(self, stores: Stores) -> None:
        if not isinstance(stores.a, ListsResults):
            return  # nobody must
        assert await stores.a.recent(limit=10) == []
        for n in range(5):
            # A store may go by when they expire.
            await stores.a.put([record(str(n), "STARTED", ttl=LONG + n)])
        await stores.a.put([record("0", ttl=LONG + 10)])
        payloads = {str(n): record(str(n), "STARTED").payload for n in range(5)} | {"0": record("0").payload}
        assert [(i, bytes(payload)) for i, payload in await stores.a.recent(limit=3)] == [
            (i, payloads[i]) for i in ("0", "4", "3")
        ]
        await stores.a.forget(["4"])
        assert [i for i, _ in await stores.a.recent(limit=1000)] == ["0", "3", "2", "1"]

    @store_scenario
    async def test_forget_deletes(self, stores: Stores) -> None:
        await stores.a.put([record("1"), record("2"), record("3", "FAILURE")])
        await stores.b.forget(["1", "3", "never-stored"])
        await stores.b.forget([])
        assert set(await stores.a.get(["1", "2", "3"])) == {"2"}
        await stores.a.put([record("1", "FAILURE")])
        assert set(await stores.a.get(["1"])) == {"1"}, "after a forgotten success anything may be stored"

    @store_scenario
    async def test_a_record_outlives_its_ttl_by_nothing(self, stores: Stores) -> None:
        await stores.a.put(
            [record("short", ttl=2 * SHORT), record("long", ttl=LONG), record("for-ever", ttl=None)]
        )

        async def short_is_gone() -> bool:
            return set(await stores.b.get(["short", "long", "for-ever"])) == {"long", "for-ever"}

        await eventually(short_is_gone)
        await stores.a.prune()
        assert set(stores.b.get_now(["short", "long", "for-ever"])) == {"long", "for-ever"}
        await stores.a.put([record("short", "FAILURE", "a new life")])
        assert set(await stores.a.get(["short"])) == {"short"}

    @store_scenario
    async def test_a_later_record_brings_its_own_ttl(self, stores: Stores) -> None:
        await stores.a.put([record("1", "STARTED", ttl=SHORT)])
        await stores.a.put([record("1", "PROGRESS", ttl=LONG), record("2", "STARTED", ttl=SHORT)])

        async def second_is_gone() -> bool:
            return set(await stores.b.get(["1", "2"])) == {"1"}

        await eventually(second_is_gone)

    # -- watch

    @store_scenario
    async def test_watch_begins_with_what_is_there(self, stores: Stores) -> None:
        await stores.a.put([record("1"), record("2", "STARTED"), record("not-watched")])
        seen = await _watch_until_final(stores.b, ["1"])
        assert seen == {"1": record("1").payload}

    @store_scenario
    async def test_watch_sees_what_comes(self, stores: Stores) -> None:
        watching = asyncio.ensure_future(_watch_until_final(stores.b, ["1", "2"]))
        for id in ("not-watched", "2", "1"):
            await asyncio.sleep(SHORT / 2)  # let it begin; being early would only make the test easier
            await stores.a.put([record(id)])
        assert await watching == {id: record(id).payload for id in ("1", "2")}

    @store_scenario
    async def test_watch_sees_progress_and_then_the_end(self, stores: Stores) -> None:
        watch = stores.b.watch(["1"])
        states: list[str] = []
        async with asyncio.timeout(PATIENCE):
            for state in ("STARTED", "PROGRESS", "FAILURE", "RETRY", "SUCCESS"):
                await stores.a.put([record("1", state)])
                while not states or states[-1] != state:
                    _, payload = await anext(watch)
                    states.append(_state(payload))
        await watch.aclose()  # type: ignore[attr-defined]
        assert list(dict.fromkeys(states)) == ["STARTED", "PROGRESS", "FAILURE", "RETRY", "SUCCESS"]

    @store_scenario
    async def test_watch_never_misses_the_last_record_of_a_race(self, stores: Stores) -> None:
        ids = [str(n) for n in range(40)]
        watching = []
        for n, id in enumerate(ids):
            watching.append(asyncio.ensure_future(_watch_until_final(stores.b, [id])))
            for _ in range(n % 7):
                await asyncio.sleep(0.0003)
            await stores.a.put([record(id, "STARTED"), record(id)])
        assert [await watch for watch in watching] == [{id: record(id).payload} for id in ids]

    @store_scenario
    async def test_watch_of_many_ids(self, stores: Stores) -> None:
        ids = [f"{n:04}" for n in range(1500)]
        await stores.a.put([record(id) for id in ids[:300]])
        watching = asyncio.ensure_future(_watch_until_final(stores.b, ids))
        for start in range(300, 1500, 100):
            await stores.a.put([record(id) for id in ids[start : start + 100]])
        assert await watching == {id: record(id).payload for id in ids}

    @store_scenario
    async def test_a_watch_can_be_left_at_any_moment(self, stores: Stores) -> None:
        for wait in (0.0, SHORT / 20, SHORT / 2):
            watching = asyncio.ensure_future(_watch_until_final(stores.a, ["never-stored"]))
            await asyncio.sleep(wait)
            watching.cancel()
            await asyncio.wait([watching])
            assert watching.cancelled()
        await stores.a.put([record("1")])
        assert await _watch_until_final(stores.a, ["1"]) == {"1": record("1").payload}

    # -- wait_now

    @store_scenario
    async def test_wait_now_returns_when_every_record_is_final(self, stores: Stores) -> None:
        await stores.a.put([record("1"), record("2", "STARTED")])
        store = stores.unopened()
        waiting = asyncio.ensure_future(asyncio.to_thread(store.wait_now, ["1", "2", "3"], LONG, _is_final))
        for later in (record("2", "PROGRESS"), record("3", "FAILURE"), record("2", "REVOKED")):
            await asyncio.sleep(SHORT / 2)
            assert not waiting.done()
            await stores.a.put([later])
        async with asyncio.timeout(PATIENCE):
            assert await waiting == {
                "1": record("1").payload,
                "2": record("2", "REVOKED").payload,
                "3": record("3", "FAILURE").payload,
            }

    @store_scenario
    async def test_wait_now_returns_at_once_when_there_is_nothing_to_wait_for(self, stores: Stores) -> None:
        await stores.a.put([record("1")])
        async with asyncio.timeout(PATIENCE):
            got = await asyncio.to_thread(stores.b.wait_now, ["1"], None, _is_final)
            assert got == {"1": record("1").payload}
            assert await asyncio.to_thread(stores.b.wait_now, [], None, _is_final) == {}

    @store_scenario
    async def test_wait_now_gives_what_there_is_after_its_timeout(self, stores: Stores) -> None:
        await stores.a.put([record("1"), record("2", "STARTED")])
        for timeout in (0, 2 * SHORT):
            began = time.monotonic()
            got = await asyncio.to_thread(stores.b.wait_now, ["1", "2", "3"], timeout, _is_final)
            assert got == {"1": record("1").payload, "2": record("2", "STARTED").payload}
            assert timeout * 0.9 <= time.monotonic() - began < PATIENCE

    @store_scenario
    async def test_many_threads_may_wait(self, stores: Stores) -> None:
        ids = [str(n) for n in range(30)]
        got: dict[str, bytes] = {}

        def wait(id: str) -> None:
            got.update(stores.b.wait_now([id], PATIENCE, _is_final))

        threads = [threading.Thread(target=wait, args=(id,)) for id in ids]
        for thread in threads:
            thread.start()
        for id in ids:
            await stores.a.put([record(id)])
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert got == {id: record(id).payload for id in ids}

    @store_scenario
    async def test_wait_now_of_many_ids(self, stores: Stores) -> None:
        ids = [f"{n:04}" for n in range(1500)]
        waiting = asyncio.ensure_future(asyncio.to_thread(stores.b.wait_now, ids, PATIENCE, _is_final))
        for start in range(0, 1500, 100):
            await stores.a.put([record(id) for id in ids[start : start + 100]])
        assert await waiting == {id: record(id).payload for id in ids}


def _state(payload: bytes) -> str:
    status: str = msgspec.json.decode(payload)["status"]
    return status


def _is_final(payload: bytes) -> bool:
    return _state(payload) in READY_STATES


async def _watch_until_final(store: ResultStore, ids: Collection[str]) -> dict[str, bytes]:
    """The last payload of each id, once each is final: what ``AsyncResult.get`` does."""
    seen: dict[str, bytes] = {}
    missing = set(ids)
    watch = store.watch(ids)
    try:
        async with asyncio.timeout(PATIENCE):
            async for id, payload in watch:
                assert id in ids
                seen[id] = payload
                if _is_final(payload):
                    missing.discard(id)
                if not missing:
                    break
    finally:
        await watch.aclose()  # type: ignore[attr-defined]
    return seen


def final_record_of(store: ResultStore, task_id: str) -> Record:
    """What ``wait_now`` sees, as a record; for tests of several processes."""
    payload = store.wait_now([task_id], PATIENCE, _is_final)[task_id]
    return Record(task_id=task_id, state=_state(payload), payload=payload)
