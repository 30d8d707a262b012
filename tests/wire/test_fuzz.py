"""Whatever lies in a queue or a store, reading it ends in a call or in an error of the message, never in another one."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.codecs import compression, serializers
from umbel.codecs.failures import exception_from_failure
from umbel.codecs.protocol import decode_call, encode_call, read_header
from umbel.codecs.results import decode_result, encode_result, state_of
from umbel.core.envelope import Embed, Envelope
from umbel.core.frame import Frame
from umbel.core.kombu_json import dump_frame, load_frame
from umbel.core.outcome import Failure, ResultMeta
from umbel.core.priority import frame_priority
from umbel.errors import MessageError

from .loading import entry, record

SAFE = frozenset(serializers.names()) - {
    "pickle"
}  # unpickling nonsense may do anything, and is never done unasked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)
HEADER_NAMES = st.sampled_from(
    [
        "task",
        "id",
        "lang",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "compression",
        "umbel_priority",
        "custom",
    ]
)
PROPERTY_NAMES = st.sampled_from(
    ["correlation_id", "reply_to", "priority", "delivery_info", "delivery_mode", "expiration"]
)
TYPES = st.sampled_from(
    [serializers.check_serializer(name).content_type for name in SAFE] + ["text/plain", ""]
)


def check_marks(frame: Frame) -> None:
    """What a broker files a message by is of its type, whatever the sender wrote."""
    assert isinstance(frame.task_id, str)
    assert isinstance(frame.task_name, str)
    assert -100 <= frame.priority <= 100
    assert -100 <= frame_priority(frame) <= 100


def read(data: bytes) -> None:
    with contextlib.suppress(MessageError):
        frame = load_frame(data)
        check_marks(frame)
        with contextlib.suppress(MessageError):
            read_header(frame)
        assert isinstance(decode_call(frame, SAFE), Envelope)


@given(st.binary(max_size=200))
def test_any_bytes_as_an_entry(data: bytes) -> None:
    read(data)


@given(JSON)
def test_any_json_as_an_entry(value: Any) -> None:
    read(json.dumps(value).encode())


@given(st.data())
def test_an_entry_with_bytes_changed(data: st.DataObject) -> None:
    raw = bytearray(
        entry(data.draw(st.sampled_from(["plain", "chain3", "compression_gzip", "json_type_nested"])))
    )
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    read(bytes(raw[: data.draw(st.integers(0, len(raw)))]) if data.draw(st.booleans()) else bytes(raw))


@given(
    st.dictionaries(HEADER_NAMES, JSON),
    st.dictionaries(PROPERTY_NAMES, JSON),
    JSON | st.tuples(st.lists(JSON, max_size=2), st.dictionaries(st.text(max_size=5), JSON), JSON),
    st.booleans(),
)
def test_headers_and_bodies_of_any_shape(headers: Any, properties: Any, body: Any, named: bool) -> None:
    if named:
        headers = {**headers, "task": "t", "id": "1"}
    frame = Frame(json.dumps(body).encode(), "application/json", "utf-8", headers, properties)
    with contextlib.suppress(MessageError):
        assert isinstance(decode_call(frame, SAFE), Envelope)
    check_marks(frame)
    load_frame(dump_frame(frame, routing_key="q"))


@given(st.binary(max_size=100), TYPES, st.sampled_from([None, *compression.names(), "rar"]))
def test_any_bytes_as_a_body(body: bytes, content_type: str, method: str | None) -> None:
    headers = {"task": "t", "id": "1"} | ({} if method is None else {"compression": method})
    with contextlib.suppress(MessageError):
        decode_call(Frame(body, content_type, "utf-8", headers, {}), SAFE)


@given(JSON)
def test_protocol_1_bodies_of_any_shape(value: Any) -> None:
    for body in (
        value,
        {"task": "t", "id": "1", "args": value},
        {"task": "t", "id": "1", "callbacks": value},
    ):
        with contextlib.suppress(MessageError):
            decode_call(Frame(json.dumps(body).encode(), "application/json", "utf-8", {}, {}))


NAMES = st.text(st.characters(min_codepoint=32), min_size=1, max_size=12)
IDS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=12)
"""What messages are filed under: stores cannot write half of a surrogate pair, and ``load_frame`` refuses it."""
TIMES = st.none() | st.datetimes(timezones=st.none() | st.just(UTC))
SIGNATURES = st.none() | st.lists(
    st.fixed_dictionaries({"task": NAMES, "args": st.lists(JSON)}), min_size=1, max_size=2
)
CALLS = st.builds(
    Envelope,
    id=IDS,
    task=IDS,
    args=st.lists(JSON, max_size=3).map(tuple),
    kwargs=st.dictionaries(NAMES, JSON, max_size=3),
    embed=st.builds(Embed, callbacks=SIGNATURES, errbacks=SIGNATURES, chain=SIGNATURES),
    priority=st.integers(-100, 100),
    eta=TIMES,
    expires=TIMES,
    retries=st.integers(0, 99),
    time_limit=st.none() | st.floats(0, 1e6),
    soft_time_limit=st.none() | st.floats(0, 1e6),
    ignore_result=st.none() | st.booleans(),
    root_id=NAMES,
    parent_id=st.none() | NAMES,
    shadow=st.none() | NAMES,
    reply_to=st.none() | NAMES,
    correlation_id=IDS,
    argsrepr=NAMES,
    kwargsrepr=NAMES,
    origin=NAMES,
    group_id=st.none() | NAMES,
    group_index=st.none() | st.integers(0, 99),
    replaced_task_nesting=st.integers(0, 9),
    stamped_headers=st.none() | st.lists(NAMES, max_size=2),
    stamps=st.dictionaries(NAMES, JSON, max_size=2),
    headers=st.dictionaries(NAMES.map("x-".__add__), JSON, max_size=2),
)


@given(
    CALLS,
    st.sampled_from(["json", "yaml", "msgpack", "pickle"]),
    st.sampled_from([None, "gzip", "bzip2", "lzma", "zstd"]),
)
def test_a_call_comes_back_as_it_was(call: Envelope, serializer: str, method: str | None) -> None:
    if serializer == "msgpack":
        call = Envelope(id=call.id, task=call.task, args=("x", 1), kwargs={"k": [2.5]}, root_id=call.id, eta=call.eta,
                        correlation_id="c", argsrepr="a", kwargsrepr="k", origin="o")  # fmt: skip
    frame = encode_call(call, serializer=serializer, compression=method)
    stored = load_frame(dump_frame(frame, routing_key="celery"))
    assert decode_call(stored, serializers.names()) == call
    assert frame_priority(stored) == call.priority


@given(
    st.binary(max_size=100) | st.binary(max_size=50).map(b"\0celery-compressed\0application/x-gzip\0".__add__)
)
def test_any_bytes_as_a_record(data: bytes) -> None:
    for serializer in SAFE:
        with contextlib.suppress(MessageError):
            decode_result(data, serializer)
            state_of(data, serializer)


@given(
    st.dictionaries(
        st.sampled_from(["status", "result", "traceback", "children", "task_id", "stamped_headers"]), JSON
    )
)
def test_records_of_any_shape(value: Any) -> None:
    for status in ("FAILURE", value.get("status", 5)):
        data = json.dumps({**value, "status": status}).encode()
        with contextlib.suppress(MessageError):
            meta = decode_result(data)
            if isinstance(meta.result, Failure):
                assert isinstance(exception_from_failure(meta.result), Exception)


@given(st.data())
def test_a_record_with_bytes_changed(data: st.DataObject) -> None:
    raw = bytearray(record(data.draw(st.sampled_from(["success", "failure_custom", "children"]))))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MessageError):
        decode_result(bytes(raw))


@given(
    JSON,
    st.sampled_from(["SUCCESS", "STARTED", "PROGRESS"]),
    st.sampled_from(["json", "yaml", "pickle"]),
)
def test_a_record_comes_back_as_it_was(result: Any, status: str, serializer: str) -> None:
    meta = ResultMeta(task_id="1", status=status, result=result, children=[], group_id="g")
    data = encode_result(meta, serializer)
    assert decode_result(data, serializer, {serializer}) == meta
    assert state_of(data, serializer, {serializer}) == status


@pytest.mark.parametrize(
    "name", ["", "a.b", "..", "__main__", "unittest.__main__", "os.path", "umbel.errors", "kombu.exceptions"]
)
@given(
    kind=st.text(max_size=10)
    | st.sampled_from(["system", "Popen", "error", "SystemExit", "EncodeError", "a.b.c"])
)
def test_any_names_as_a_failure(name: str, kind: str) -> None:
    exc = exception_from_failure(Failure(exc_type=kind, exc_module=name, exc_message=["x"], traceback="t"))
    assert isinstance(exc, Exception)
