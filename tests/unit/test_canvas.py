"""Workflows as values, and what is sent for them."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from umbel import Signature, Umbel, chain, chord, group, maybe_signature
from umbel.errors import CallError, ConfigurationError
from umbel.flow.canvas import join_steps, leaves
from umbel.flow.launch import Launch, launch
from umbel.replacing import replacement


@pytest.fixture
def add(app: Umbel) -> Any:
    return app.task(name="add")(lambda x, y=0: x + y)


@pytest.fixture
def total(app: Umbel) -> Any:
    return app.task(name="total")(sum)


def ids(begun: Launch) -> list[str]:
    return [call.id for call in begun.calls]


def test_sending_changes_no_signature(app: Umbel, add: Any, total: Any) -> None:
    whole = add.s(1, 2) | group(add.s(1), add.s(2)) | total.s() | add.s(3)
    before = copy.deepcopy(whole)
    first, second = whole.delay(), whole.delay()
    assert whole == before
    assert first.id != second.id


def test_freezing_gives_the_ids_under_which_it_is_sent(app: Umbel, add: Any) -> None:
    whole = add.s(1, 2) | add.s(3)
    frozen = whole.freeze()
    begun = launch(whole)
    assert begun.promise.id == frozen.id
    assert ids(begun) == [frozen.parent.id]
    assert whole.freeze().id == frozen.id


def test_the_rest_of_a_chain_travels_in_reverse(add: Any) -> None:
    [call] = launch(chain(add.s(1, 2), add.s(3), add.s(4))).calls
    assert [form["args"] for form in call.options["chain"]] == [[4], [3]]


def test_the_first_calls_get_the_arguments_and_options(add: Any, total: Any) -> None:
    [first] = launch(add.s(1) | add.s(2), (5,), {"y": 7}, {"countdown": 3, "queue": "q"}).calls
    assert (first.args, first.kwargs) == ((5, 1), {"y": 7})
    assert (first.options["countdown"], first.options["queue"]) == (3, "q")
    assert "countdown" not in first.options["chain"][0]["options"]
    begun = launch(chord([add.s(1), add.si(2)], total.s()), (5,), options={"countdown": 3, "queue": "q"})
    assert [call.args for call in begun.calls] == [(5, 1), (2,)]
    assert [call.options["countdown"] for call in begun.calls] == [3, 3]
    body = begun.calls[0].options["chord"]
    assert ("countdown" in body["options"], body["options"]["queue"]) == (False, "q")


def test_a_given_id_is_that_of_the_result(add: Any, total: Any) -> None:
    for whole in (add.s(1), add.s(1) | add.s(2), chord([add.s(1)], total.s()), group(add.s(1), add.s(2))):
        assert launch(whole, options={"task_id": "given"}).promise.id == "given"


def test_links_of_workflows_are_where_they_belong(add: Any, total: Any) -> None:
    [call] = launch(chain(add.s(1, 2), add.s(3)), options={"link": add.s(9), "link_error": add.s(8)}).calls
    assert "link" not in call.options
    assert call.options["link_error"] == [add.s(8)]
    assert call.options["chain"][0]["options"]["link"] == [add.s(9).to_dict()]
    whole = chord([add.s(1)], total.s())
    whole.link(add.s(9))
    whole.link_error(add.s(8))
    [call] = launch(whole).calls
    assert "link_error" not in call.options
    options = call.options["chord"]["options"]
    assert (options["link"], options["link_error"]) == ([add.s(9).to_dict()], [add.s(8).to_dict()])


def test_a_join_waits_for_all_that_ends_in_its_header(add: Any, total: Any) -> None:
    header = [
        add.s(1),
        add.s(1) | add.s(2),
        add.s(1) | group(add.s(1), add.s(2)),
        chord([add.s(1), add.s(2)], total.s()),
        group(add.s(1), group(add.s(2), add.s(3))),
    ]
    begun = launch(chord(header, total.s()))
    assert begun.joins[0].size == 1 + 1 + 2 + 1 + 3
    assert [join.size for join in begun.joins[1:]] == [2]
    assert leaves(chain()) == 0


def test_messages_of_a_large_chord_are_small(app: Umbel, add: Any, total: Any) -> None:
    begun = launch(chord((add.s(n, n) for n in range(10_000)), total.s()))
    assert len(begun.calls) == begun.joins[0].size == 10_000
    prepared = app.client.prepare_signature(begun.calls[-1])
    frame = prepared.outgoing.frame
    assert len(frame.body) + len(json.dumps(frame.headers)) < 2000


def test_what_cannot_be_sent_is_refused(add: Any) -> None:
    with pytest.raises(CallError, match="the chain is empty"):
        launch(chain())
    with pytest.raises(CallError, match="needs a body"):
        launch(chord([add.s(1)]))
    with pytest.raises(TypeError, match=r"use chord\(group, callback\)"):
        group(add.s(1), add.s(2)).apply_async(link=add.s(3))
    with pytest.raises(TypeError, match="errback to each call"):
        group(add.s(1), add.s(2)).apply_async(link_error=add.s(3))
    with pytest.raises(CallError, match="on_failure must be"):
        chord([add.s(1)], add.s(2), on_failure="ignore")  # type: ignore[arg-type]
    with pytest.raises(CallError, match="Expected a signature"):
        chain(add.s(1), 3)


def test_a_task_stands_for_a_call_of_it(add: Any, total: Any) -> None:
    assert chord([add.s(1)], total) == chord([add.s(1)], total.s())
    assert maybe_signature(add) == add.s()
    assert maybe_signature(None) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda add, total: add.s(1, 2) | add.s(3),
        lambda add, total: group(add.s(1), add.s(2) | add.s(3)),
        lambda add, total: chord([add.s(1)], total.s() | add.s(1)),
        lambda add, total: add.starmap([[1, 2]]),
    ],
)
def test_it_survives_a_journey(app: Umbel, add: Any, total: Any, make: Any) -> None:
    whole = make(add, total)
    again = Signature.from_dict(json.loads(json.dumps(whole)), app)
    assert again.to_dict() == whole.to_dict()
    assert repr(again) == repr(whole) or again.task.startswith("celery.starmap")
    assert pickle.loads(pickle.dumps(whole)).to_dict() == whole.to_dict()
    assert whole.clone() == whole
    assert again.apply().get() == whole.apply().get()


def test_flattening_leaves_steps_in_their_order(add: Any) -> None:
    steps = join_steps([add.s(1), chain(add.s(2), chain(add.s(3))), group(), group(add.s(4))])
    assert [step.args for step in steps] == [(1,), (2,), (3,), (4,)]


def test_eager_workflows(make_app: Any) -> None:
    app = make_app(task_always_eager=True)
    add = app.task(name="add")(lambda x, y=0: x + y)
    total = app.task(name="total")(sum)
    fails = app.task(name="fails")(lambda *_: 1 / 0)
    assert (add.s(1, 2) | group(add.s(1), add.s(2)) | total.s() | add.s(1)).delay().get() == 10
    assert group(add.s(1, 1), add.s(2, 2)).delay().get() == [2, 4]
    with pytest.raises(ZeroDivisionError):
        chord([add.s(1, 1), fails.s()], total.s()).delay()
    failed = (add.s(1, 2) | fails.s()).delay()
    assert (failed.state, failed.parent.get()) == ("FAILURE", 3)


def test_replacing_in_place(make_app: Any) -> None:
    app = make_app(task_always_eager=True)
    add = app.task(name="add")(lambda x, y=0: x + y)

    @app.task(name="becomes", bind=True)
    def becomes(self: Any, x: int) -> Any:
        return self.replace(add.s(x, 10) | add.s(100))

    assert becomes.delay(1).get() == 111
    with pytest.raises(CallError, match="has no place to give away"):
        becomes(1)


def test_what_cannot_take_a_place_is_refused(add: Any) -> None:
    request: Any = type("Request", (), {"callbacks": None, "errbacks": None, "id": "1"})()
    with pytest.raises(ConfigurationError, match="a member of a chord already"):
        replacement(add.s(1).set(chord=add.s(2)), request)
    with pytest.raises(ConfigurationError, match="empty chain"):
        replacement(chain(), request)


def test_a_chain_may_be_longer_than_the_stack_is_deep(app: Umbel, add: Any) -> None:
    result = chain(add.s(0, 1), *(add.s(1) for _ in range(3000))).apply_async()
    assert len(result.as_list()) == 3001
    assert app.result_from_tuple(result.as_tuple()).root == result.root


def test_in_place_results_are_related_as_sent_ones_are(add: Any, total: Any) -> None:
    result = (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()).apply()
    assert result.get() == 7
    assert [type(each).__name__ for each in (result.parent, result.parent.parent)] == [
        "GroupResult",
        "EagerResult",
    ]
    assert chord([add.s(1)], total.s()).apply(task_id="given").id == "given"


def test_a_chord_collects_in_place_too(app: Umbel, add: Any) -> None:
    same = app.task(name="same")(lambda values: values)
    fails = app.task(name="fails")(lambda: 1 / 0)
    [value, failure] = chord([add.s(1, 1), fails.s()], same.s(), on_failure="collect").apply().get()
    assert (value, failure["exc_type"]) == (2, "ZeroDivisionError")
