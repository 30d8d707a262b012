"""Frames and calls against every queue entry that Celery wrote."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from umbel.codecs import serializers
from umbel.codecs.protocol import decode_call, encode_call, read_header
from umbel.codecs.reprs import safe_repr
from umbel.core.envelope import Envelope
from umbel.core.frame import DELIVERIES_HEADER, HISTORY_HEADER, Frame
from umbel.core.kombu_json import dump_frame, load_frame
from umbel.core.priority import celery_priority
from umbel.errors import ConfigurationError, ContentDisallowed, DecodeError, EncodeError, MessageError

from .loading import entries, entry, refusals

ALL = frozenset(serializers.names())
ENTRIES = entries()
every_entry = pytest.mark.parametrize(
    "data", [data for _, data in ENTRIES], ids=[name for name, _ in ENTRIES]
)

# What Celery's client leaves among the properties by accident: each is a header too.
STRAY = {"argsrepr", "kwargsrepr", "origin"}


def serializer_of(frame: Frame) -> str:
    return next(name for name in ALL if serializers.check_serializer(name).content_type == frame.content_type)


@every_entry
def test_an_entry_is_stored_again_as_it_was(data: bytes) -> None:
    written = json.loads(data)
    properties = written["properties"]
    frame = load_frame(data)
    again = dump_frame(
        frame, routing_key=properties["delivery_info"]["routing_key"], delivery_tag=properties["delivery_tag"]
    )
    stored = json.loads(again)
    assert stored == written
    assert list(stored) == list(written)
    assert list(stored["headers"]) == list(written["headers"])


@every_entry
def test_a_call_is_written_as_celery_wrote_it(data: bytes) -> None:
    frame = load_frame(data)
    call = decode_call(frame, ALL)
    again = encode_call(
        call,
        serializer=serializer_of(frame),
        compression=frame.headers.get("compression"),
        protocol=2 if "task" in frame.headers else 1,
    )
    # "redelivered" tells of one delivery, ours of the exact priority: neither is Celery's description of the call.
    headers = {k: v for k, v in frame.headers.items() if k != "redelivered"}
    ours = {k: v for k, v in again.headers.items() if k != "umbel_priority"}
    assert list(ours.items()) == list(headers.items())
    assert again.body == frame.body
    assert (again.content_type, again.content_encoding) == (frame.content_type, frame.content_encoding)
    assert properties_of(again) == {**properties_of(frame), "delivery_mode": 2}
    # The queue is where it lies, not what it says; repr, because a NaN among the arguments equals nothing.
    assert repr(decode_call(again, ALL)) == repr(msgspec.structs.replace(call, queue="celery"))


def properties_of(frame: Frame) -> dict[str, Any]:
    """The properties that both write; the priority as the list that it selects, the lifetime apart (it shrinks)."""
    kept = {
        k: v
        for k, v in frame.properties.items()
        if k not in STRAY and k not in ("delivery_info", "expiration")
    }
    kept["priority"] = kept["priority"] - kept["priority"] % 3
    return kept


@every_entry
def test_the_header_alone_says_all_but_the_arguments(data: bytes) -> None:
    frame = load_frame(data)
    if "task" not in frame.headers:
        with pytest.raises(DecodeError, match="protocol 1"):
            read_header(frame)
        return
    call = decode_call(frame, ALL)
    header = read_header(Frame(b"", "anything/at-all", "", frame.headers, frame.properties))
    assert (header.id, header.task, header.eta, header.expires) == (
        call.id,
        call.task,
        call.eta,
        call.expires,
    )
    assert header.args == ()


def call_of(name: str, number: int = 0) -> Envelope:
    return decode_call(load_frame(entry(name, number)), ALL)


def test_the_fields_of_a_call() -> None:
    call = call_of("plain")
    assert (call.task, call.args, call.kwargs) == ("vec.add", (1, 2), {})
    assert call.id == call.root_id == call.correlation_id
    assert call.queue == "celery"
    assert call.origin is not None
    assert call.origin.endswith("@vector")
    assert call_of("send_task").ignore_result is None
    assert call_of("ignore_result").ignore_result is True
    assert call_of("queue").queue == "special"
    assert call_of("shadow").shadow == "pretty"
    assert call_of("headers").headers == {"tenant": "acme", "n": 5}
    assert (call_of("time_limits").time_limit, call_of("time_limits").soft_time_limit) == (30, 20)
    assert call_of("stamp_visitor").stamps == {"monitoring_id": "m-1"}
    assert call_of("stamp_visitor").stamped_headers == ["monitoring_id"]
    assert call_of("worker_retry", 1).retries == 2
    assert call_of("group", 2).group_index == 2
    assert call_of("compression_gzip").headers == {}


def test_the_times_of_a_call() -> None:
    assert call_of("eta_naive").eta == datetime(2031, 2, 3, 4, 5, 6)
    offset = call_of("eta_offset").eta
    assert offset is not None
    assert offset.utcoffset() == timedelta(hours=2)
    assert call_of("expires_datetime").expires == datetime(2031, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
    assert call_of("countdown_zero").eta is None


def test_what_follows_a_call() -> None:
    chain = call_of("chain3").embed.chain
    assert chain is not None
    assert [step["args"] for step in chain] == [[4], [3]]
    callbacks = call_of("link_many").embed.callbacks
    assert callbacks is not None
    assert len(callbacks) == 2
    assert call_of("link_error").embed.errbacks
    assert call_of("chord").embed.chord


@pytest.mark.parametrize("number", range(10))
def test_celery_priorities_keep_their_list(number: int) -> None:
    call = call_of(f"priority_{number}")
    assert celery_priority(call.priority) == number - number % 3


@pytest.mark.parametrize("priority", [-100, -67, -66, -34, -33, -1, 0, 1, 100])
def test_our_priority_is_exact_in_its_header(priority: int) -> None:
    frame = encode_call(Envelope(id="1", task="t", priority=priority))
    assert ("umbel_priority" in frame.headers) == (priority != 0)
    assert frame.properties["priority"] == celery_priority(priority)
    assert decode_call(frame).priority == priority


def test_protocol_1_times_are_utc_when_it_says_so() -> None:
    body = {"task": "t", "id": "1", "eta": "2031-02-03T04:05:06", "utc": True}
    frame = Frame(json.dumps(body).encode(), "application/json", "utf-8", {"tenant": "a"}, {})
    call = decode_call(frame)
    assert call.eta == datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert call.headers == {"tenant": "a"}
    assert call.args == ()


def test_protocol_1_cannot_carry_a_chain() -> None:
    call = call_of("chain2")
    with pytest.raises(EncodeError, match="protocol 1 cannot carry the rest of a chain"):
        encode_call(call, protocol=1)
    with pytest.raises(EncodeError, match="protocols are 1 and 2"):
        encode_call(call, protocol=3)


def test_an_expiring_call_has_a_lifetime() -> None:
    now = datetime(2031, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    call = Envelope(id="1", task="t", expires=now + timedelta(seconds=2.5))
    assert encode_call(call, now=now).properties["expiration"] == "2500"
    assert encode_call(call, now=now + timedelta(hours=1)).properties["expiration"] == "0"
    naive = Envelope(id="1", task="t", expires=datetime(2031, 1, 1))
    assert encode_call(naive, now=now).properties["expiration"] == "3600000"
    assert (
        int(encode_call(Envelope(id="1", task="t", expires=datetime(9999, 1, 1))).properties["expiration"])
        > 0
    )


def test_the_marks_of_a_delivery_are_not_the_calls() -> None:
    frame = encode_call(Envelope(id="1", task="t", priority=-5, headers={"tenant": "a"}))
    frame.headers.update({DELIVERIES_HEADER: 2, HISTORY_HEADER: [], "redelivered": True})
    call = decode_call(frame)
    assert call.headers == {"tenant": "a"}
    assert call.priority == -5


def test_custom_headers_come_through_with_their_types() -> None:
    sent = {
        "when": datetime(2031, 2, 3, tzinfo=UTC),
        "raw": b"\xff",
        "n": float("inf"),
        "odd": "\ud800",
        "t": [1.5],
        "\udfff": {},
    }
    frame = encode_call(Envelope(id="1", task="t", headers=sent))
    assert decode_call(load_frame(dump_frame(frame, routing_key="q"))).headers == sent


def test_a_refused_type_is_not_unpacked() -> None:
    frame = load_frame(entry("pickle_gzip"))
    with pytest.raises(
        ContentDisallowed, match=r"pickle .*application/x-python-serialize.*Accepted here: json"
    ):
        decode_call(frame)
    with pytest.raises(ContentDisallowed):
        decode_call(Frame(b"broken", frame.content_type, "binary", frame.headers, {}))
    assert decode_call(frame, {"json", "application/x-python-serialize"}).args == (1, 2)


def test_a_body_may_not_grow_beyond_its_limit() -> None:
    frame = encode_call(Envelope(id="1", task="t", args=("x" * 100_000,)), compression="gzip")
    assert len(frame.body) < 1000
    with pytest.raises(DecodeError, match="would grow beyond 50000 bytes"):
        decode_call(frame, max_size=50_000)
    assert decode_call(frame).args == ("x" * 100_000,)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task": 5}, "Expected `str`, got `int` - at `\\$.task`"),
        ({"id": None}, "at `\\$.id`"),
        ({"eta": "tomorrow"}, "'eta' of the message is 'tomorrow'; expected a time in ISO 8601"),
        ({"expires": 5}, "at `\\$.expires`"),
        ({"retries": "many"}, "at `\\$.retries`"),
        ({"timelimit": [1]}, "at `\\$.timelimit`"),
        ({"stamps": []}, "at `\\$.stamps`"),
        ({"compression": "rar"}, "There is no compression 'rar'"),
        ({"compression": 5}, "expected the name of a compression"),
    ],
)
def test_headers_that_are_not_a_tasks(change: dict[str, Any], problem: str) -> None:
    frame = load_frame(entry("plain"))
    frame.headers.update(change)
    with pytest.raises(DecodeError, match=problem):
        decode_call(frame)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"5", "expected \\[args, kwargs, embed\\]"),
        (b"[1, 2]", "expected \\[args, kwargs, embed\\]"),
        (b'["ab", {}, {}]', "positional arguments of task 'vec.add' are 'ab'; expected a list"),
        (b"[[], [], {}]", "keyword arguments of task 'vec.add' are \\[\\]; expected a mapping"),
        (b'[[], {}, {"chord": 5}]', "third element"),
        (b"[[], {}, 7]", "third element"),
        (b"nonsense", "not json"),
        (b"\xff", "not json"),
        (b'[[{"__type__": "datetime", "__value__": "no"}], {}, {}]', "a datetime that cannot be read: 'no'"),
        (b'[[{"__type__": "set", "__value__": []}], {}, {}]', "type 'set', which is not one of bytes"),
        (b"[" * 100_000, "not json"),
    ],
)
def test_bodies_that_are_not_a_tasks(body: bytes, problem: str) -> None:
    frame = load_frame(entry("plain"))
    frame.body = body
    with pytest.raises(DecodeError, match=problem):
        decode_call(frame)


def test_a_body_without_a_task() -> None:
    for body in (b"[1]", b'{"id": "1"}', b"null"):
        with pytest.raises(DecodeError, match="The message is not a task"):
            decode_call(Frame(body, "application/json", "utf-8", {}, {}))


def test_lone_signatures_and_missing_parts_are_taken() -> None:
    signature = {"task": "t", "args": [], "kwargs": {}, "options": {}}
    frame = Frame(b"", "application/json", "utf-8", {"task": "t", "id": "1"}, {})
    frame.body = json.dumps([None, None, {"callbacks": signature}]).encode()
    call = decode_call(frame)
    assert call.embed.callbacks == [signature]
    assert (call.args, call.kwargs) == ((), {})
    frame.body = b"[[1], {}, null]"
    assert decode_call(frame).embed.callbacks is None


class Signature(dict[str, Any]):
    """What Celery's signatures are: dicts of a class of their own."""


def test_pickled_signatures_are_dicts() -> None:
    headers = {"task": "t", "id": "1"}
    body = pickle.dumps(((1,), {}, {"chain": [Signature(task="u")]}))
    frame = Frame(body, "application/x-python-serialize", "binary", headers, {})
    assert decode_call(frame, {"pickle"}).embed.chain == [{"task": "u"}]


# ------------------------------------------------------------------------------------------------- refusals


def test_celery_refuses_the_same_types() -> None:
    values = {"set": {1}, "frozenset": frozenset({1}), "timedelta": timedelta(1), "object": object()}
    refused = [name.removeprefix("json_type_") for name in refusals() if name.startswith("json_type_")]
    assert sorted(refused) == sorted(values)
    for name in refused:
        with pytest.raises(EncodeError, match=f"is an? .*{name}.* which json cannot write"):
            encode_call(Envelope(id="1", task="t", args=(values[name],)))


class Plain:
    def __repr__(self) -> str:
        return "<Plain>"


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (
            ({1, 2},),
            {},
            "Task 'shop.pay' was not sent: argument 'order' (args[0]) is a set ({1, 2}), which json cannot write: "
            "use a list instead, for example sorted(...); or use serializer='pickle' where its readers accept it.",
        ),
        ((1, {"x": [0, {3}]}), {}, "argument 'when' (args[1]['x'][1]) is a set ({3})"),
        ((1, 2, Plain()), {}, "argument args[2] is a wire.test_messages.Plain (<Plain>)"),
        ((), {"wait": timedelta(seconds=1)}, "argument 'wait' (kwargs['wait']) is a datetime.timedelta"),
        ((), {"wait": {"a": timedelta(seconds=1)}}, "use its total_seconds() instead"),
        (({(1, 2): 3},), {}, "argument 'order' (args[0]) has the key (1, 2) of type tuple"),
    ],
)
def test_an_argument_that_cannot_be_sent_is_named(args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode_call(Envelope(id="1", task="shop.pay", args=args, kwargs=kwargs), parameters=("order", "when"))
    assert message in str(caught.value)


def test_an_argument_that_contains_itself_is_named() -> None:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    with pytest.raises(EncodeError, match=r"args\[0\]\[1\]\['again'\]\) is contained in itself"):
        encode_call(Envelope(id="1", task="t", args=(loop,)), parameters=("x",))


def test_an_unwritable_callback_is_named() -> None:
    call = call_of("link")
    callbacks = call.embed.callbacks
    assert callbacks is not None
    callbacks[0]["args"] = [{1}]
    with pytest.raises(EncodeError, match=r"link\[0\]\['args'\]\[0\] is a set"):
        encode_call(call)


def test_unknown_ways_of_writing() -> None:
    call = Envelope(id="1", task="t")
    with pytest.raises(ConfigurationError, match=r"no serializer 'xml'\. Known serializers: json"):
        encode_call(call, serializer="xml")
    with pytest.raises(ConfigurationError, match=r"no compression 'rar'\. Known compressions: brotli"):
        encode_call(call, compression="rar")


# --------------------------------------------------------------------------------------------------- entries


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"\x00", "not JSON"),
        (b"5", "not a message as Celery writes it: Expected `object`"),
        (b"{}", "missing required field `body`"),
        (b'{"body": 5}', "Expected `str | null`, got `int`"),
        (b'{"body": "", "headers": []}', "headers"),
        (b'{"body": "", "properties": {"body_encoding": "rot13"}}', "'rot13'; expected base64"),
        (b'{"body": "a", "properties": {"body_encoding": "base64"}}', "not base64"),
        (b'{"body": "\\ud800"}', "not utf-8"),
        (b'{"body": "", "headers": {"id": "\\ud800"}}', "not text that UTF-8 can hold"),
        (b'{"body": "", "headers": {"a": {"__type__": "x", "__value__": 1}}}', "type 'x'"),
    ],
)
def test_entries_that_are_not_messages(data: bytes, problem: str) -> None:
    with pytest.raises(DecodeError) as caught:
        load_frame(data)
    assert problem in str(caught.value)
    assert isinstance(caught.value, MessageError)


def test_a_body_without_an_encoding_is_text() -> None:
    frame = load_frame('{"body": "[[\u00e9], {}, null]", "content-type": "application/json"}'.encode())
    assert frame.body == "[[\u00e9], {}, null]".encode()
    assert (frame.content_encoding, frame.headers, frame.properties) == ("utf-8", {}, {})


def test_the_delivery_tag() -> None:
    frame = load_frame(entry("plain"))
    assert json.loads(dump_frame(frame, routing_key="q"))["properties"]["delivery_tag"] == frame.task_id
    stored = json.loads(dump_frame(frame, routing_key="q", delivery_tag="7"))["properties"]
    assert stored["delivery_tag"] == "7"
    assert stored["delivery_info"] == {"exchange": "", "routing_key": "q"}


# ----------------------------------------------------------------------------------------------------- reprs


def as_lists(text: str | None) -> str:
    """What JSON leaves of the difference between a tuple and a list."""
    return (text or "").replace(",)", "]").translate(str.maketrans("()", "[]"))


def test_arguments_are_shown_as_celery_shows_them() -> None:
    shown = 0
    for name, data in ENTRIES:
        frame = load_frame(data)
        if "task" not in frame.headers or name.startswith(("argsrepr", "json_type_", "long_")):
            continue
        call = decode_call(frame, ALL)
        assert as_lists(safe_repr(call.args)) == as_lists(call.argsrepr)
        assert as_lists(safe_repr(call.kwargs)) == as_lists(call.kwargsrepr)
        shown += 1
    assert shown > 80


def test_reprs_are_never_long_or_deep() -> None:
    assert len(safe_repr(("x" * 1_000_000, "y" * 1_000_000))) < 1100
    assert len(safe_repr((list(range(100_000)), 2, 3))) < 1100
    assert safe_repr({"a": [[[[1]]]]}) == "{'a': [[[...]]]}"
    assert (
        safe_repr([frozenset({1}), set(), (1,), b"ab", b"\xff"])
        == "[frozenset({1}), set(), (1,), b'ab', b'ff']"
    )


def test_a_broken_repr_does_not_stop_a_call() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

        def __json__(self) -> int:
            return 5

    frame = encode_call(Envelope(id="1", task="t", args=(Broken(),)))
    assert frame.headers["argsrepr"] == "(<Broken: its repr raises RuntimeError>,)"
    assert decode_call(frame).args == (5,)
