"""Queue entries that nobody should have written: Celery's own, with parts of them put out of order.

They are written as text and not through a serializer, so that they may hold what no serializer writes: keys that come
twice, numbers of five thousand digits, half of a surrogate pair, a hundred thousand brackets.
"""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import pickle
import zlib
from collections.abc import Callable
from typing import Any

import msgpack
import yaml
from hypothesis import strategies as st

from umbel.codecs.compression import compress

from .loading import entries

__all__ = ["TASK", "odd_entries"]

TASK = "fuzz.echo"
"""The task that most of them call."""


class Raw(str):
    """A piece of JSON text, to be written as it stands."""


def _nested(depth: int) -> list[Raw]:
    return [Raw("[" * depth + "]" * depth), Raw('{"a":' * depth + "1" + "}" * depth)]


def _tagged(marker: str, value: str) -> Raw:
    return Raw(f'{{"__type__": {json.dumps(marker)}, "__value__": {value}}}')


ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, 2**31, 2**63, "", "0", "x", "x" * 5000, "größe\x00", "2999-01-01T00:00:00",
    "1999-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999-23:59", [], [None], [[]], {}, {"a": None}, [1, 2, 3],
    [2**70, -1], [0.001, 0.001], {"": ""}, {"task": 1},
    Raw("9" * 25), Raw("-" + "9" * 25), Raw("9" * 5000), Raw("1e400"), Raw("NaN"), Raw("-Infinity"), Raw('"\\ud800"'),
    Raw('{"\\udfff": 1}'), Raw('"\\u0000"'), Raw("{"), Raw("01"), Raw(""), Raw("'x'"), Raw('"\t"'),
    _tagged("bytes", '"x"'), _tagged("datetime", '"2020-01-01T00:00:00"'), _tagged("uuid", '{"hex": "12"}'),
    _tagged("decimal", '"1e9"'), _tagged("pickle", '"x"'), _tagged("uuid", '{"int": 5, "version": 9}'), _tagged("date", "5"),
    Raw("[7,1]"), Raw("[7,0,-300]"), Raw("[7,1,%s]" % ("9" * 25)), Raw("[%s,0]" % ("9" * 25)), Raw("[2,0,]"), 300, -300,
    *_nested(70), *_nested(400), *_nested(900), *(raw for depth in range(950, 1000, 3) for raw in _nested(depth)),
    *_nested(5000), *_nested(100_000),
]  # fmt: skip
odd = st.sampled_from(ODD) | st.integers() | st.text(max_size=8) | st.floats()

OUTER = ["body", "content-encoding", "content-type", "headers", "properties", "umbel", "umbel"]
HEADERS = [
    "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
    "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers",
    "stamps", "compression", "umbel_priority", "umbel_deliveries", "umbel_history", "umbel", "redelivered", "custom",
]  # fmt: skip
PROPERTIES = [
    "correlation_id", "reply_to", "priority", "delivery_info", "delivery_mode", "expiration", "body_encoding",
    "delivery_tag", "umbel", "custom",
]  # fmt: skip
SERIALIZERS: dict[str, Callable[[Any], bytes]] = {
    "application/json": lambda value: _write(value).encode("utf-8", "surrogatepass"),
    "application/x-yaml": lambda value: yaml.safe_dump(_plain(value)).encode(),
    "application/x-msgpack": lambda value: msgpack.packb(_plain(value), default=str),
    "application/x-python-serialize": lambda value: pickle.dumps(_plain(value)),
}
COMPRESSIONS = ["gzip", "bzip2", "lzma", "zstd", "brotli"]
ZEROS = 16 * 1024 * 1024
BOMBS = {
    "gzip": zlib.compress(bytes(ZEROS), 9),
    "bzip2": bz2.compress(bytes(ZEROS)),
    "lzma": lzma.compress(bytes(ZEROS), preset=0),
    "zstd": compress(bytes(ZEROS), "zstd")[1],
    "brotli": compress(bytes(ZEROS), "brotli")[1],
}
NULLS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
ALONE = ("plain", "kwargs", "no_args", "unicode", "json_type_nested", "headers", "conf_protocol_1")
"""Vectors of calls that nothing follows: what becomes of each can be counted."""

Pairs = list[tuple[str, Any]]


def _write(value: Any) -> str:
    """JSON text; a list of pairs in a ``Pairs`` is an object whose keys may come twice."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, _Object):
        return "{" + ",".join(f"{json.dumps(key)}:{_write(item)}" for key, item in value.pairs) + "}"
    if isinstance(value, dict):
        return _write(_Object(list(value.items())))
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_write, value)) + "]"
    return json.dumps(value)


class _Object:
    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


def _plain(value: Any) -> Any:
    if isinstance(value, Raw):
        return str(value)[:100]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


@st.composite
def odd_bodies(draw: st.DrawFn, body: bytes) -> tuple[bytes, str | None, str | None]:
    """A body, the compression that the headers are to name, and the content type; None: as they were."""
    match draw(
        st.sampled_from(["same", "same", "parts", "parts", "whole", "cut", "bytes", "packed", "bomb"])
    ):
        case "parts":
            parts = [[1], {"a": 2}, NULLS]
            parts[draw(st.integers(0, 2))] = draw(odd)
            kind = draw(st.sampled_from(list(SERIALIZERS)))
            return SERIALIZERS[kind](parts), None, kind
        case "whole":
            kind = draw(st.sampled_from(list(SERIALIZERS)))
            whole = draw(odd | st.builds(dict, task=odd, id=odd, args=odd, kwargs=odd, eta=odd, expires=odd))
            return SERIALIZERS[kind](whole), None, kind
        case "cut":
            return body[: draw(st.integers(0, len(body)))], None, None
        case "bytes":
            return draw(st.binary(max_size=60)), draw(st.none() | st.sampled_from(COMPRESSIONS)), None
        case "packed":
            name = draw(st.sampled_from(COMPRESSIONS))
            packed = compress(body, name)[1]
            said = draw(st.sampled_from([name, name, *COMPRESSIONS, "rar"]))
            return packed[: draw(st.integers(1, len(packed)) | st.just(len(packed)))], said, None
        case "bomb":
            name = draw(st.sampled_from(COMPRESSIONS))
            return BOMBS[name], name, None
        case _:
            return body, None, None


@st.composite
def _edited(draw: st.DrawFn, value: dict[str, Any], names: list[str]) -> Any:
    """`value` with a few keys set, left out or said twice; or something else in its place."""
    if draw(st.integers(0, 19)) == 0:
        return draw(odd)
    pairs: Pairs = list(value.items())
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        how = draw(st.sampled_from(["set", "set", "twice", "out"]))
        if how != "twice":
            pairs = [(key, item) for key, item in pairs if key != name]
        if how != "out":
            pairs.insert(draw(st.integers(0, len(pairs))), (name, draw(odd)))
    return _Object(pairs)


@st.composite
def odd_entries(draw: st.DrawFn, *, alone: bool = False) -> bytes:
    """An entry of a queue. `alone`: nothing follows from the call, if it is one."""
    names = [name for name, _ in entries() if not alone or name.removesuffix("-0") in ALONE]
    entry = json.loads(dict(entries())[draw(st.sampled_from(names))])
    headers, properties = entry["headers"], entry["properties"]
    if headers.get("task") and draw(st.integers(0, 3)):
        headers["task"] = TASK
    body, compression, content_type = draw(odd_bodies(base64.b64decode(entry["body"])))
    if compression is not None:
        headers["compression"] = compression
    if content_type is not None:
        entry["content-type"] = content_type
    entry["body"] = base64.b64encode(body).decode()
    if draw(st.integers(0, 9)) == 0:
        broken = draw(st.sampled_from(["=", "*", "ä", "\x00", "====", " "]))
        at = draw(st.integers(0, len(entry["body"])))
        entry["body"] = entry["body"][:at] + broken + entry["body"][at + 1 :]
    entry["headers"] = draw(_edited(headers, HEADERS))
    entry["properties"] = draw(_edited(properties, PROPERTIES))
    text = _write(draw(_edited(entry, OUTER)) if draw(st.integers(0, 4)) == 0 else entry)
    raw = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 14)) == 0 and raw:
        at = draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + draw(st.binary(max_size=3)) + raw[at + draw(st.integers(0, 2)) :]
    return raw
