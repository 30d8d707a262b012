"""From a call to a message: arguments, options, routes, times, parents, and the deadline."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import time
import types
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from umbel import Task, Umbel
from umbel.calls import Prepared
from umbel.codecs.protocol import decode_call
from umbel.context import Request, running
from umbel.core.envelope import Envelope
from umbel.core.kombu_json import load_frame
from umbel.errors import BrokerUnavailable, CallError, ConfigurationError, EncodeError, Retry
from umbel.ports import Outgoing, Shelved

from .conftest import MakeApp

VECTORS = Path(__file__).parent.parent / "wire" / "vectors"


def add_to(app: Umbel, **options: Any) -> Task[..., Any]:
    def add(x: int, y: int = 0, *, z: int = 0) -> int:
        return x + y + z

    task: Task[..., Any] = app.task(name="add", **options)(add)
    return task


def prepared(task: Task[..., Any], args: Sequence[Any] = (1, 2), **options: Any) -> Prepared:
    return task.app.client.prepare(task.name, args, {}, options, task)


def waiting(app: Umbel, shelf: Any = "waiting") -> list[Shelved]:
    async def browse() -> list[Shelved]:
        await app.broker.open()
        return list(await app.broker.browse(shelf))

    from umbel import portal

    return portal.run(browse())


# ------------------------------------------------------------------------------------------------ delivery


def test_delay_puts_a_message_of_protocol_2_into_the_queue(make_app: MakeApp, url: str) -> None:
    app = make_app(broker=url)
    result = add_to(app).delay(1, y=2)
    (shelved,) = waiting(app)
    assert (shelved.task_id, shelved.task, shelved.queue) == (result.id, "add", "celery")
    assert shelved.frame is not None
    assert json.loads(shelved.frame.body) == [
        [1],
        {"y": 2},
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]
    headers = shelved.frame.headers
    assert headers["argsrepr"] == "(1,)"
    assert headers["root_id"] == headers["id"] == result.id
    assert headers["parent_id"] is None
    assert headers["ignore_result"] is False
    assert headers["timelimit"] == [None, None]
    assert re.fullmatch(r"gen\d+@.+", headers["origin"])
    assert re.fullmatch(r"[0-9a-f-]{36}", shelved.frame.properties["reply_to"])


def test_send_task_knows_only_the_name(app: Umbel) -> None:
    app.send_task("other.task", (1,), {"a": 2}, queue="far")
    (shelved,) = waiting(app)
    assert shelved.frame is not None
    assert (shelved.queue, shelved.task) == ("far", "other.task")
    assert shelved.frame.headers["ignore_result"] is None


def test_send_task_of_a_known_task_has_its_options(app: Umbel) -> None:
    add_to(app, queue="sums")
    app.send_task("add", (1,))
    assert waiting(app)[0].queue == "sums"
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        app.send_task("add", ())


def test_coroutines_send_too(make_app: MakeApp, url: str) -> None:
    app = make_app(broker=url)
    task = add_to(app)

    async def main() -> list[str]:
        first = await task.adelay(1)
        second = await task.aapply_async((2,), queue="q2")
        third = await app.asend_task("other", (3,))
        fourth = await task.s(4).adelay()
        many = await task.astarmap_async([(5,), (6,)])
        return [r.id for r in (first, second, third, fourth, *many)]

    ids = asyncio.run(main())
    assert {s.task_id for s in waiting(app)} == set(ids)


class CountingBroker:
    """Passes everything on, and counts the batches that are sent."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self.batches: list[int] = []

    def send_now(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        self.batches.append(len(batch))
        self._broker.send_now(batch, timeout=timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)


@pytest.fixture
def counting(app: Umbel) -> CountingBroker:
    broker = CountingBroker(app.broker)
    app._connections._broker = (app._connections._broker_key(), broker)  # type: ignore[assignment]
    return broker


def test_celerys_ways_to_name_a_connection_are_ignored(app: Umbel) -> None:
    task, other = add_to(app), object()
    task.apply_async((1,), producer=other, connection=other, publisher=None)
    app.send_task("add", (2,), connection=other)
    task.s(3).apply_async(producer=other)
    assert [decode_call(item.frame).args for item in waiting(app) if item.frame] == [(1,), (2,), (3,)]


def test_a_bulk_send_is_one_round_trip(app: Umbel, counting: CountingBroker) -> None:
    task = add_to(app)
    results = task.starmap_async([(i, i) for i in range(50)], queue="bulk")
    assert counting.batches == [50]
    assert [s.task_id for s in waiting(app)] == [r.id for r in results]
    task.map_async(range(3))
    app.send_many([task.s(1), task.s(2).set(queue="x"), app.signature("elsewhere", (3,))])
    assert counting.batches == [50, 3, 3]
    assert task.starmap_async([]) == []
    assert counting.batches == [50, 3, 3]


def test_a_bulk_send_with_one_bad_call_sends_none(app: Umbel, counting: CountingBroker) -> None:
    task = add_to(app)
    with pytest.raises(TypeError, match="too many positional arguments"):
        task.starmap_async([(1, 2), (1, 2, 3)])
    with pytest.raises(CallError, match="task_id names one call"):
        task.starmap_async([(1,)], task_id="x")
    assert counting.batches == []


@pytest.mark.parametrize(
    ("vector", "call"),
    [
        ("plain", lambda add, app: prepared(add)),
        ("task_id", lambda add, app: prepared(add, task_id="my-id-1")),
        ("countdown_zero", lambda add, app: prepared(add, countdown=0)),
        ("eta_aware", lambda add, app: prepared(add, eta=datetime(2031, 2, 3, 4, 5, 6, 789000, tzinfo=UTC))),
        ("eta_naive", lambda add, app: prepared(add, eta=datetime(2031, 2, 3, 4, 5, 6))),
        ("ignore_result", lambda add, app: prepared(add, ignore_result=True)),
        ("headers", lambda add, app: prepared(add, headers={"tenant": "acme", "n": 5})),
        ("time_limits", lambda add, app: prepared(add, time_limit=30, soft_time_limit=20)),
        ("shadow", lambda add, app: prepared(add, shadow="pretty")),
        ("argsrepr", lambda add, app: prepared(add, argsrepr="(secret)", kwargsrepr="{}")),
        ("queue", lambda add, app: prepared(add, queue="special")),
        ("root_parent", lambda add, app: prepared(add, root_id="r", parent_id="p")),
        ("link", lambda add, app: prepared(add, link=add.s(10))),
        ("link_many", lambda add, app: prepared(add, link=[add.s(10), app.signature("vec.ident")])),
        ("link_error", lambda add, app: prepared(add, link_error=app.signature("vec.onerr"))),
        ("si", lambda add, app: app.client.prepare_signature(add.si(1, 2))),
        ("send_task", lambda add, app: app.client.prepare("other.task", (1,), {"a": 2})),
        ("compression_gzip", lambda add, app: prepared(add, compression="gzip")),
    ],
)
def test_a_call_becomes_the_message_that_celery_makes_of_it(app: Umbel, vector: str, call: Any) -> None:
    add = app.task(name="vec.add")(lambda x, y: x + y)
    made: Prepared = call(add, app)
    vectors = json.loads(gzip.decompress((VECTORS / "redis_messages.json.gz").read_bytes()))
    theirs = load_frame(next(v["entries"][0] for v in vectors if v["name"] == vector).encode())
    ours = made.outgoing.frame
    random = {"id", "root_id", "origin"} - (
        {"id", "root_id"} if vector in ("task_id", "root_parent") else set()
    )
    if vector == "root_parent":
        random.add("id")
    assert [k for k in ours.headers if k not in random] == [k for k in theirs.headers if k not in random]
    assert {k: v for k, v in ours.headers.items() if k not in random} == {
        k: v for k, v in theirs.headers.items() if k not in random
    }
    assert decode_call(ours).args == decode_call(theirs).args
    assert decode_call(ours).embed == decode_call(theirs).embed
    assert made.outgoing.queue == theirs.properties["delivery_info"]["routing_key"]


# ----------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"x": 2}, "multiple values for argument 'x'"),
        ((1,), {"q": 2}, "unexpected keyword argument 'q'"),
        ((), {"y": 2}, "missing a required argument: 'x'"),
    ],
)
def test_wrong_arguments_fail_at_the_call_and_show_the_signature(
    app: Umbel, args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
) -> None:
    task = add_to(app)
    with pytest.raises(TypeError) as caught:
        task.delay(*args, **kwargs)
    assert problem in str(caught.value)
    assert "add(x: int, y: int = 0, *, z: int = 0)" in str(caught.value)
    assert waiting(app) == []


def test_the_check_agrees_with_python_on_every_shape(app: Umbel) -> None:
    def plain(a: Any, b: Any = 1) -> None: ...
    def only(a: Any, /, b: Any, *, c: Any, d: Any = 1) -> None: ...
    def rest(a: Any, *more: Any, k: Any = 1, **named: Any) -> None: ...
    def none() -> None: ...
    def optional(a: Any = 1, b: Any = 2) -> None: ...

    names = ("a", "b", "c", "d", "k", "zz")
    for function in (plain, only, rest, none, optional):
        check = app.task(name=function.__name__)(function).arguments
        assert check is not None
        for count in range(4):
            for mask in range(1 << len(names)):
                args = (0,) * count
                kwargs = {n: 0 for i, n in enumerate(names) if mask >> i & 1}
                ours = accepts(check.check, "t", args, kwargs)
                assert ours == accepts(function, *args, **kwargs), (function.__name__, args, kwargs)


def accepts(function: Any, *args: Any, **kwargs: Any) -> bool:
    try:
        function(*args, **kwargs)
    except TypeError:
        return False
    return True


def test_typing_false_leaves_arguments_alone(app: Umbel) -> None:
    add_to(app, typing=False).delay(1, 2, 3, 4)
    assert len(waiting(app)) == 1


def test_what_cannot_be_written_is_named(app: Umbel) -> None:
    task = add_to(app)
    with pytest.raises(EncodeError, match=r"argument 'y' \(args\[1\]\['a'\]\) is a set"):
        task.delay(1, {"a": {3}})
    with pytest.raises(EncodeError, match=r"argument 'z'.* is an? object"):
        task.delay(1, z=object())
    with pytest.raises(TypeError):
        task.delay(1, object())
    assert waiting(app) == []


# ------------------------------------------------------------------------------------------------- options


def test_the_call_goes_before_the_task_and_the_task_before_the_app(make_app: MakeApp) -> None:
    app = make_app(
        task_default_priority=1,
        task_serializer="json",
        accept_content=["json", "yaml"],
        task_ignore_result=True,
    )
    task = add_to(app, priority=2, queue="q", expires=60, time_limit=9)
    plain = add_to(make_app(task_default_priority=1))

    assert prepared(plain).envelope.priority == 1
    own = prepared(task).envelope
    assert (own.priority, own.queue, own.time_limit, own.ignore_result) == (2, "q", 9, True)
    assert own.expires is not None
    called = prepared(
        task,
        priority=-3,
        queue="other",
        expires=None,
        time_limit=5,
        soft_time_limit=4,
        ignore_result=False,
        serializer="yaml",
    )
    assert (called.envelope.priority, called.envelope.queue, called.envelope.time_limit) == (-3, "other", 5)
    assert (called.envelope.expires, called.envelope.ignore_result) == (None, False)
    assert called.outgoing.frame.content_type == "application/x-yaml"
    assert called.outgoing.priority == -3


def test_a_changed_setting_counts_for_the_next_call(app: Umbel) -> None:
    task = add_to(app)
    assert prepared(task).envelope.queue == "celery"
    app.conf.task_default_queue = "other"
    assert prepared(task).envelope.queue == "other"
    assert prepared(task, queue="mine").envelope.queue == "mine"


def test_the_details_of_a_call_travel(app: Umbel) -> None:
    call = prepared(
        add_to(app),
        task_id="my-id",
        headers={"tenant": "acme"},
        shadow="pretty",
        argsrepr="(secret)",
        kwargsrepr="{}",
        reply_to="me",
        correlation_id="c",
        stamps={"customer": 9},
        stamped_headers=["customer"],
        group_id="g",
        group_index=3,
        compression="gzip",
        link=app.signature("after", (1,)),
        link_error=[app.signature("failed").set(queue="errors"), {"task": "plain.dict"}],
    )
    arrived = decode_call(call.outgoing.frame)
    assert (arrived.id, arrived.headers, arrived.shadow, arrived.argsrepr) == (
        "my-id",
        {"tenant": "acme"},
        "pretty",
        "(secret)",
    )
    assert (arrived.reply_to, arrived.correlation_id, arrived.stamps) == ("me", "c", {"customer": 9})
    assert (arrived.group_id, arrived.group_index) == ("g", 3)
    assert arrived.embed.callbacks == [
        {"task": "after", "args": [1], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
    ]
    assert [form["task"] for form in arrived.embed.errbacks or ()] == ["failed", "plain.dict"]
    assert (arrived.embed.errbacks or [])[0]["options"] == {"queue": "errors"}
    assert call.outgoing.frame.headers["compression"] == "application/x-gzip"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"quue": "x"}, TypeError, "A call of 'add' has no option 'quue'. Did you mean 'queue'?"),
        (
            {"priority": 101},
            CallError,
            "priority must be a whole number from -100 to 100 (larger is sooner), not 101",
        ),
        ({"priority": "high"}, CallError, "not 'high'"),
        (
            {"soft_time_limit": 5, "time_limit": 3},
            CallError,
            "soft_time_limit (5) must not be longer than time_limit (3)",
        ),
        ({"countdown": "10"}, CallError, "countdown must be a number of seconds, not str '10'"),
        ({"countdown": 1e12}, CallError, "countdown=1000000000000.0 is out of range"),
        ({"eta": "tomorrow"}, CallError, "not a time in ISO 8601 form"),
        ({"expires": object()}, CallError, "expires must be a datetime, not object"),
        ({"link": "after"}, CallError, "Expected a signature"),
        ({"serializer": "xml"}, ConfigurationError, "no serializer 'xml'"),
    ],
)
def test_a_wrong_option_says_so_and_nothing_is_sent(
    app: Umbel, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        add_to(app).apply_async((1,), **options)
    assert message in str(caught.value)
    assert waiting(app) == []


def test_contradicting_settings_stop_the_call(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match=r"task_serializer.*accept_content"):
        add_to(make_app(task_serializer="pickle")).delay(1)


# --------------------------------------------------------------------------------------------------- times


def test_a_countdown_becomes_an_aware_eta(app: Umbel) -> None:
    before = datetime.now(UTC)
    call = prepared(add_to(app), countdown=60)
    assert call.outgoing.due_in == 60
    text = call.outgoing.frame.headers["eta"]
    assert text.endswith("+00:00")
    eta = datetime.fromisoformat(text)
    assert timedelta(seconds=59) < eta - before < timedelta(seconds=61)


def test_without_utc_the_eta_is_written_in_the_zone(make_app: MakeApp) -> None:
    app = make_app(enable_utc=False, timezone="Asia/Tokyo")
    assert prepared(add_to(app), countdown=60).outgoing.frame.headers["eta"].endswith("+09:00")


def test_a_countdown_of_0_is_none(app: Umbel) -> None:
    call = prepared(add_to(app), countdown=0)
    assert call.outgoing.due_in is None
    assert call.outgoing.frame.headers["eta"] is None


@pytest.mark.parametrize(
    ("eta", "written"),
    [
        (datetime(2031, 2, 3, 4, 5, 6), "2031-02-03T04:05:06"),
        (datetime(2031, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))), "2031-02-03T04:05:06+02:00"),
        (datetime(2031, 2, 3, 4, 5, 6, 789000, tzinfo=UTC), "2031-02-03T04:05:06.789000+00:00"),
    ],
)
def test_an_eta_is_written_as_it_is(app: Umbel, eta: datetime, written: str) -> None:
    call = prepared(add_to(app), eta=eta)
    assert call.outgoing.frame.headers["eta"] == written
    aware = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
    assert call.outgoing.due_in == pytest.approx((aware - datetime.now(UTC)).total_seconds(), abs=5)


def test_a_naive_eta_is_local_when_the_app_is(make_app: MakeApp) -> None:
    app = make_app(enable_utc=False, timezone="Asia/Tokyo")
    soon = (datetime.now(ZoneInfo("Asia/Tokyo")) + timedelta(minutes=1)).replace(tzinfo=None)
    assert prepared(add_to(app), eta=soon).outgoing.due_in == pytest.approx(60, abs=5)


def test_expires_in_seconds_and_as_a_time(app: Umbel) -> None:
    call = prepared(add_to(app), expires=120)
    assert call.envelope.expires is not None
    assert 118 < (call.envelope.expires - datetime.now(UTC)).total_seconds() <= 120
    assert int(call.outgoing.frame.properties["expiration"]) == pytest.approx(120_000, abs=2000)
    moment = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert prepared(add_to(app), expires=moment).outgoing.frame.headers["expires"] == moment.isoformat()
    assert prepared(add_to(app), expires=moment.isoformat()).envelope.expires == moment


def test_a_scheduled_call_waits_in_the_broker(make_app: MakeApp, url: str) -> None:
    app = make_app(broker=url)
    add_to(app).apply_async((1,), countdown=600)
    assert waiting(app) == []
    (shelved,) = waiting(app, "scheduled")
    assert shelved.due_in == pytest.approx(600, abs=10)


# -------------------------------------------------------------------------------------------------- routes


def upper(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
    return {"queue": f"arg-{args[0]}", "priority": 7} if args else None


class OldRouter:
    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> str | None:
        return "old" if task == "add" else None


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        ({"add": "exact"}, "exact"),
        ({"add": {"queue": "exact"}}, "exact"),
        ({"a*": {"queue": "glob"}}, "glob"),
        ({"a*": "glob", "add": "exact"}, "exact"),
        ({re.compile("^ad"): {"queue": "regex"}}, "regex"),
        ([("b*", "no"), ("ad*", "pairs")], "pairs"),
        ([[("b*", "no"), ("ad*", "pairs")]], "pairs"),
        ([{"x": "no"}, {"add": "second"}], "second"),
        (upper, "arg-1"),
        (f"{__name__}.upper", "arg-1"),
        (f"{__name__}:OldRouter", "old"),
        ([upper, {"add": "late"}], "arg-1"),
        ({"other": "no"}, "celery"),
        (None, "celery"),
    ],
)
def test_routes(make_app: MakeApp, routes: Any, queue: str) -> None:
    task = add_to(make_app(task_routes=routes))
    assert prepared(task).outgoing.queue == queue


def test_a_route_gives_way_to_the_task_and_the_call(make_app: MakeApp) -> None:
    routes = {"add": {"queue": "route", "priority": 5, "delivery_mode": 1}}
    assert prepared(add_to(make_app(task_routes=routes))).envelope.priority == 5
    assert prepared(add_to(make_app(task_routes=routes), priority=6)).envelope.priority == 6
    assert prepared(add_to(make_app(task_routes=routes), queue="task")).outgoing.queue == "task"
    assert prepared(add_to(make_app(task_routes=routes), queue="task"), queue="call").outgoing.queue == "call"
    assert prepared(add_to(make_app(task_routes=upper), queue="task")).envelope.priority == 7


def test_a_wrong_route_names_the_setting(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match=r"task_routes names 'no\.such\.router'"):
        add_to(make_app(task_routes="no.such.router")).delay(1)
    with pytest.raises(ConfigurationError, match="task_routes holds 3"):
        add_to(make_app(task_routes=[3])).delay(1)


def kombu_queue(name: str, exchange: str, kind: str, key: str) -> Any:
    return types.SimpleNamespace(
        name=name, exchange=types.SimpleNamespace(name=exchange, type=kind), routing_key=key
    )


@pytest.mark.parametrize(
    ("address", "queue"),
    [
        ({"exchange": "media", "routing_key": "video.hd.new"}, "videos"),
        ({"exchange": "media", "routing_key": "video"}, "videos"),
        ({"exchange": "media", "routing_key": "image.png"}, "images"),
        ({"exchange": "all", "routing_key": "whatever"}, "everything"),
        ({"exchange": "direct", "routing_key": "k"}, "keyed"),
        ({"routing_key": "plain"}, "plain"),
        ({"exchange": "", "routing_key": "images"}, "images"),
        ({"queue": "images", "routing_key": "ignored"}, "images"),
        ({"queue": kombu_queue("images", "media", "topic", "x")}, "images"),
        ({}, "plain"),
    ],
)
def test_exchange_and_routing_key_find_the_queue_that_is_bound_to_them(
    make_app: MakeApp, address: dict[str, Any], queue: str
) -> None:
    app = make_app(
        task_default_queue="plain",
        task_queues=[
            "plain",
            kombu_queue("videos", "media", "topic", "video.#"),
            kombu_queue("images", "media", "topic", "image.*"),
            kombu_queue("everything", "all", "fanout", ""),
            kombu_queue("keyed", "direct", "direct", "k"),
        ],
    )
    assert prepared(add_to(app), **address).outgoing.queue == queue
    assert list(app.queues) == ["plain", "videos", "images", "everything", "keyed"]


def test_an_address_that_nobody_listens_at_is_an_error(make_app: MakeApp) -> None:
    app = make_app(
        task_queues={"a": {"exchange": "ex", "routing_key": "k"}, "b": None}, task_default_queue="b"
    )
    assert prepared(add_to(app), exchange="ex", routing_key="k").outgoing.queue == "a"
    with pytest.raises(
        CallError, match=r"No queue of task_queues is bound to exchange 'ex' with routing key 'x'"
    ):
        add_to(app).apply_async((1,), exchange="ex", routing_key="x")


def test_a_routing_key_that_is_no_string_is_refused(app: Umbel) -> None:
    with pytest.raises(CallError, match="A routing key must be a string, not 5"):
        add_to(app).apply_async((1,), routing_key=5)  # type: ignore[arg-type]


def test_a_queue_that_may_not_be_made_up_is_refused(make_app: MakeApp) -> None:
    app = make_app(task_queues=["mail", "celery"], task_create_missing_queues=False)
    with pytest.raises(CallError, match=r"'mial' is not in task_queues.*Did you mean 'mail'"):
        add_to(app).apply_async((1,), queue="mial")


# -------------------------------------------------------------------------------------------------- family


def test_a_call_inside_a_task_knows_its_parent_and_is_kept_as_its_child(app: Umbel) -> None:
    task = add_to(app)
    request = Request(id="parent", root_id="root", called_directly=False, delivery_info={"priority": 9})
    with running(task, request):
        child = prepared(task)
        sent = task.delay(1)
        task.apply_async((1,), add_to_parent=False)
    assert (child.envelope.parent_id, child.envelope.root_id, child.envelope.priority) == (
        "parent",
        "root",
        0,
    )
    assert request.children == [sent]
    outside = prepared(task).envelope
    assert (outside.parent_id, outside.root_id) == (None, outside.id)


def test_priority_is_inherited_when_the_setting_says_so(make_app: MakeApp) -> None:
    task = add_to(make_app(task_inherit_parent_priority=True))
    with running(task, Request(id="p", called_directly=False, delivery_info={"priority": 9})):
        assert prepared(task).envelope.priority == 9
        assert prepared(task, priority=1).envelope.priority == 1


def test_without_trail_no_children_are_kept(app: Umbel) -> None:
    task = add_to(app, trail=False)
    request = Request(id="p", called_directly=False)
    with running(task, request):
        task.delay(1)
    assert request.children == []


# ------------------------------------------------------------------------------------- middleware, next try


def test_middleware_may_change_a_call(app: Umbel) -> None:
    @app.before_send
    def tenant(envelope: Envelope) -> Envelope:
        return msgspec.structs.replace(envelope, headers={**envelope.headers, "tenant": "acme"}, queue="acme")

    add_to(app).delay(1)
    (shelved,) = waiting(app)
    assert shelved.frame is not None
    assert (shelved.queue, shelved.frame.headers["tenant"]) == ("acme", "acme")


def test_middleware_that_forgets_to_return_is_told(app: Umbel) -> None:
    app.before_send(lambda envelope: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="must return an Envelope"):
        add_to(app).delay(1)


def test_the_next_try_keeps_what_the_call_was(app: Umbel) -> None:
    task = add_to(app, queue="elsewhere", priority=3)
    first = prepared(
        task, queue="mine", priority=-7, expires=600, headers={"a": 1}, argsrepr="(hidden)", link=app.signature("after"), group_id="g",
        time_limit=9,
    ).envelope  # fmt: skip
    retry = Retry(None, OSError("x"), 30, args=None, kwargs=None, retries=1, options={})
    outgoing = app.client.next_try(first, retry)
    again = decode_call(outgoing.frame)
    assert (outgoing.queue, outgoing.priority, outgoing.due_in) == ("mine", -7, 30)
    assert (again.id, again.retries, again.parent_id, again.root_id) == (first.id, 1, first.id, first.id)
    assert (again.args, again.headers, again.argsrepr, again.group_id, again.time_limit) == (
        (1, 2),
        {"a": 1},
        "(hidden)",
        "g",
        9,
    )
    assert again.embed.callbacks == first.embed.callbacks
    assert again.expires == first.expires


def test_the_next_try_may_differ(app: Umbel) -> None:
    task = add_to(app)
    eta = datetime.now(UTC) + timedelta(seconds=50)
    retry = Retry(
        None, None, eta, args=(7,), kwargs={"z": 1}, retries=4, options={"queue": "slow", "priority": 1}
    )
    outgoing = app.client.next_try(prepared(task, argsrepr="(hidden)").envelope, retry)
    again = decode_call(outgoing.frame)
    assert (again.args, again.kwargs, again.retries, again.argsrepr) == ((7,), {"z": 1}, 4, "(7,)")
    assert (outgoing.queue, outgoing.priority) == ("slow", 1)
    assert outgoing.due_in == pytest.approx(50, abs=2)


def test_a_retry_that_was_raised_by_hand_counts_too(app: Umbel) -> None:
    again = decode_call(app.client.next_try(prepared(add_to(app)).envelope, Retry(when=5)).frame)
    assert again.retries == 1


# ------------------------------------------------------------------------------------------------ deadline


@pytest.fixture
def dead_url() -> str:
    """A Redis that is not there, with a password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://:secret@127.0.0.1:{probe.getsockname()[1]}/0"


def test_a_broker_that_is_down_fails_within_the_deadline_and_names_itself(
    make_app: MakeApp, dead_url: str
) -> None:
    app = make_app(broker=dead_url, backend=None, broker_send_timeout=1.0)
    task = add_to(app)
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable) as caught:
        task.apply_async(
            (1,), retry_policy={"max_retries": None, "interval_start": 0.1, "interval_step": 0.1}
        )
    assert 0.4 < time.monotonic() - begun < 3
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert re.search(r"Nothing was sent, after \d+ tries", str(caught.value))


def test_retry_false_is_one_try_and_max_retries_is_kept(make_app: MakeApp, dead_url: str) -> None:
    task = add_to(make_app(broker=dead_url, backend=None))
    with pytest.raises(BrokerUnavailable, match="after 1 try:"):
        task.apply_async((1,), retry=False)
    with pytest.raises(BrokerUnavailable, match="after 3 tries:"):
        task.apply_async((1,), retry_policy={"max_retries": 2, "interval_step": 0.01})


def test_coroutines_have_the_deadline_too(make_app: MakeApp, dead_url: str) -> None:
    task = add_to(make_app(broker=dead_url, backend=None))

    async def main() -> None:
        with pytest.raises(BrokerUnavailable, match="after 2 tries:"):
            await task.aapply_async((1,), retry_policy={"max_retries": 1})

    asyncio.run(main())


class Flaky(CountingBroker):
    def send_now(self, batch: Sequence[Outgoing], *, timeout: float | None = None) -> None:
        if len(self.batches) < 2:
            self.batches.append(0)
            raise BrokerUnavailable("not yet")
        super().send_now(batch, timeout=timeout)


def test_a_broker_that_comes_back_gets_the_message_once(app: Umbel) -> None:
    broker = Flaky(app.broker)
    app._connections._broker = (app._connections._broker_key(), broker)  # type: ignore[assignment]
    add_to(app).delay(1)
    assert broker.batches == [0, 0, 1]
    assert len(waiting(app)) == 1


# ----------------------------------------------------------------------------------------------- hot path


def test_preparing_a_plain_call_does_little(app: Umbel) -> None:
    """A bound on work, not on time: how many function calls a prepared call of no options takes."""
    import cProfile
    import pstats

    task = add_to(app)
    task.delay(1, 2)
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(100):
        prepared_call = app.client.prepare("add", (1, 2), {}, None, task)
    profile.disable()
    assert prepared_call.result.id
    assert pstats.Stats(profile).total_calls / 100 < 60  # type: ignore[attr-defined]


def test_a_sending_thread_that_cannot_be_started_is_free_again(app: Umbel) -> None:
    senders = app.client._senders
    assert senders.take()
    usual, senders._pool = senders._pool, ThreadPoolExecutor(1)
    senders._pool.shutdown()  # as when the interpreter ends
    with pytest.raises(RuntimeError):
        asyncio.run(senders.run(lambda: None))
    senders._pool = usual
    assert sum(senders.take() for _ in range(5)) == 4
