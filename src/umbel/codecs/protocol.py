"""Calls to frames and back: Celery's message protocol, version 2 written and read, version 1 too.

Protocol 2 has the description of the call in the headers and ``[args, kwargs, embed]`` in the body; protocol 1 has
all of it in the body. Names, values and order of the headers are Celery's. A worker reads the headers of a frame
without touching its body, so that what it cannot run is never unpacked.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec

from umbel.codecs import compression as compressions
from umbel.codecs import serializers
from umbel.codecs.reprs import safe_repr
from umbel.core.envelope import Embed, Envelope
from umbel.core.frame import DELIVERIES_HEADER, FLOW_HEADER, HISTORY_HEADER, PRIORITY_HEADER, Frame
from umbel.core.priority import celery_priority, frame_priority
from umbel.errors import DecodeError, EncodeError

__all__ = ["decode_call", "encode_call", "read_header", "sender_name"]

_NO_EMBED = Embed()
_NULL_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class _Header(msgspec.Struct, gc=False):
    """The headers of protocol 2, checked. Only ``task`` and ``id`` have to be there."""

    task: str
    id: str
    lang: str | None = None
    shadow: str | None = None
    eta: str | None = None
    expires: str | None = None
    group: str | None = None
    group_index: int | None = None
    retries: int | None = 0
    timelimit: tuple[float | None, float | None] | None = None
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: int | None = 0
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None


class _EmbedWire(msgspec.Struct, gc=False):
    callbacks: list[dict[str, Any]] | None = None
    errbacks: list[dict[str, Any]] | None = None
    chain: list[dict[str, Any]] | None = None
    chord: dict[str, Any] | None = None


class _BodyV1(msgspec.Struct, gc=False):
    """The body of protocol 1, checked."""

    task: str
    id: str
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    group: str | None = None
    group_index: int | None = None
    retries: int | None = 0
    eta: str | None = None
    expires: str | None = None
    utc: bool | None = True
    callbacks: list[dict[str, Any]] | None = None
    errbacks: list[dict[str, Any]] | None = None
    timelimit: tuple[float | None, float | None] | None = None
    taskset: str | None = None
    chord: dict[str, Any] | None = None


# Headers that describe the body or one delivery of it; they are not part of the call.
_NOT_CUSTOM = frozenset(_Header.__struct_fields__) | {
    "compression",
    "redelivered",
    PRIORITY_HEADER,
    DELIVERIES_HEADER,
    HISTORY_HEADER,
    FLOW_HEADER,
}

_hostname = socket.gethostname()


def sender_name() -> str:
    """What messages say of who sent them: ``gen1234@host``."""
    return f"gen{os.getpid()}@{_hostname}"


# ------------------------------------------------------------------------------------------------- writing


def encode_call(
    envelope: Envelope,
    *,
    serializer: str = "json",
    compression: str | None = None,
    protocol: int = 2,
    parameters: Sequence[str] = (),
    now: datetime | None = None,
) -> Frame:
    """The frame that says `envelope`.

    `serializer` and `compression` are names (see ``serializers.names()``, ``compression.names()``); `protocol` is 1 or
    2. `parameters` are the names of the task's positional parameters, for error messages. `now` is the time from
    which the message's lifetime is counted when the call expires; default: the clock.

    Raises ``EncodeError`` that names the argument which cannot be written, and ``ConfigurationError`` for a serializer,
    compression or protocol that does not exist here.
    """
    args, kwargs, embed = envelope.args, envelope.kwargs, envelope.embed
    headers: dict[str, Any]
    body: Any
    if protocol == 2:
        headers = _headers_v2(envelope)
        body = (
            args,
            kwargs,
            {
                "callbacks": embed.callbacks,
                "errbacks": embed.errbacks,
                "chain": embed.chain,
                "chord": embed.chord,
            },
        )
    elif protocol == 1:
        headers = dict(envelope.headers)
        if envelope.eta is not None:
            # Celery reads it from the body; a broker of ours, which opens no body, needs it here.
            headers["eta"] = envelope.eta.isoformat()
        body = _body_v1(envelope)
    else:
        raise EncodeError(
            f"Task {envelope.task!r}: there is no protocol {protocol!r}; Celery's protocols are 1 and 2."
        )
    try:
        content_type, content_encoding, data = serializers.encode(body, serializer)
    except EncodeError as exc:
        _explain(envelope, serializer, parameters, exc)
    if envelope.priority:
        headers[PRIORITY_HEADER] = envelope.priority
    if compression is not None:
        headers["compression"], data = compressions.compress(data, compression)
    properties: dict[str, Any] = {
        "correlation_id": envelope.correlation_id or envelope.id,
        "reply_to": envelope.reply_to or "",
        "delivery_mode": 2,
    }
    if envelope.expires is not None:
        properties["expiration"] = _lifetime(envelope.expires, now)
    properties["priority"] = celery_priority(envelope.priority)
    return Frame(data, content_type, content_encoding, headers, properties)


def _headers_v2(envelope: Envelope) -> dict[str, Any]:
    eta, expires, args, kwargs = envelope.eta, envelope.expires, envelope.argsrepr, envelope.kwargsrepr
    headers = {
        "lang": "py",
        "task": envelope.task,
        "id": envelope.id,
        "shadow": envelope.shadow,
        "eta": None if eta is None else eta.isoformat(),
        "expires": None if expires is None else expires.isoformat(),
        "group": envelope.group_id,
        "group_index": envelope.group_index,
        "retries": envelope.retries,
        "timelimit": [envelope.time_limit, envelope.soft_time_limit],
        "root_id": envelope.root_id or envelope.id,
        "parent_id": envelope.parent_id,
        "argsrepr": safe_repr(envelope.args) if args is None else args,
        "kwargsrepr": safe_repr(envelope.kwargs) if kwargs is None else kwargs,
        "origin": envelope.origin or sender_name(),
        "ignore_result": envelope.ignore_result,
        "replaced_task_nesting": envelope.replaced_task_nesting,
        "stamped_headers": envelope.stamped_headers,
        "stamps": envelope.stamps,
    }
    if envelope.headers:
        headers.update(envelope.headers)
    return headers


def _body_v1(envelope: Envelope) -> dict[str, Any]:
    embed = envelope.embed
    if embed.chain:
        raise EncodeError(
            f"Task {envelope.task!r}: protocol 1 cannot carry the rest of a chain; send it with task_protocol = 2."
        )
    return {
        "task": envelope.task,
        "id": envelope.id,
        "args": envelope.args,
        "kwargs": envelope.kwargs,
        "group": envelope.group_id,
        "group_index": envelope.group_index,
        "retries": envelope.retries,
        "eta": envelope.eta.isoformat() if envelope.eta is not None else None,
        "expires": envelope.expires.isoformat() if envelope.expires is not None else None,
        "utc": True,
        "callbacks": embed.callbacks,
        "errbacks": embed.errbacks,
        "timelimit": (envelope.time_limit, envelope.soft_time_limit),
        "taskset": envelope.group_id,
        "chord": embed.chord,
    }


def _lifetime(expires: datetime, now: datetime | None) -> str:
    """Milliseconds from now, as AMQP wants it. A naive time is one in UTC."""
    if expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    seconds = (expires - (now or datetime.now(UTC))).total_seconds()
    return str(max(0, int(seconds * 1000)))


def _explain(envelope: Envelope, serializer: str, parameters: Sequence[str], error: EncodeError) -> NoReturn:
    """Raise an EncodeError in terms of the call: which argument, what it is, what to pass instead."""
    call: Mapping[str, Any] = {"args": envelope.args, "kwargs": envelope.kwargs}
    found = serializers.find_unwritable(call, serializer)
    where = f"Task {envelope.task!r} was not sent: "
    if found is None:
        embed = envelope.embed
        linked = {
            "link": embed.callbacks,
            "link_error": embed.errbacks,
            "chain": embed.chain,
            "chord": embed.chord,
        }
        found = serializers.find_unwritable(linked, serializer)
    if found is None or not found.path:
        raise EncodeError(f"{where}{error}") from error.__cause__
    root, *steps = found.path
    place = str(root) + "".join(f"[{step!r}]" for step in steps)
    subject = place
    if root == "args" and steps and isinstance(steps[0], int) and steps[0] < len(parameters):
        subject = f"argument {parameters[steps[0]]!r} ({place})"
    elif root == "kwargs" and steps:
        subject = f"argument {steps[0]!r} ({place})"
    elif root == "args":
        subject = f"argument {place}"
    raise EncodeError(where + found._replace(path=()).explain(subject, serializer)) from error.__cause__


# ------------------------------------------------------------------------------------------------- reading


def decode_call(
    frame: Frame,
    accept: Collection[str] = serializers.DEFAULT_ACCEPT,
    *,
    max_size: int = compressions.MAX_SIZE,
) -> Envelope:
    """The call that `frame` says, in protocol 2 or 1. `accept` lists the serializers (or content types) to read.

    Raises ``ContentDisallowed`` when the body's content type is not accepted, and ``DecodeError`` when the frame is not
    a call or its body grows beyond `max_size` bytes; no other exception, whatever the frame holds.
    """
    headers = frame.headers
    data = frame.body
    compression = headers.get("compression")
    # A refused body must not cost memory, so it is not even unpacked; the refusal itself is decode's affair.
    if compression is not None and serializers.is_accepted(frame.content_type, accept):
        if not isinstance(compression, str):
            raise DecodeError(
                f"The header 'compression' is {safe_repr(compression, 60)}; expected the name of a compression."
            )
        data = compressions.decompress(data, compression, max_size=max_size)
    body = serializers.decode(data, frame.content_type, frame.content_encoding, accept)
    if "task" in headers:
        return _from_v2(frame, body)
    return _from_v1(frame, body)


def read_header(frame: Frame) -> Envelope:
    """The call without its arguments, from the headers of a protocol 2 frame alone: the body is not touched.

    Enough to decide about expiry, limits and routing. Raises ``DecodeError`` when the headers are not Celery's, and
    for a frame of protocol 1, which has nothing in them.
    """
    if "task" not in frame.headers:
        raise DecodeError("The message has no header 'task': it is of protocol 1, or not a task at all.")
    return _envelope(frame, _checked(frame.headers, _Header, "headers"), (), {}, _NO_EMBED)


def _from_v2(frame: Frame, body: Any) -> Envelope:
    header = _checked(frame.headers, _Header, "headers")
    if not isinstance(body, list | tuple) or len(body) != 3:
        raise DecodeError(
            f"The body of task {header.task!r} is {safe_repr(body, 80)}; expected [args, kwargs, embed]."
        )
    args, kwargs, embed = body
    return _envelope(frame, header, _args(header.task, args), _kwargs(header.task, kwargs), _embed(embed))


def _args(task: str, args: Any) -> tuple[Any, ...]:
    if isinstance(args, list | tuple):
        return tuple(args)
    if args is None:
        return ()
    raise DecodeError(
        f"The positional arguments of task {task!r} are {safe_repr(args, 80)}; expected a list."
    )


def _kwargs(task: str, kwargs: Any) -> dict[str, Any]:
    if isinstance(kwargs, dict):
        for key in kwargs:
            if not isinstance(key, str):
                raise DecodeError(
                    f"A keyword argument of task {task!r} is called {safe_repr(key, 60)}; expected a string."
                )
        return kwargs
    if kwargs is None:
        return {}
    raise DecodeError(
        f"The keyword arguments of task {task!r} are {safe_repr(kwargs, 80)}; expected a mapping."
    )


def _embed(embed: Any) -> Embed:
    if embed is None or embed == _NULL_EMBED or embed == {}:
        return _NO_EMBED
    wire = _checked(_with_lists(embed), _EmbedWire, "third element of the body")
    return Embed(callbacks=wire.callbacks, errbacks=wire.errbacks, chain=wire.chain, chord=wire.chord)


def _with_lists(embed: Any) -> Any:
    """Celery takes a lone signature for a list of one."""
    if not isinstance(embed, dict):
        return embed
    lone = {key: [embed[key]] for key in ("callbacks", "errbacks") if isinstance(embed.get(key), dict)}
    return {**embed, **lone}


def _checked(value: Any, cls: type[Any], what: str) -> Any:
    try:
        try:
            return msgspec.convert(value, cls)
        except UnicodeEncodeError:  # a key with a lone surrogate among those that are not ours
            return msgspec.convert({key: value[key] for key in cls.__struct_fields__ if key in value}, cls)
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError) as exc:
        raise DecodeError(f"The {what} of the message are not those of a Celery task: {exc}.") from exc


def _envelope(
    frame: Frame, header: _Header, args: tuple[Any, ...], kwargs: dict[str, Any], embed: Embed
) -> Envelope:
    headers, properties = frame.headers, frame.properties
    hard, soft = header.timelimit or (None, None)
    custom = (
        {} if _NOT_CUSTOM.issuperset(headers) else {k: v for k, v in headers.items() if k not in _NOT_CUSTOM}
    )
    # All fields in their order: by name this would take three times as long, and it is done for every task that runs.
    return Envelope(
        header.id,
        header.task,
        args,
        kwargs,
        embed,
        _queue(properties),
        frame_priority(frame),
        None if header.eta is None else _time("eta", header.eta),
        None if header.expires is None else _time("expires", header.expires),
        header.retries or 0,
        hard,
        soft,
        header.ignore_result,
        header.root_id,
        header.parent_id,
        header.group,
        header.group_index,
        header.shadow,
        header.argsrepr,
        header.kwargsrepr,
        header.origin,
        _text(properties, "reply_to"),
        _text(properties, "correlation_id"),
        header.replaced_task_nesting or 0,
        header.stamps or {},
        header.stamped_headers,
        custom,
    )


def _queue(properties: Mapping[str, Any]) -> str:
    info = properties.get("delivery_info")
    name = info.get("routing_key") if isinstance(info, dict) else None
    return name if isinstance(name, str) and name else "celery"


def _text(properties: Mapping[str, Any], key: str) -> str | None:
    value = properties.get(key)
    return value if isinstance(value, str) and value else None


def _time(name: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as exc:
        raise DecodeError(
            f"{name!r} of the message is {text!r:.60}; expected a time in ISO 8601 form."
        ) from exc


def _from_v1(frame: Frame, body: Any) -> Envelope:
    if not isinstance(body, dict) or "task" not in body:
        raise DecodeError(
            f"The message is not a task: it has no header 'task' (protocol 2), and its body is {safe_repr(body, 80)}, "
            "not a mapping with the key 'task' (protocol 1)."
        )
    call = _checked({**body, "kwargs": None}, _BodyV1, "fields")
    hard, soft = call.timelimit or (None, None)
    return Envelope(
        id=call.id,
        task=call.task,
        args=_args(call.task, call.args),
        kwargs=_kwargs(call.task, body.get("kwargs")),
        embed=Embed(callbacks=call.callbacks, errbacks=call.errbacks, chord=call.chord),
        queue=_queue(frame.properties),
        priority=frame_priority(frame),
        eta=_time_v1("eta", call.eta, call.utc),
        expires=_time_v1("expires", call.expires, call.utc),
        retries=call.retries or 0,
        time_limit=hard,
        soft_time_limit=soft,
        group_id=call.group or call.taskset,
        group_index=call.group_index,
        reply_to=_text(frame.properties, "reply_to"),
        correlation_id=_text(frame.properties, "correlation_id"),
        headers={key: value for key, value in frame.headers.items() if key not in _NOT_CUSTOM},
    )


def _time_v1(name: str, text: str | None, utc: bool | None) -> datetime | None:
    if text is None:
        return None
    time = _time(name, text)
    return time.replace(tzinfo=UTC) if utc and time.tzinfo is None else time
