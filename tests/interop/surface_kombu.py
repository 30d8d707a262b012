"""Small programs that say ``from kombu import …``. Run as a script it prints what each of them sees, as JSON.

The same file is run with kombu and with Umbel in its place; ``test_kombu.py`` compares. All of it is in memory.
"""

from __future__ import annotations

import datetime
import decimal
import json
import sys
import uuid as uuids
import warnings
from collections.abc import Callable
from typing import Any

PROGRAMS: dict[str, Callable[[], Any]] = {}


def program(function: Callable[[], Any]) -> Callable[[], Any]:
    PROGRAMS[function.__name__] = function
    return function


def _connection() -> Any:
    from kombu import Connection

    return Connection("memory://")


def _fresh(name: str) -> str:
    return f"{name}.{uuids.uuid4().hex[:8]}"


def _outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except Exception as exc:  # noqa: BLE001 - what it raises is what is compared
        return type(exc).__name__


@program
def names_that_projects_import() -> Any:
    import kombu
    from kombu import Connection, Consumer, Exchange, Message, Producer, Queue, binding, uuid  # noqa: F401
    from kombu.common import Broadcast, eventloop, itermessages, maybe_declare  # noqa: F401
    from kombu.connection import Connection as Same
    from kombu.entity import PERSISTENT_DELIVERY_MODE, TRANSIENT_DELIVERY_MODE
    from kombu.exceptions import (  # noqa: F401
        ChannelError,
        ConnectionLimitExceeded,
        ContentDisallowed,
        DecodeError,
        EncodeError,
        InconsistencyError,
        KombuError,
        LimitExceeded,
        MessageStateError,
        NotBoundError,
        OperationalError,
        SerializationError,
        SerializerNotInstalled,
    )
    from kombu.log import LogMixin, get_logger
    from kombu.messaging import Consumer as SameConsumer
    from kombu.mixins import ConsumerMixin, ConsumerProducerMixin
    from kombu.pools import connections, producers, reset, set_limit  # noqa: F401
    from kombu.serialization import registry
    from kombu.simple import SimpleBuffer, SimpleQueue  # noqa: F401
    from kombu.utils import uuid as same_uuid
    from kombu.utils.compat import nested  # noqa: F401
    from kombu.utils.imports import symbol_by_name
    from kombu.utils.objects import cached_property  # noqa: F401

    return [
        Same is Connection,
        SameConsumer is Consumer,
        [PERSISTENT_DELIVERY_MODE, TRANSIENT_DELIVERY_MODE],
        issubclass(ConsumerProducerMixin, ConsumerMixin),
        len(uuid()) == len(same_uuid()),
        symbol_by_name("kombu:Connection") is symbol_by_name("kombu.Connection") is Connection,
        issubclass(ConnectionLimitExceeded, LimitExceeded),
        registry.name_to_type["json"],
        get_logger("x").name,
        kombu.__version__[:1],
        LogMixin.__name__,
    ]


@program
def a_producer_and_a_consumer() -> Any:
    from kombu import Consumer, Exchange, Producer, Queue

    name = _fresh("plain")
    queue = Queue(name, Exchange(name, type="direct"), routing_key="key")
    seen: list[Any] = []

    def hear(body: Any, message: Any) -> None:
        info = message.delivery_info
        seen.append([body, message.headers, message.content_type, message.content_encoding])
        seen.append([info["exchange"] == name, info["routing_key"], message.properties["correlation_id"]])
        seen.append([message.payload == body, message.acknowledged])
        message.ack()
        seen.append([message.acknowledged, _outcome(message.ack), _outcome(message.reject)])

    with _connection() as connection:
        producer = Producer(connection, exchange=queue.exchange, routing_key="key")
        with Consumer(connection, [queue], callbacks=[hear]) as consumer:
            producer.publish({"n": 1}, headers={"h": "x"}, correlation_id="c", declare=[queue])
            producer.publish("text", correlation_id="d")
            producer.publish(b"raw", correlation_id="e", content_type="application/data")
            producer.publish([2], correlation_id="f", compression="zlib", serializer="json")
            for _ in range(4):
                connection.drain_events(timeout=2)
            seen.append(_outcome(connection.drain_events, timeout=0.05))
            seen.append([consumer.consuming_from(name), consumer.consuming_from("other")])
        seen.append(connection.connected)
    return seen


@program
def exchanges_of_every_type() -> Any:
    from kombu import Exchange, Producer, Queue, binding

    seen = []
    with _connection() as connection:
        channel = connection.channel()

        def send(exchange: Any, *keys: str) -> None:
            producer = Producer(channel, exchange=exchange)
            for key in keys:
                producer.publish({"key": key}, routing_key=key)

        def found(queue: Any) -> list[str]:
            messages = []
            while (message := queue.get(no_ack=True)) is not None:
                messages.append(message.payload["key"])
            return sorted(messages)

        topic = Exchange(_fresh("topic"), type="topic")
        patterns = ["a.*", "a.#", "#.c", "a.b.c", "#", "*.b.*"]
        queues = [Queue(_fresh("t"), topic, routing_key=pattern)(channel) for pattern in patterns]
        for queue in queues:
            queue.declare()
        send(topic, "a.b", "a.b.c", "a", "x.c", "x.b.y")
        seen.append([found(queue) for queue in queues])

        fan = Exchange(_fresh("fan"), type="fanout")
        queues = [Queue(_fresh("f"), fan)(channel) for _ in range(2)]
        for queue in queues:
            queue.declare()
        send(fan, "one", "")
        seen.append([found(queue) for queue in queues])

        direct = Exchange(_fresh("direct"))
        queue = Queue(_fresh("d"), bindings=[binding(direct, routing_key=key) for key in ("x", "y")])(channel)
        queue.declare()
        send(direct, "x", "y", "z")
        seen.append(found(queue))
        queue.unbind_from(direct, routing_key="x")
        queue.bind_to(direct, routing_key="z")
        if type(queue).__module__.startswith("umbel"):  # in kombu unbinding deletes what waits
            queue.purge()
        send(direct, "y", "z")
        seen.append([key for key in found(queue) if key == "z"])

        queue = Queue(_fresh("anonymous"))(channel)
        queue.declare()
        Producer(channel).publish({"key": "default"}, routing_key=queue.name)
        seen.append(found(queue))
    return seen


@program
def entities() -> Any:
    from kombu import Exchange, Queue
    from kombu.common import Broadcast

    queue = Queue("q", Exchange("e", type="topic"), routing_key="k.#", durable=False)
    with _connection() as connection:
        bound = queue(connection.default_channel)
        return [
            [queue.name, queue.exchange.name, queue.exchange.type, queue.routing_key, queue.durable],
            [queue.is_bound, bound.is_bound, bound == queue, hash(Exchange("a")) == hash(Exchange("a"))],
            _outcome(queue.declare),
            [Exchange("a") == Exchange("a"), Exchange("a") == Exchange("a", type="topic")],
            [Queue("x").exchange.name, Queue("x", "ex").exchange.name, str(Exchange("a")).count("a") > 0],
            [Broadcast("all").exchange.type, Broadcast("all").exchange.name],
            Broadcast("all").name.startswith("bcast."),
            Queue.from_dict("d", exchange="de", exchange_type="topic", routing_key="x").exchange.type,
        ]


@program
def simple_queues() -> Any:
    from kombu.simple import SimpleQueue

    seen: list[Any] = []
    with _connection() as connection:
        name = _fresh("simple")
        with connection.SimpleQueue(name) as queue:
            queue.put({"n": 1})
            queue.put({"n": 2}, headers={"a": 1})
            queue.put({"n": 3}, serializer="json", compression="zlib")
            seen += [queue.qsize(), len(queue), bool(queue)]
            message = queue.get(block=True, timeout=2)
            seen.append(message.payload)
            message.ack()
            message = queue.get(timeout=2)
            seen.append([message.payload, message.headers])
            message.ack()
        with SimpleQueue(connection, name) as queue:
            message = queue.get_nowait()
            message.requeue()
            message = queue.get_nowait()
            seen.append(message.payload)
            message.ack()
            seen.append(_outcome(queue.get_nowait))
            seen.append(_outcome(queue.get, timeout=0.05))
            queue.put(1)
            queue.put(2)
            seen += [queue.clear(), queue.qsize()]
        with connection.SimpleBuffer(_fresh("buffer")) as buffer:
            buffer.put({"n": 4})
            seen.append(buffer.get(timeout=2).payload)
    return seen


@program
def consumers_in_detail() -> Any:
    from kombu import Consumer, Producer, Queue
    from kombu.exceptions import ContentDisallowed, DecodeError

    seen: list[Any] = []
    with _connection() as connection:
        first, second = Queue(_fresh("one"), "", ""), Queue(_fresh("two"))
        channel = connection.channel()
        consumer = Consumer(channel, first, on_message=lambda m: seen.append(m.payload), no_ack=True)
        producer = Producer(channel)
        consumer.consume()
        consumer.add_queue(second)
        for queue in (first, second):
            producer.publish({"to": queue is first}, routing_key=queue.name)
        connection.drain_events(timeout=2)
        seen.append(_outcome(connection.drain_events, timeout=0.05))
        consumer.consume()
        connection.drain_events(timeout=2)
        consumer.cancel_by_queue(second.name)
        seen.append([consumer.consuming_from(first), consumer.consuming_from(second)])
        producer.publish(1, routing_key=first.name)
        seen.append(consumer.purge())
        consumer.cancel()

        held: list[Any] = []
        other = connection.channel()
        careful = Consumer(other, first, callbacks=[lambda body, m: held.append(m)], prefetch_count=2)
        careful.consume()
        for number in range(3):
            producer.publish(number, routing_key=first.name)
        for _ in range(2):
            connection.drain_events(timeout=2)
        seen.append([m.payload for m in held])
        seen.append(_outcome(connection.drain_events, timeout=0.05))
        held[0].ack()
        connection.drain_events(timeout=2)
        seen.append([m.payload for m in held])
        held[1].reject()
        held[2].requeue()
        connection.drain_events(timeout=2)
        seen.append([m.payload for m in held])
        seen.append([m.acknowledged for m in held])

        broken: list[Any] = []
        third = Queue(_fresh("three"))
        reader = Consumer(
            connection.channel(),
            third,
            callbacks=[lambda body, m: broken.append(body)],
            accept=["json"],
            on_decode_error=lambda m, exc: broken.append(isinstance(exc, (DecodeError, ContentDisallowed))),
            no_ack=True,
        )
        with reader:
            producer.publish(b"{no json", routing_key=third.name, content_type="application/json")
            producer.publish({"x": 1}, routing_key=third.name, serializer="pickle")
            producer.publish({"x": 2}, routing_key=third.name)
            for _ in range(3):
                connection.drain_events(timeout=2)
        seen.append(broken)
    return seen


@program
def a_program_of_a_mixin() -> Any:
    from kombu import Exchange, Queue
    from kombu.mixins import ConsumerProducerMixin

    seen: list[Any] = []
    asked, answers = Queue(_fresh("asked"), Exchange(""), ""), Queue(_fresh("answers"))

    class Server(ConsumerProducerMixin):
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def get_consumers(self, Consumer: Any, channel: Any) -> Any:
            return [Consumer(queues=[asked], callbacks=[self.on_request], accept=["json"], prefetch_count=1)]

        def on_consume_ready(self, connection: Any, channel: Any, consumers: Any, **more: Any) -> None:
            seen.append(len(consumers))

        def on_request(self, body: Any, message: Any) -> None:
            to, about = message.properties["reply_to"], message.properties["correlation_id"]
            self.producer.publish(
                body["n"] + 1,
                exchange="",
                routing_key=to,
                correlation_id=about,
                serializer="json",
                retry=True,
            )
            message.ack()
            self.should_stop = body["n"] == 2

    with _connection() as connection:
        channel = connection.default_channel
        for queue in (asked, answers):
            queue(channel).declare()
        for number in (1, 2):
            connection.Producer().publish(
                {"n": number}, routing_key=asked.name, reply_to=answers.name, correlation_id=str(number)
            )
        Server(connection).run()
        for _ in range(2):
            message = answers(channel).get(no_ack=True)
            seen.append([message.payload, message.properties["correlation_id"]])
    return seen


@program
def pools_of_producers() -> Any:
    from kombu import Connection, Queue
    from kombu.common import maybe_declare
    from kombu.pools import connections, producers

    seen = []
    connection = Connection("memory://")
    queue = Queue(_fresh("pooled"))
    with producers[connection].acquire(block=True) as producer:
        seen.append([maybe_declare(queue, producer.channel), maybe_declare(queue, producer.channel)])
        producer.publish({"n": 1}, routing_key=queue.name, retry=True, retry_policy={"max_retries": 2})
    with connections[connection].acquire(block=True) as pooled:
        seen.append(queue(pooled.default_channel).get(no_ack=True).payload)
    pool = connection.Pool(limit=1)
    held = pool.acquire()
    seen.append(_outcome(pool.acquire, block=False))
    held.release()
    pool.acquire(block=True).release()
    return seen


@program
def loops() -> Any:
    from kombu import Queue
    from kombu.common import eventloop, itermessages

    with _connection() as connection:
        queue = Queue(_fresh("loop"))
        channel = connection.channel()
        queue(channel).declare()
        for number in range(3):
            connection.Producer().publish(number + 1, routing_key=queue.name)
        got = [body for body, _ in itermessages(connection, channel, queue, limit=3, timeout=1, no_ack=True)]
        try:
            for _ in eventloop(connection, limit=1, timeout=0.05):
                pass
        except TimeoutError:
            got.append("timeout")
        list(eventloop(connection, limit=1, timeout=0.05, ignore_timeouts=True))
        return got


@program
def connections() -> Any:
    from kombu import Connection

    masked = Connection("redis://me:secret@somewhere:6380/3")
    calls: list[int] = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) < 2:
            raise connection.recoverable_connection_errors[0]("no")
        return "done"

    connection = Connection("memory://")
    errors = []
    ensured = connection.ensure(
        connection.Producer(),
        flaky,
        errback=lambda exc, interval: errors.append(interval),
        max_retries=5,
        interval_start=0,
        interval_step=0,
    )
    closed = Connection("redis://127.0.0.1:1/0")
    error = connection.connection_errors
    try:
        closed.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        refused = "no"
    except Exception as exc:  # noqa: BLE001 - what it raises is what is compared
        refused = type(exc).__name__ in ("OperationalError", "BrokerUnavailable")
    return [
        "secret" in masked.as_uri(),
        masked.as_uri(),
        masked.as_uri(include_password=True).count("secret"),
        [masked.hostname, masked.port, masked.userid, masked.password, masked.virtual_host],
        [connection.transport_cls, masked.transport_cls, connection.connected],
        [connection.connect() is not None, connection.connected],
        [connection.clone().connected, connection.clone(hostname="memory://").transport_cls],
        [ensured(), errors],
        [isinstance(error, tuple), refused],
        [connection.close(), connection.connected],
    ]


@program
def serializers() -> Any:
    from kombu import Queue, serialization
    from kombu.serialization import dumps, loads, register, unregister

    register("upper", lambda v: json.dumps(v).upper(), lambda d: json.loads(d), "application/x-upper")
    seen: list[Any] = [dumps({"a": "b"}, serializer="upper")[0], dumps("text")[:2], dumps(b"raw")[:2]]
    seen.append(dumps([1])[0])
    with _connection() as connection:
        queue = Queue(_fresh("upper"))(connection.default_channel)
        queue.declare()
        connection.Producer(serializer="upper").publish({"a": "b"}, routing_key=queue.name)
        seen.append(queue.get(no_ack=True, accept=["upper"]).payload)
        connection.Producer(serializer="upper").publish({"a": "b"}, routing_key=queue.name)
        seen.append(_outcome(queue.get(no_ack=True, accept=["json"]).decode))
    unregister("upper")
    seen.append(_outcome(unregister, "upper"))
    seen.append(_outcome(dumps, 1, serializer="upper"))
    pickled = dumps({1}, serializer="pickle")
    seen.append(_outcome(loads, pickled[2], pickled[0], pickled[1]))
    serialization.enable_insecure_serializers(["pickle"])
    seen.append(sorted(loads(pickled[2], pickled[0], pickled[1])))
    serialization.disable_insecure_serializers()
    seen.append(_outcome(loads, pickled[2], pickled[0], pickled[1]))
    seen.append(loads(b'{"a": 1}', "application/json", "utf-8", accept=["application/json"]))
    return seen


@program
def types_of_ones_own_in_json() -> Any:
    from kombu.utils.json import dumps, loads, register_type

    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    register_type(Money, "money", lambda m: {"cents": m.cents}, lambda v: Money(**v))
    text = dumps({"price": Money(5), "at": datetime.date(2026, 1, 2), "d": decimal.Decimal("1.5")})
    back = loads(text)
    return [
        json.loads(text),
        back["price"].cents,
        str(back["at"]),
        str(back["d"]),
        loads(b"[1]"),
        dumps({"b": 1, "a": 2}, sort_keys=True),
        _outcome(loads, '{"__type__": "nobody", "__value__": 1}'),
        _outcome(dumps, object()),
    ]


@program
def helpers() -> Any:
    from kombu.utils.encoding import bytes_to_str, safe_repr, safe_str, str_to_bytes
    from kombu.utils.functional import (
        LRUCache,
        dictfilter,
        fxrange,
        is_list,
        lazy,
        maybe_evaluate,
        maybe_list,
        memoize,
        reprcall,
        retry_over_time,
    )
    from kombu.utils.imports import symbol_by_name
    from kombu.utils.limits import TokenBucket
    from kombu.utils.objects import cached_property
    from kombu.utils.url import as_url, maybe_sanitize_url, parse_url

    cache = LRUCache(limit=2)
    cache["a"], cache["b"] = 1, 2
    cache["a"]
    cache["c"] = 3

    class Thing:
        @cached_property
        def value(self) -> object:
            return object()

    thing = Thing()

    @memoize(maxsize=2)
    def double(x: int) -> int:
        return x * 2

    bucket = TokenBucket(1, capacity=2)
    tries: list[int] = []

    def third() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise KeyError
        return len(tries)

    return [
        sorted(cache),
        thing.value is thing.value,
        [double(2), double(2), double.hits, double.misses],
        [bucket.can_consume(), bucket.can_consume(), bucket.can_consume(), bucket.expected_time() > 0.5],
        [maybe_list(None), maybe_list("x"), maybe_list([1]), maybe_list({"a": 1}), is_list(()), is_list("")],
        [dictfilter({"a": None, "b": 1}), dictfilter(a=1, b=None), list(fxrange(1.0, 3.0, 1.0))],
        [maybe_evaluate(lazy(int, "3")), maybe_evaluate(4), str(lazy(int, "5")), lazy(int, "5") == 5],
        [bytes_to_str(b"a"), str_to_bytes("a").decode(), safe_str(b"a"), safe_repr([1]), bytes_to_str(None)],
        [
            reprcall("f", (1,), {"a": "b"}),
            retry_over_time(third, KeyError, interval_start=0, interval_step=0),
        ],
        [symbol_by_name("json.dumps") is json.dumps, symbol_by_name("a", {"a": "json:loads"}) is json.loads],
        [symbol_by_name("no.such", default=1), symbol_by_name(json) is json],
        [maybe_sanitize_url("redis://u:p@h:1/2"), maybe_sanitize_url("x"), maybe_sanitize_url(None)],
        parse_url("redis://u:p@h:1/2"),
        as_url("redis", "h", 1, path="2"),
    ]


def _app(**settings: Any) -> Any:
    from celery import Celery

    return Celery("surface", broker="memory://", set_as_current=False, changes=settings or None)


@program
def the_amqp_of_an_app() -> Any:
    from kombu import Exchange, Queue

    app = _app(
        task_queues=[Queue("a", Exchange("ex"), "a.key"), Queue("b", Exchange("b"), "b")],
        task_default_queue="a",
        task_routes={"to.b": {"queue": "b", "priority": 3}},
    )
    amqp = app.amqp
    routed = amqp.router.route({"x": 1}, "to.b", (), {})
    message = amqp.create_task_message("id", "name", (1,), {"k": 2}, group_id="g", create_sent_event=True)
    quiet = amqp.create_task_message("id", "name", countdown=10)
    headers = {k: v for k, v in message.headers.items() if k != "origin"}
    return [
        [routed["queue"].name, routed["priority"], routed["x"]],
        [
            amqp.router.route({}, "other")["queue"].name,
            amqp.router.route({"queue": "b"}, "other")["queue"].name,
        ],
        headers,
        message.properties,
        message.body,
        message.sent_event,
        [quiet.sent_event, quiet.headers["eta"] is not None, quiet.body],
        [amqp.argsrepr_maxsize, amqp.default_queue.name, amqp.utc, message._fields],
        _outcome(amqp.create_task_message, "id", "name", 3),
    ]


@program
def messages_sent_by_hand() -> Any:
    from celery.signals import before_task_publish

    told: list[Any] = []

    @before_task_publish.connect(weak=False)
    def hear(sender: Any, routing_key: str, **more: Any) -> None:
        told.append([sender, routing_key])

    app = _app()
    name = _fresh("hand")
    message = app.amqp.create_task_message("abc", "by.hand", (1, 2))
    with app.producer_or_acquire() as producer:
        app.amqp.send_task_message(producer, "by.hand", message, queue=name, retry=True, priority=3)
    with app.connection_or_acquire() as connection:
        with connection.channel() as channel:
            got = app.amqp.Producer(channel).channel.basic_get(name, no_ack=True)
        seen = [got.headers["task"], got.headers["id"], json.loads(got.body)[0], got.content_type]
    with app.pool.acquire(block=True) as connection:
        seen.append(connection.as_uri().startswith("memory://"))
    with app.producer_or_acquire(producer) as same:
        seen.append(same is producer)
    with app.connection_for_write() as connection, app.connection_or_acquire(connection) as same:
        seen.append(same is connection)
    before_task_publish.disconnect(hear)
    return [seen, told == [["by.hand", name]]]


def main() -> None:
    warnings.simplefilter("ignore")
    report = {}
    for name, function in PROGRAMS.items():
        try:
            report[name] = function()
        except Exception as exc:  # noqa: BLE001 - what it raises is what is compared
            report[name] = [type(exc).__name__, str(exc)]
    json.dump(report, sys.stdout, default=str)


if __name__ == "__main__":
    main()
