"""Tables, durations, masks, and messages that are edited: what needs no process."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from umbel.cli import editing
from umbel.cli.messages import message_as_json
from umbel.cli.output import clipped, duration, emit_table, plural
from umbel.cli.report import masked
from umbel.codecs.protocol import decode_call, encode_call
from umbel.core.envelope import Envelope
from umbel.core.frame import Frame
from umbel.errors import CallError
from umbel.ports import Shelved


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    emit_table(["name", "n"], [["a", 10], ["long name", 9], ["two\nlines", None]], right=[1])
    assert capsys.readouterr().out == "name        n\na          10\nlong name   9\ntwo lines\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (60, "1 min"), (3600, "1 h"), (90061, "1 d 1 h")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_odds_and_ends() -> None:
    assert clipped("short", 10) == "short"
    assert plural(0, "entry", "entries") == "0 entries"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("broker_url", "redis://u:pw@h/0;redis://:pw2@h2/0", "redis://u:***@h/0;redis://:***@h2/0"),
        ("broker_url", "redis://:p ss@h/0", "redis://:***@h/0"),
        ("broker_transport_options", {"password": "x", "host": "h"}, {"password": "***", "host": "h"}),
        ("broker_transport_options", {"urls": ["redis://:pw@h/0"]}, {"urls": ["redis://:***@h/0"]}),
        ("s3_secret_access_key", "AKIA", "***"),
        ("redis_password", "pw", "***"),
        ("my_api_token", "t", "***"),
        ("task_default_routing_key", "mail", "mail"),
        ("redis_password", None, None),
        ("task_default_queue", "mail", "mail"),
    ],
)
def test_masks(name: str, value: object, shown: object) -> None:
    assert masked(name, value) == shown


# ------------------------------------------------------------------------------------------------- editing


def frame(serializer: str = "json", compression: str | None = None, protocol: int = 2) -> Frame:
    when = "2030-01-31" if serializer == "msgpack" else datetime(2030, 1, 31, tzinfo=UTC)
    call = Envelope(
        id="i", task="t", args=(1, when), kwargs={"x": "ä"}, argsrepr="(1,)", kwargsrepr="{}", priority=5
    )
    return encode_call(call, serializer=serializer, compression=compression, protocol=protocol)


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_editing_keeps_what_is_not_edited(serializer: str, compression: str | None) -> None:
    before = frame(serializer, compression)
    draft = editing.draft_of(before)
    after, call = editing.rewritten(before, draft._replace(args=[2, *draft.args[1:]]))
    assert call.args == (2, decode_call(before, {serializer}).args[1])
    assert call.kwargs == {"x": "ä"}
    assert call.priority == 5
    assert after.content_type == before.content_type
    assert after.properties == before.properties
    assert after.headers["argsrepr"].startswith("(2, ")
    assert after.headers.get("compression") == before.headers.get("compression")


def test_a_message_of_protocol_1_can_be_edited() -> None:
    before = frame(protocol=1)
    after, call = editing.rewritten(before, editing.draft_of(before)._replace(kwargs={"y": 2}))
    assert call.kwargs == {"y": 2}
    assert call.id == "i"
    assert decode_call(after).task == "t"


def test_the_text_of_a_draft_reads_back() -> None:
    draft = editing.draft_of(frame())
    text = editing.as_text(draft)
    assert json.loads(text)["args"][1]["__type__"] == "datetime"
    assert "ä" in text
    assert editing.from_text(text) == draft


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "exactly"),
        ('{"args": [], "kwargs": {}}', "exactly"),
        ('{"args": {}, "kwargs": {}, "headers": {}}', '"args" must be an array'),
        ('{"args": [], "kwargs": [], "headers": {}}', '"kwargs" must be an object'),
    ],
)
def test_texts_that_are_no_draft(text: str, said: str) -> None:
    with pytest.raises(CallError, match="Nothing was changed") as caught:
        editing.from_text(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("header", ["id", "task"])
def test_a_call_stays_the_call_that_it_is(header: str) -> None:
    before = frame()
    draft = editing.draft_of(before)
    with pytest.raises(CallError, match="cannot be edited"):
        editing.rewritten(before, draft._replace(headers={**draft.headers, header: "other"}))


def test_headers_that_would_be_unreadable_are_refused() -> None:
    before = frame()
    draft = editing.draft_of(before)
    with pytest.raises(CallError, match="not be readable"):
        editing.rewritten(before, draft._replace(headers={**draft.headers, "retries": "many"}))


def test_a_pickled_body_is_not_opened() -> None:
    with pytest.raises(Exception, match="pickle"):
        editing.draft_of(frame("pickle"))


def test_a_message_that_is_none_is_shown_raw() -> None:
    form = message_as_json(Shelved(shelf="dead", queue="q", task_id="", task="", key="k", raw=b"\xff"))
    assert form["raw"] == "/w=="
    assert form["id"] is None
