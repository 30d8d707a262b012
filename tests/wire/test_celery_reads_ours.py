"""Our queue entries in the hands of kombu's message and Celery's worker request: the classes that a Celery worker uses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from celery import Celery
from celery.worker.request import Request
from kombu.transport.virtual import Message
from kombu.utils import json as kombu_json

from umbel.codecs import serializers
from umbel.codecs.protocol import encode_call
from umbel.core.envelope import Embed, Envelope
from umbel.core.kombu_json import dump_frame

ETA = datetime(2031, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
EXPIRES = datetime(2099, 1, 1, tzinfo=UTC)
CALLBACK = {
    "task": "t.add",
    "args": [],
    "kwargs": {},
    "options": {},
    "subtask_type": None,
    "immutable": False,
}


def add(x: int, y: int = 0) -> int:
    return x + y


@pytest.mark.parametrize(
    ("serializer", "compression"),
    [("json", None), ("json", "gzip"), ("yaml", "bzip2"), ("msgpack", "lzma"), ("pickle", "brotli")],
)
def test_a_celery_worker_understands_a_call(serializer: str, compression: str | None) -> None:
    app = Celery("reader", broker="memory://", set_as_current=False)
    app.task(name="t.add")(add)
    call = Envelope(
        id="6d7b1b9e-0000-4000-8000-000000000001",
        task="t.add",
        args=(1,),
        kwargs={"y": "é"},
        embed=Embed(callbacks=[CALLBACK]),
        priority=-50,
        eta=ETA,
        expires=EXPIRES,
        retries=2,
        time_limit=3,
        group_id="g",
        headers={"tenant": "acme"},
    )
    entry = dump_frame(
        encode_call(call, serializer=serializer, compression=compression),
        routing_key="celery",
        delivery_tag="1",
    )
    with app.connection() as connection, connection.channel() as channel:
        accept = serializers.accepted_types([serializer])
        message = Message(kombu_json.loads(entry), channel=channel, accept=accept)
        request = Request(message, app=app, hostname="w@h")
        assert (request.id, request.name, request.eta, request.expires) == (call.id, call.task, ETA, EXPIRES)
        assert (list(request.args), request.kwargs) == ([1], {"y": "é"})
        assert request.time_limits == [3, None]
        assert (request.group, request.root_id, request.request_dict["retries"]) == ("g", call.id, 2)
        assert request.request_dict["tenant"] == "acme"
        assert message.decode()[2]["callbacks"] == [CALLBACK]
        assert message.properties["priority"] == 6
