"""kombu's JSON, byte for byte, against kombu itself."""

from __future__ import annotations

import enum
import json
import math
import uuid
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from umbel.core import kombu_types
from umbel.core.frame import Frame
from umbel.core.kombu_json import dump_frame, load_frame

from .loading import entry


class Colour(enum.IntEnum):
    RED = 1


class Word(str):
    pass


class Stamp(datetime):
    pass


class Jsonable:
    def __json__(self) -> dict[str, Any]:
        return {"inner": Decimal("1.5")}


Point = namedtuple("Point", "x y")

VALUES: list[Any] = [
    None,
    True,
    -0.0,
    1e300,
    math.inf,
    -math.inf,
    2**64,
    -(10**40),
    "",
    "\u00e9\u20ac\U0001f600",
    "\ud800",
    '"\\/\b\n\x00\x7f\u2028',
    (1, (2, 3)),
    Point(1, 2),
    OrderedDict(b=1, a=2),
    {2: "a", 1.5: "b", None: "c", True: "d"},
    {Colour.RED: Colour.RED},
    {Word("k"): Word("v")},
    b"abc",
    b"",
    b"\xff\xfe",
    "\u00e9".encode(),
    Decimal("1.10"),
    Decimal("NaN"),
    uuid.UUID(int=5),
    date(2026, 1, 2),
    time(3, 4, 5),
    time(3, 4, 5, 6, tzinfo=UTC),
    datetime(2026, 1, 2),
    datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    Stamp(2026, 1, 2),
    Jsonable(),
    {"__type__": "unknown"},
    {"a": [Decimal(2), {"b": b"x"}]},
]


@pytest.mark.parametrize(
    "value", VALUES, ids=[f"{n}-{type(value).__name__}" for n, value in enumerate(VALUES)]
)
def test_written_and_read_as_kombu_does(value: Any) -> None:
    written = kombu_json.dumps(value).encode()
    assert kombu_types.dumps(value) == written
    assert repr(kombu_types.loads(written)) == repr(kombu_json.loads(written))


@pytest.mark.parametrize(
    "value", [{1}, frozenset(), timedelta(1), object(), 1j, {(1, 2): 3}, {b"k": 1}, bytearray(b"a")]
)
def test_refused_as_kombu_does(value: Any) -> None:
    with pytest.raises(TypeError) as ours:
        kombu_types.dumps(value)
    with pytest.raises(TypeError) as kombus:
        kombu_json.dumps(value)
    assert str(ours.value) == str(kombus.value)


def test_tagged_values_of_the_capture() -> None:
    names = ["datetime_naive", "datetime_aware_UTC", "datetime_p0200", "date", "time", "Decimal", "UUID"]
    names += ["bytes_UTF-8", "bytes_raw", "nested", "nan", "bigint", "tuple", "int_key_dict"]
    for name in names:
        body = load_frame(entry(f"json_type_{name}")).body
        assert kombu_types.dumps(kombu_types.loads(body)) == body


def test_a_value_that_contains_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        kombu_types.dumps(loop)


def test_lazy_text_of_django_is_text() -> None:
    promise = type("Promise", (), {"__module__": "django.utils.functional"})
    lazy = type("proxy", (promise,), {"__str__": lambda self: "hello"})
    assert kombu_types.dumps([lazy()]) == b'["hello"]'


@pytest.mark.parametrize(
    "data",
    [
        b'{"__type__": "decimal", "__value__": "x"}',
        b'{"__type__": "uuid", "__value__": 5}',
        b'{"__type__": "uuid", "__value__": {"a": 1}}',
        b'{"__type__": "base64", "__value__": "a"}',
        b'{"__type__": ["date"], "__value__": 1}',
        b'{"__type__": "date", "__value__": null}',
        b'{"__type__": "nonsense", "__value__": 1}',
        b"[",
        b"\xff",
        b"[" * 100_000,
        b'{"__type__": ' + b"[" * 100_000,
    ],
)
def test_what_is_not_of_the_dialect(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        kombu_types.loads(data)


def test_a_class_of_ones_own() -> None:
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    kombu_types.register_type(Money, "test-money", lambda m: m.cents, Money)
    data = kombu_types.dumps([Money(5)])
    assert data == b'[{"__type__": "test-money", "__value__": 5}]'
    assert kombu_types.loads(data)[0].cents == 5


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=20)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
KEYS = st.text(max_size=10) | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)
TREES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(TREES)
def test_every_tree_is_written_and_read_as_kombu_does(value: Any) -> None:
    written = kombu_json.dumps(value).encode()
    assert kombu_types.dumps(value) == written
    assert repr(kombu_types.loads(written)) == repr(kombu_json.loads(written))


@given(TREES)
@example({1e16: None})
def test_headers_are_stored_as_kombu_reads_them(value: Any) -> None:
    frame = Frame(b"\xff\x00", "application/json", "utf-8", {"id": "1", "x": value}, {"priority": 3})
    stored = dump_frame(frame, routing_key="q")
    assert repr(kombu_json.loads(stored)["headers"]) == repr(
        kombu_json.loads(kombu_json.dumps(frame.headers))
    )
    again = load_frame(stored)
    assert again.body == frame.body
    assert repr(again.headers) == repr(kombu_json.loads(stored)["headers"])


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda i: st.lists(i) | st.dictionaries(st.text(), i),
    )
)
def test_json_of_other_writers_is_read_as_kombu_does(value: Any) -> None:
    for data in (
        json.dumps(value).encode(),
        json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "replace"),
    ):
        assert repr(kombu_types.loads(data)) == repr(kombu_json.loads(data))


@given(st.binary(max_size=40) | st.text(alphabet='[]{}":,0123456789.eE+-truefalsnN\\u ').map(str.encode))
def test_nonsense_is_refused_where_kombu_refuses_it(data: bytes) -> None:
    try:
        expected: Any = kombu_json.loads(data)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            kombu_types.loads(data)
    else:
        assert repr(kombu_types.loads(data)) == repr(expected)
