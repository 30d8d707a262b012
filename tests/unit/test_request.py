"""What a task sees of its call: every field of the envelope, each in its place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from umbel.context import Request
from umbel.core.envelope import Embed, Envelope

ETA, EXPIRES = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)
SAME_NAME: dict[str, Any] = {
    "id": "the id",
    "task": "the task",
    "args": (1, 2),
    "kwargs": {"key": 3},
    "retries": 4,
    "eta": ETA,
    "expires": EXPIRES,
    "ignore_result": True,
    "root_id": "the root",
    "parent_id": "the parent",
    "group_index": 5,
    "shadow": "the shadow",
    "argsrepr": "the args",
    "kwargsrepr": "the kwargs",
    "origin": "the origin",
    "reply_to": "the reply",
    "correlation_id": "the correlation",
    "replaced_task_nesting": 6,
    "stamps": {"stamp": 7},
    "stamped_headers": ["stamp"],
    "headers": {"custom": 8},
}
EMBED: dict[str, Any] = {
    "callbacks": [{"task": "callback"}],
    "errbacks": [{"task": "errback"}],
    "chain": [{"task": "next"}],
    "chord": {"task": "chord"},
}


def test_a_request_has_every_field_of_its_envelope() -> None:
    envelope = Envelope(
        **SAME_NAME, embed=Embed(**EMBED), group_id="the group", time_limit=20.0, soft_time_limit=10.0
    )
    request = Request.from_envelope(envelope, hostname="w@h", delivery_info={"priority": 3})
    expected = Request(
        **SAME_NAME,
        **EMBED,
        group="the group",
        timelimit=(20.0, 10.0),
        hostname="w@h",
        delivery_info={"priority": 3},
        called_directly=False,
    )
    assert request == expected


def test_a_call_without_a_root_is_its_own() -> None:
    request = Request.from_envelope(Envelope(id="the id", task="the task"))
    assert (request.root_id, request.correlation_id) == ("the id", "the id")
    assert request == Request(
        id="the id",
        task="the task",
        args=(),
        kwargs={},
        called_directly=False,
        root_id="the id",
        headers={},
        correlation_id="the id",
        stamps={},
    )
