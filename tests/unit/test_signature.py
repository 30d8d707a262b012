"""Signatures: calls as values, and Celery's dicts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import umbel
from umbel import Signature, Umbel, maybe_signature
from umbel.codecs.protocol import decode_call
from umbel.core.kombu_json import load_frame
from umbel.errors import CallError

from .conftest import MakeApp

VECTORS = Path(__file__).parent.parent / "wire" / "vectors"


@pytest.fixture
def add(app: Umbel) -> Any:
    return app.task(name="add")(lambda x, y=0, z=0: x + y + z)


def test_partial_arguments_go_before_those_of_the_signature(add: Any) -> None:
    partial = add.s(10, z=5)
    assert partial.clone((1,), {"z": 6}).args == (1, 10)
    assert partial.clone((1,), {"z": 6}).kwargs == {"z": 6}
    assert partial(1) == 16
    assert add.si(10).clone((1,), {"y": 2}, queue="q") == Signature("add", (10,), {}, {"queue": "q"}, True)
    assert add.s(1).partial((2,)) == add.s(2, 1)


def test_signatures_are_changed_in_place_as_celerys_are(add: Any) -> None:
    signature = add.s(1)
    assert signature.set(queue="q", immutable=True) is signature
    assert (signature.options, signature.immutable) == ({"queue": "q"}, True)
    callback, errback = add.s(2), add.si()
    assert signature.link(callback) is callback
    signature.link(add.s(2))  # the same again
    assert signature.link_error(errback) is errback
    assert signature.on_error(add.si()) is signature
    assert signature.options == {"queue": "q", "link": [callback], "link_error": [errback]}
    signature.options["priority"] = 3
    signature["args"] = (5,)
    assert (signature.args, signature.options["priority"]) == ((5,), 3)


def test_a_clone_shares_nothing_that_is_changed(add: Any) -> None:
    signature = add.s(1, y=[2]).set(link=[add.s(2)])
    clone = signature.clone()
    clone.link(add.s(3))
    clone.options["link"][0].set(queue="q")
    clone.kwargs["z"] = 1
    assert signature == add.s(1, y=[2]).set(link=[add.s(2)])


def test_a_signature_is_sent_with_its_options(app: Umbel, add: Any) -> None:
    call = app.client.prepare_signature(add.s(1).set(priority=3, link=add.s(5), countdown=60))
    assert call.envelope.priority == 3
    assert call.outgoing.due_in == 60
    assert call.envelope.embed.callbacks == [add.s(5).to_dict()]
    assert add.s(1).apply_async((2,), queue="x").known()
    assert add.signature((1,), {"y": 2}, queue="q").delay().known()
    assert app.signature("unknown.here", (1,), queue="q").delay().known()


def test_celerys_dict_and_back(app: Umbel, add: Any) -> None:
    signature = add.s(1, y=2).set(queue="q", link=[add.si(3)])
    form = json.loads(json.dumps(signature.to_dict()))
    assert form == {
        "task": "add",
        "args": [1],
        "kwargs": {"y": 2},
        "options": {
            "queue": "q",
            "link": [
                {
                    "task": "add",
                    "args": [3],
                    "kwargs": {},
                    "options": {},
                    "subtask_type": None,
                    "immutable": True,
                }
            ],
        },
        "subtask_type": None,
        "immutable": False,
    }
    assert Signature.from_dict(form).to_dict() == form
    assert signature.to_dict() == form
    assert signature["task"] == "add"
    assert app.signature(form).app is app
    assert app.signature(form)() == 3


def test_the_callbacks_of_celerys_messages_are_signatures() -> None:
    found = 0
    for vector in json.loads(gzip.decompress((VECTORS / "redis_messages.json.gz").read_bytes())):
        for entry in vector["entries"]:
            frame = load_frame(entry.encode())
            if frame.content_type != "application/json":
                continue
            embed = decode_call(frame).embed
            for form in (*(embed.callbacks or ()), *(embed.errbacks or ()), *(embed.chain or ())):
                assert list(Signature.from_dict(form).to_dict()) == [k for k in form if k != "chord_size"]
                assert Signature.from_dict(form).to_dict()["options"].keys() == form["options"].keys()
                found += 1
    assert found > 10


def test_what_is_no_signature_is_refused() -> None:
    with pytest.raises(CallError, match="Expected a signature, such as task"):
        maybe_signature(3)
    with pytest.raises(CallError, match="needs the name of its task"):
        Signature.from_dict({"args": []})
    with pytest.raises(CallError, match="belongs to no app"):
        Signature("x").delay()


def test_signature_without_an_app_means_the_current_one(make_app: MakeApp) -> None:
    app = make_app(set_as_current=True)
    assert umbel.signature("some.task", (1,), countdown=3) == Signature(
        "some.task", (1,), {}, {"countdown": 3}, app=app
    )
