"""Programs that import kombu, run by Umbel in its place; and both on one Redis."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import kombu
import pytest

from interop.harness import Place
from interop.surface_kombu import PROGRAMS
from umbel.contrib.celery.connection import Connection
from umbel.contrib.celery.kombu_errors import NotEquivalentError
from umbel.contrib.celery.queues import Exchange, Queue
from umbel.errors import BrokerUnavailable, CapabilityError

HERE = pathlib.Path(__file__).parent
UMBEL = ("-m", "umbel.celery")


@functools.cache
def surface(engine: tuple[str, ...]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run(*engine, str(HERE / "surface_kombu.py")))
    return report


def run(*arguments: str, cwd: pathlib.Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_small_program_sees_the_same(name: str) -> None:
    with_kombu = surface(())[name]
    assert not (isinstance(with_kombu[0], str) and with_kombu[0].endswith("Error")), with_kombu
    assert surface(UMBEL)[name] == with_kombu


# --------------------------------------------------------------------------------------------- on one Redis

SIDES: dict[str, tuple[Any, Any, Any]] = {
    "kombu": (kombu.Connection, kombu.Exchange, kombu.Queue),
    "umbel": (Connection, Exchange, Queue),
}


@pytest.mark.parametrize(("sender", "receiver"), [("kombu", "umbel"), ("umbel", "kombu")])
@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_one_side_publishes_and_the_other_reads(
    sender: str, receiver: str, kind: str, place: Place, fresh: str
) -> None:
    """The receiver alone declares queue and binding; the sender finds them on the server."""
    pattern = "orders.*.new" if kind == "topic" else "orders.eu.new"
    seen: list[Any] = []

    def hear(body: Any, message: Any) -> None:
        info = message.delivery_info
        seen.append([body, message.headers["h"], message.properties["correlation_id"], message.content_type])
        seen.append([info["exchange"], info["routing_key"]])
        message.ack()

    connect, exchange, queue = SIDES[receiver]
    with connect(place.broker) as connection:
        bound = queue(fresh, exchange(f"{fresh}.ex", type=kind), routing_key=pattern)
        with connection.Consumer(bound, callbacks=[hear], accept=["json"]):
            make, their_exchange, _ = SIDES[sender]
            with make(place.broker) as other:
                producer = other.Producer(exchange=their_exchange(f"{fresh}.ex", type=kind))
                how = {"headers": {"h": "é"}, "serializer": "json"}
                for key in ("orders.eu.new", "orders.old"):
                    producer.publish({"n": 1}, routing_key=key, correlation_id="c", **how)
                producer.publish(
                    [2], routing_key="orders.eu.new", correlation_id="d", compression="zlib", **how
                )
            for _ in range(2):
                connection.drain_events(timeout=10)
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.2)
    address = [f"{fresh}.ex", "orders.eu.new"]
    first, second = [{"n": 1}, "é", "c", "application/json"], [[2], "é", "d", "application/json"]
    assert seen == [first, address, second, address]


def test_the_binding_is_kombus(place: Place, fresh: str) -> None:
    members = []
    for connect, exchange, queue in SIDES.values():
        with connect(place.broker) as connection:
            queue(f"{fresh}.q", exchange(fresh, type="topic"), routing_key="a-b.*.#")(
                connection.default_channel
            ).declare()
        members.append(place.messages.smembers(f"_kombu.binding.{fresh}"))
        place.messages.delete(f"_kombu.binding.{fresh}")
    assert members[0] == members[1]


def test_simple_queues_meet(place: Place, fresh: str) -> None:
    with Connection(place.broker) as ours, kombu.Connection(place.broker) as theirs:
        our_queue, their_queue = ours.SimpleQueue(fresh), theirs.SimpleQueue(fresh)
        our_queue.put({"from": "umbel"})
        message = their_queue.get(timeout=10)
        message.ack()
        assert message.payload == {"from": "umbel"}
        their_queue.put({"from": "kombu"})
        message = our_queue.get(timeout=10)
        message.ack()
        assert message.payload == {"from": "kombu"}


@pytest.mark.parametrize("end", ["close", "requeue", "exit"])
def test_what_is_not_acknowledged_comes_again(end: str, place: Place, fresh: str) -> None:
    program = """
        import sys
        from umbel.contrib.celery.connection import Connection
        connection = Connection(sys.argv[1])
        queue = connection.SimpleQueue(sys.argv[2])
        queue.put("x", serializer="json")
        message = queue.get(timeout=10)
        {"close": connection.close, "requeue": message.requeue, "exit": lambda: None}[sys.argv[3]]()
    """
    run("-c", textwrap.dedent(program), place.broker, fresh, end)
    with Connection(place.broker) as connection:
        message = connection.SimpleQueue(fresh).get(timeout=10)
        assert message.payload == "x"
        message.ack()


def test_what_is_rejected_is_among_the_dead(place: Place, fresh: str, run_umbel: Callable[..., str]) -> None:
    with Connection(place.broker) as connection:
        queue = connection.SimpleQueue(fresh)
        queue.put({"n": 1}, correlation_id=fresh)
        queue.get(timeout=10).reject()
        assert queue.qsize() == 0
    assert "rejected by its consumer" in run_umbel("dead", "list", "-Q", fresh, "--json")


def test_what_cannot_be_done_says_so() -> None:
    with Connection("memory://cannot") as connection:
        channel = connection.channel()
        with pytest.raises(CapabilityError, match="topic exchange"):
            channel.exchange_declare("h", "headers")
        with pytest.raises(CapabilityError, match="bind_to"):
            Exchange("a")(channel).bind_to("b")
        with pytest.raises(CapabilityError, match="drain_events"):
            connection.register_with_event_loop(None)
        channel.exchange_declare("e", "topic")
        with pytest.raises(NotEquivalentError):
            channel.exchange_declare("e", "direct")
    with pytest.raises(BrokerUnavailable):
        Connection("redis://127.0.0.1:1").ensure_connection(max_retries=0)


# ---------------------------------------------------------------------------------------------------- tasks

TASKS = """
import json, os
from celery import Celery
from kombu.serialization import register
from kombu.utils.json import register_type


class Money:
    def __init__(self, cents):
        self.cents = cents


register_type(Money, "money", lambda m: m.cents, Money)
register("mine", lambda v: "mine" + json.dumps(v), lambda d: json.loads(d[4:]), "application/x-mine")
url = os.environ["MINE_REDIS"]
app = Celery("mine", broker=url, backend=url)
app.conf.update(
    accept_content=["json", "mine"], task_serializer="mine", result_serializer="json", task_default_queue="mine-queue",
    broker_connection_retry_on_startup=True,
)


@app.task(name="mine.add")
def add(x, y):
    return x + y


@app.task(name="mine.pay", serializer="json")
def pay(money):
    return money.cents + 1


if __name__ == "__main__":
    sent = add.delay(1, 2)
    with app.connection_or_acquire() as connection, app.producer_or_acquire() as producer:
        told = add.apply_async((3, 4), producer=producer, connection=connection)
        message = app.amqp.create_task_message("by-hand", "mine.add", (5, 6))
        app.amqp.send_task_message(producer, "mine.add", message)
    by_hand = app.AsyncResult("by-hand")
    print([r.get(timeout=60) for r in (sent, told, by_hand, pay.delay(Money(5)))])
"""


@pytest.mark.parametrize(("client", "worker"), [("umbel", "umbel"), ("umbel", "celery"), ("celery", "umbel")])
def test_serializers_and_types_of_a_program_work_for_its_tasks(
    client: str, worker: str, place: Place, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "mine.py").write_text(TASKS)
    place.results.delete("celery-task-meta-by-hand")
    environment = {"MINE_REDIS": place.broker, "C_FORCE_ROOT": "1"}
    engine = {"umbel": UMBEL, "celery": ()}
    running = subprocess.Popen(
        [sys.executable, *engine[worker], "-m", "celery", "-A", "mine", "worker", "-l", "error", "-c", "1"],
        cwd=tmp_path,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        program = [*engine[client], str(tmp_path / "mine.py")]
        assert json.loads(run(*program, cwd=tmp_path, **environment)) == [3, 7, 11, 6]
    finally:
        running.terminate()
        running.wait(timeout=60)
