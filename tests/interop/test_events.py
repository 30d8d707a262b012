"""Events of Umbel's workers, as Celery's own receiver reads them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from interop import harness
from interop.harness import CeleryClient, Place
from interop.umbel_side import make_app
from umbel import Umbel, errors

LISTEN = """
import threading
seen = []
standing = threading.Event()
class Listener(app.events.Receiver):
    def on_consume_ready(self, *args, **kwargs):
        standing.set()
connection = app.connection_for_read()
state = app.events.State()
def heard(event):
    state.event(event)
    seen.append(event)
listener = Listener(connection, handlers={"*": heard})
def listen():
    try:
        listener.capture(limit=None, timeout=60, wakeup=False)
    except Exception as exc:
        seen.append({"type": "listener-ended", "exc": repr(exc)})
thread = threading.Thread(target=listen, daemon=True)
thread.start()
standing.wait(20)
"""
WAIT = """
import time
def wait_for(*wanted, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        kinds = [event["type"] for event in seen if event.get("hostname") == name]
        if all(kind in kinds for kind in wanted):
            return True
        time.sleep(0.02)
    return kinds
None
"""


def test_celery_receives_what_umbel_publishes(place: Place, fresh: str) -> None:
    name = f"umbel-{fresh}@interop"
    client = CeleryClient(place, fresh)
    try:
        assert client(LISTEN + "standing.is_set()")
        client(WAIT, name=name)
        with harness.umbel_worker(place, fresh, worker_send_task_events=True):
            assert client("wait_for('worker-online', 'worker-heartbeat')") is True
            good = client("add.delay(1, 2).id")
            bad = client("fail.delay('value').id")
            again = client("flaky.delay(1, pause=0).id")
            late = client("add.apply_async((1, 1), expires=-1).id")
            wanted = "'task-received', 'task-started', 'task-succeeded', 'task-failed', 'task-retried', 'task-revoked'"
            assert client(f"wait_for({wanted})") is True
            assert client("state.workers[name].alive") is True
        assert client("wait_for('worker-offline')") is True

        def events(task_id: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = client(
                "[event for event in seen if event.get('uuid') == task_id]", task_id=task_id
            )
            return found

        first = {event["type"]: event for event in events(good)}
        assert list(first) == ["task-received", "task-started", "task-succeeded"]
        assert (first["task-received"]["name"], first["task-received"]["args"]) == ("jobs.add", "(1, 2)")
        assert first["task-succeeded"]["result"] == "3"
        assert first["task-succeeded"]["runtime"] >= 0
        failed = events(bad)[-1]
        assert failed["type"] == "task-failed"
        assert failed["exception"]
        assert "task-retried" in [event["type"] for event in events(again)]
        assert events(late)[-1]["type"] == "task-revoked"
        assert client("[state.tasks[i].state for i in ids]", ids=[good, bad]) == ["SUCCESS", "FAILURE"]
    finally:
        client.close()


def test_events_are_switched_on_and_off_by_command(place: Place, fresh: str) -> None:
    name = f"umbel-{fresh}@interop"
    client = CeleryClient(place, fresh)
    try:
        assert client(LISTEN + "standing.is_set()")
        client(WAIT, name=name)
        with harness.umbel_worker(place, fresh):
            options = "reply=True, timeout=20, destination=[name]"
            said = client(f"app.control.enable_events({options})")
            assert said == [{name: {"ok": "task events enabled"}}]
            client("add.delay(1, 2).get(timeout=20)")
            assert client("wait_for('worker-online', 'task-succeeded')") is True
            said = client(f"app.control.disable_events({options})")
            assert said == [{name: {"ok": "task events disabled"}}]
            assert client("wait_for('worker-offline')") is True
    finally:
        client.close()


def test_umbel_receives_what_celery_publishes(place: Place, fresh: str) -> None:
    """Of Celery's worker, and of a program of one's own."""
    app, name = make_app(place.broker, place.backend, fresh), f"celery-{fresh}@interop"
    state, seen = app.events.State(), []
    ended, shipped = threading.Event(), threading.Event()
    result = app.AsyncResult("not-yet")

    def heard(event: dict[str, Any]) -> None:
        state.event(event)
        seen.append(event)
        if event["type"] == "order-shipped" and event["number"] == 3:
            shipped.set()
        if event["type"] == "task-succeeded" and state.tasks[result.id].info(["name"]):
            ended.set()

    receiver = app.events.Receiver(handlers={"*": heard})
    thread = threading.Thread(target=receiver.capture, kwargs={"limit": None, "timeout": None}, daemon=True)
    with harness.celery_worker(place, fresh, worker_send_task_events=True):
        thread.start()
        try:
            for _ in range(harness.PATIENCE):
                result = app.tasks["jobs.add"].delay(1, 2)
                if ended.wait(1):  # at the first time the subscription may not stand yet
                    break
            app.events.Dispatcher().send("order-shipped", number=3)
            assert shipped.wait(harness.PATIENCE)
        finally:
            receiver.should_stop = True
            thread.join(harness.PATIENCE)
    assert ended.is_set(), seen
    task = state.tasks[result.id]
    assert (task.state, task.ready) == ("SUCCESS", True)
    assert task.info(["name", "result"]) == {"name": "jobs.add", "result": "3"}
    assert task.worker is not None
    assert task.worker.hostname == name
    assert state.task_types() == ["jobs.add"]
    assert [uuid for uuid, _ in state.tasks_by_worker(name, limit=1)] == [result.id]


def test_where_there_are_no_events_is_an_error() -> None:
    with pytest.raises(errors.CapabilityError, match="carries no events"):
        Umbel("none", broker="memory://", set_as_current=False).events.Receiver().capture()
