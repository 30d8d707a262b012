"""What lies in Redis, beside what real Celery puts there."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest

from interop.harness import CeleryClient, Place
from interop.umbel_side import make_app
from umbel import Umbel
from wire.loading import entry as captured

CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1, 2), {}),
    ((1, 2), {"countdown": 60}),
    ((1, 2), {"expires": 60}),
    ((1, 2), {"ignore_result": True}),
    ((1, 2), {"headers": {"x-trace": "abc"}}),
    ((1, 2), {"time_limit": 10, "soft_time_limit": 5}),
    ((1, 2), {"shadow": "shown"}),
    ((1, 2), {"serializer": "yaml"}),
    ((1, 2), {"compression": "gzip"}),
]
# What differs from call to call, or from client to client.
OWN = {
    "id",
    "root_id",
    "origin",
    "eta",
    "expires",
    "correlation_id",
    "reply_to",
    "delivery_tag",
    "expiration",
}


def _entry(place: Place, queue: str) -> dict[str, Any]:
    [raw] = place.messages.lrange(queue, 0, -1)
    place.messages.delete(queue)
    entry: dict[str, Any] = json.loads(raw)
    return entry


def _shape(value: Any, key: str = "") -> Any:
    """`value` with the types, and the order of keys, but without what is a call's own."""
    if isinstance(value, dict):
        return [(name, _shape(inner, name)) for name, inner in value.items()]
    return type(value).__name__ if key in OWN else value


def test_a_message_has_the_shape_of_the_captured_one(place: Place) -> None:
    """Key for key, type for type, and the body byte for byte."""
    app = make_app(place.broker, place.backend, "celery")
    app.tasks["jobs.add"].delay(1, 2)
    ours = _entry(place, "celery")
    theirs = json.loads(captured("plain"))
    theirs["headers"]["task"] = "jobs.add"
    assert _shape(ours) == _shape(theirs)
    assert base64.b64decode(ours["body"]) == base64.b64decode(theirs["body"])
    assert uuid.UUID(ours["headers"]["id"]).version == uuid.UUID(theirs["headers"]["id"]).version == 4


@pytest.mark.parametrize(("arguments", "options"), CALLS)
def test_a_message_is_that_of_a_live_celery(
    celery: CeleryClient,
    app: Umbel,
    place: Place,
    fresh: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    celery("add.apply_async(args, queue=q, **options).id", args=arguments, options=options, q=fresh)
    theirs = _entry(place, fresh)
    app.tasks["jobs.add"].apply_async(arguments, queue=fresh, **options)
    ours = _entry(place, fresh)
    assert _shape(ours) == _shape(theirs)


@pytest.mark.parametrize(("priority", "celerys"), [(0, 0), (-33, 3), (-66, 6), (-100, 9)])
def test_a_priority_is_that_of_a_live_celery(
    celery: CeleryClient, app: Umbel, place: Place, fresh: str, priority: int, celerys: int
) -> None:
    celery("add.apply_async((1, 2), queue=q, priority=p).id", q=fresh, p=celerys)
    app.tasks["jobs.add"].apply_async((1, 2), queue=fresh, priority=priority)
    key = f"{fresh}\x06\x16{celerys}" if celerys else fresh
    ours, theirs = (json.loads(raw) for raw in place.messages.lrange(key, 0, -1))
    exact = ours["headers"].pop("umbel_priority", 0)
    assert exact == priority
    assert _shape(ours) == _shape(theirs)
    place.messages.delete(key)


@pytest.mark.usefixtures("umbel_worker", "celery_worker")
@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("jobs.add", (1, 2)),
        ("jobs.fail", ("ValueError", "no", 42)),
        ("jobs.fail", ("OutOfStock", "pears", 3)),
    ],
)
def test_a_record_is_that_of_a_live_celery(
    app: Umbel, place: Place, task: str, arguments: tuple[Any, ...]
) -> None:
    records = []
    for queue in ("to-umbel", "to-celery"):
        result = app.send_task(task, arguments, queue=queue)
        result.get(timeout=10, propagate=False)
        raw = place.record(result.id)
        assert raw is not None
        records.append(json.loads(raw))
    ours, theirs = records
    for record in records:
        for own in ("task_id", "date_done", "traceback"):
            record[own] = type(record[own]).__name__
    assert list(ours.items()) == list(theirs.items())


def test_a_worker_leaves_nothing_behind(
    celery: CeleryClient, place: Place, umbel_worker: object, fresh: str
) -> None:
    """What was run leaves its record, and no trace in the database of messages."""
    assert celery("add.delay(1, 2).get(timeout=10)") == 3
    left = [key.decode() for key in place.messages.scan_iter("umbel:{to-umbel}:*")]
    assert not [key for key in left if place.messages.type(key) == b"list"]
