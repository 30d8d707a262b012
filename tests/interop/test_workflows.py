"""Workflows in a fleet of both: whoever sends them, and whoever runs which of their calls, they end alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import umbel
from interop import harness
from interop.harness import CeleryClient, Place
from interop.umbel_side import make_app
from umbel import Umbel

FLOW = "flow"
TIMES = 3
"""How often each is sent, so that its calls are dealt out in different ways."""

# In the words of both.
CANVASES = {
    "chain(add.s(1, 2), add.s(3), add.s(4))": 10,
    "group(add.s(1, 1), add.s(2, 2), add.s(3, 3))": [2, 4, 6],
    "chord([add.s(n, n) for n in range(10)], total.s())": 90,
    "chord([add.s(1, 1)], total.s())": 2,
    "group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(10)": 16,
    "add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(1)": 8,
    "add.s(1, 1) | group(add.s(1), add.s(2))": [3, 4],
    "group(add.s(1, 1), add.s(2, 2)) | group(total.s(), total.s()) | total.s()": 12,
    "chord([add.s(1, 1) | add.s(1), add.s(2, 2)], total.s() | add.s(1))": 8,
    "chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], total.s())": 12,
    "chord([add.s(1, 1) | group(add.s(1), add.s(2)) | total.s(), add.s(3, 3)], total.s())": 13,
    "chord([add.s(1, 1), add.s(2, 2)], group(total.s(), total.s()))": [6, 6],
    "chord([flaky.s(1), add.s(2, 2)], total.s())": 5,
    "group(chord([add.s(1, 1), add.s(2, 2)], total.s()) for _ in range(4)) | total.s()": 24,
}


class Fleet:
    """A worker and a client of each side, on one queue."""

    def __init__(self, app: Umbel, celery: CeleryClient) -> None:
        self.app = app
        self.celery = celery
        names = {name.removeprefix("jobs."): task for name, task in app.tasks.items()}
        self.names: dict[str, Any] = {
            **names,
            "chain": umbel.chain,
            "group": umbel.group,
            "chord": umbel.chord,
        }

    def evaluate(self, source: str) -> Any:
        """What a test has written, in the words of both, as Umbel's."""
        return eval(source, dict(self.names))

    def ours(self, source: str) -> list[Any]:
        """Send it, several times."""
        return [self.evaluate(source).apply_async() for _ in range(TIMES)]


@pytest.fixture(scope="module")
def fleet(place: Place) -> Iterator[Fleet]:
    client = CeleryClient(place, FLOW)
    with (
        harness.umbel_worker(place, FLOW, concurrency=2),
        harness.celery_worker(place, FLOW, concurrency=2),
    ):
        yield Fleet(make_app(place.broker, place.backend, FLOW), client)
    client.close()


@pytest.mark.parametrize("source", CANVASES)
def test_what_umbel_sends(fleet: Fleet, source: str) -> None:
    value = CANVASES[source]
    got = [result.get(timeout=20) for result in fleet.ours(source)]
    assert got == [value] * TIMES


# Celery's own get() may miss a result that is stored while it subscribes: it asks and subscribes on two connections.
WAITING = """
import time
from celery import chain, chord, group


def outcome_of(result):
    end = time.monotonic() + 20
    while not result.ready() and time.monotonic() < end:
        time.sleep(0.01)
    return result.get(timeout=1, propagate=False)


"""


@pytest.mark.parametrize("source", CANVASES)
def test_what_celery_sends(fleet: Fleet, source: str) -> None:
    value = CANVASES[source]
    got = fleet.celery(
        f"{WAITING}sent = [({source}).apply_async() for _ in range(times)]\n[outcome_of(r) for r in sent]",
        times=TIMES,
    )
    assert got == [value] * TIMES


# Not among them: a chord that fails within a chord. Where a worker of Celery finds out, it tells the outer one nothing.
FAILURES = {
    "chain(add.s(1, 2), fail.si('OutOfStock', 'tea', 3), add.s(1))": "OutOfStock",
    "chord([add.s(1, 1), fail.s('OutOfStock', 'tea', 3)], total.s())": "ChordError",
    "chord([add.s(1, 1) | fail.si('OutOfStock', 'tea', 3) | add.s(1), add.s(1, 1)], total.s())": "ChordError",
    "chord([fail.s('OutOfStock', 'tea', 3)], total.s()) | add.s(1) | add.s(2)": "ChordError",
}


@pytest.mark.parametrize("source", FAILURES)
def test_failures_of_what_umbel_sends(fleet: Fleet, source: str) -> None:
    for result in fleet.ours(source):
        error = result.get(timeout=20, propagate=False)
        assert (type(error).__name__, result.state) == (FAILURES[source], "FAILURE")


@pytest.mark.parametrize("source", FAILURES)
def test_failures_of_what_celery_sends(fleet: Fleet, source: str) -> None:
    got = fleet.celery(
        f"{WAITING}sent = [({source}).apply_async() for _ in range(times)]\n"
        f"[type(outcome_of(r)).__name__ for r in sent]",
        times=TIMES,
    )
    assert got == [FAILURES[source]] * TIMES


IN_PLACE = [
    *(source for source in CANVASES if "flaky" not in source),
    "add.s(1, 2)",
    "group(add.s(1, 1))",
    "chain(add.s(1, 2))",
    "chord([], total.s())",
    "group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3)))",
    "add.s(1, 1) | group(add.s(1)) | add.s(2)",
    "chain(add.s(1, 1), chain(add.s(2), add.s(3)), add.s(4))",
    "add.si(1, 1) | add.si(2, 2)",
    "add.starmap([(1, 2), (3, 4)])",
    "add.starmap([(1, 2)]) | total.s()",
]


@pytest.mark.parametrize("source", IN_PLACE)
def test_in_place_it_has_the_value_that_celery_gives_it(fleet: Fleet, source: str) -> None:
    ours = fleet.evaluate(source).apply().get()
    assert ours == fleet.celery(f"from celery import chain, chord, group\n({source}).apply().get()")


SHAPES = [
    "add.s(1, 2) | add.s(3)",
    "add.s(1, 2) | add.s(3) | add.s(4)",
    "(add.s(1, 2) | add.s(3)) | (add.s(4) | add.s(5))",
    "group(add.s(1, 1), add.s(2, 2)) | total.s()",
    "add.s(1, 1) | group(add.s(1), add.s(2))",
    "add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()",
    "add.s(1, 1) | group(add.s(1))",
    "chord([add.s(1, 1), add.s(2, 2)], total.s()) | add.s(1)",
    "add.s(1).set(queue='q', countdown=3)",
    "add.s(1, y=2).clone((0,), {'z': 3})",
    "add.si(1, 2).clone((0,))",
    "group(add.s(1, 1), add.s(2, 2))",
    "chord([add.s(1, 1)], total.s())",
    "add.starmap([(1, 2), (3, 4)])",
    "add.map([1, 2])",
]


@pytest.mark.parametrize("source", SHAPES)
def test_it_is_the_dict_that_celery_makes(fleet: Fleet, source: str) -> None:
    """Chains of Celery that have not been sent are not in their normal form: their steps are compared."""
    ours = json.loads(json.dumps(fleet.evaluate(source)))
    theirs = fleet.celery(
        f"import json\nfrom celery import chain, chord, group\njson.loads(json.dumps({source}))"
    )
    assert _comparable(ours) == _comparable(theirs)


STAMPED = [
    "sig.stamp(customer='c9')",
    "sig.stamp(Stamps())",
    "sig.stamp(Stamps(), customer='c9')",
    "sig.stamp(customer='c9'); sig.stamp(customer='c10', branch=3)",
    "sig.stamp(customer='c9'); sig.stamp(append_stamps=True, customer='c10')",
]
VISITOR = """
class Stamps(StampingVisitor):
    def on_signature(self, sig, **headers):
        return {"task_is": sig.task}

    def on_group_start(self, group, **headers):
        return {"in_group": True}

    def on_chain_start(self, chain, **headers):
        return {"in_chain": True, "not_a_stamp": 1, "stamped_headers": ["in_chain"]}

    def on_chord_body(self, chord, **headers):
        return {"is_body": True}

    def on_callback(self, callback, **headers):
        return {"is_callback": True}

    def on_errback(self, errback, **headers):
        return {"is_errback": True}
"""


@pytest.mark.parametrize("source", ["add.s(1, 2).set(link=[add.s(3)], link_error=[add.s(4)])", *SHAPES[:10]])
@pytest.mark.parametrize("stamp", STAMPED)
def test_stamps_are_where_celery_puts_them(fleet: Fleet, source: str, stamp: str) -> None:
    names = {**fleet.names, "StampingVisitor": umbel.StampingVisitor}
    exec(f"{VISITOR}\nsig = {source}\n{stamp}", names)
    theirs = fleet.celery(
        f"import json\nfrom celery import chain, chord, group\nfrom celery.canvas import StampingVisitor\n"
        f"{VISITOR}\nsig = {source}\n{stamp}\njson.loads(json.dumps(sig))"
    )
    assert _stamps(json.loads(json.dumps(names["sig"]))) == _stamps(theirs)


def _stamps(form: Any) -> Any:
    """The stamps of each single call in order, by its name, as a worker would see them."""
    found: list[Any] = []
    if isinstance(form, list):
        return [stamp for each in form for stamp in _stamps(each)]
    if not isinstance(form, dict):
        return []
    if "task" in form and not form["task"].startswith("celery."):
        options = form["options"]
        names = sorted(options.get("stamped_headers") or ())
        found.append((form["task"], {name: options.get(name) for name in names}))
    for value in (form.get("kwargs") or {}, form.get("options") or {}) if "task" in form else form.values():
        for inner in value.values() if "task" in form else [value]:
            found += _stamps(inner)
    return found


def _comparable(form: Any) -> Any:
    """Without ids, which are random, and without what stands for nothing. A header is a list there, and a group here."""
    if isinstance(form, dict) and isinstance(form.get("header"), dict):
        form = {**form, "header": form["header"]["kwargs"]["tasks"]}
    if isinstance(form, dict):
        return {
            key: _comparable(value)
            for key, value in form.items()
            if key not in ("task_id", "reply_to", "chord_size") and value is not None
        }
    return [_comparable(each) for each in form] if isinstance(form, list) else form
