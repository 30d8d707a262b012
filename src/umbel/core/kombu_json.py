"""A frame as kombu stores it: one JSON object with the body in base64, the form of an entry of a Celery queue on Redis."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Any

import msgspec

from umbel.core import kombu_types
from umbel.core.frame import Frame
from umbel.errors import DecodeError

__all__ = ["dump_frame", "load_frame"]


class _Entry(
    msgspec.Struct, gc=False, rename={"content_encoding": "content-encoding", "content_type": "content-type"}
):
    """The outer object. Its keys come in kombu's order."""

    body: str | None
    content_encoding: str | None = None
    content_type: str | None = None
    headers: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Entry).decode

# What msgspec writes as kombu does. Everything else, floats for the sake of NaN included, takes the careful way.
_PLAIN = frozenset({str, int, bool, type(None)})
_TEXT = frozenset({str})


def dump_frame(frame: Frame, *, routing_key: str, delivery_tag: str | None = None) -> bytes:
    """`frame` as one entry of the queue `routing_key`.

    `delivery_tag` is the field under which a Celery worker keeps the message in its table of unacknowledged ones.
    It defaults to the task's id; give a new one at every sending where Celery workers share the queue, or the
    acknowledgement of one copy of a call (a retry has the id of its first try) takes the entry of the other.

    Raises ``TypeError`` when a header is of a type that JSON cannot hold.

    >>> dump_frame(Frame(b"[]", "application/json", "utf-8", {}, {}), routing_key="celery", delivery_tag="1")[:30]
    b'{"body":"W10=","content-encodi'
    """
    given = frame.properties
    info = given.get("delivery_info")
    # Who publishes to an exchange keeps its address, and names the queue that it was found to feed.
    if not isinstance(info, dict) or routing_key not in (info.get("routing_key"), info.get("queue")):
        info = {"exchange": "", "routing_key": routing_key}
    properties = dict(given)
    # kombu's order of keys
    properties["delivery_mode"] = given.get("delivery_mode", 2)
    properties.pop("priority", None)
    properties["delivery_info"] = info
    properties["priority"] = given.get("priority", 0)
    properties["body_encoding"] = "base64"
    properties["delivery_tag"] = delivery_tag or frame.task_id
    body = b2a_base64(frame.body, newline=False).decode("ascii")
    if _is_plain(frame.headers) and _is_plain(given):  # what has been added is
        try:
            return _encode(
                _Entry(body, frame.content_encoding, frame.content_type, frame.headers, properties)
            )
        except (TypeError, UnicodeEncodeError):
            pass  # keys like None, and lone surrogates, which only the escapes of the other writer can carry
    return kombu_types.dumps(
        {
            "body": body,
            "content-encoding": frame.content_encoding,
            "content-type": frame.content_type,
            "headers": frame.headers,
            "properties": properties,
        }
    )


def _is_plain(mapping: dict[Any, Any]) -> bool:
    for value in [value for value in mapping.values() if type(value) not in _PLAIN]:
        if type(value) is dict:
            # Keys too: msgspec writes a float for a key in another form.
            if value and not (_TEXT.issuperset(map(type, value)) and _is_plain(value)):
                return False
        elif type(value) is not list or not _PLAIN.issuperset(map(type, value)):
            return False
    return True


def load_frame(data: bytes) -> Frame:
    """The frame that a queue entry holds, whether Umbel, Celery or another client wrote it.

    The properties that describe the entry (``body_encoding``, ``delivery_tag``) are left out. Raises ``DecodeError``
    when `data` is not such an entry; no other exception, whatever `data` is.
    """
    try:
        entry = _decode(data) if b'"__type__"' not in data else _decode_carefully(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        entry = _decode_carefully(data)
    headers, properties = entry.headers or {}, entry.properties or {}
    for name in (headers.get("id"), headers.get("task"), properties.get("correlation_id")):
        # Stores file messages under these names, and cannot write half of a surrogate pair.
        if isinstance(name, str) and not name.isascii() and not _is_text(name):
            raise DecodeError(
                f"The message has the name {name!r:.60}, which is not text that UTF-8 can hold."
            )
    encoding = properties.pop("body_encoding", None)
    properties.pop("delivery_tag", None)
    return Frame(
        _raw_body(entry.body or "", encoding),
        entry.content_type or "application/data",
        entry.content_encoding or "utf-8",
        headers,
        properties,
    )


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _raw_body(body: str, encoding: object) -> bytes:
    try:
        if encoding == "base64":
            return a2b_base64(body)
        if encoding is None or encoding == "utf-8":
            return body.encode("utf-8")
    except ValueError as exc:
        raise DecodeError(f"The body of the queue entry is not {encoding or 'utf-8'}: {exc}") from exc
    raise DecodeError(
        f"The body of the queue entry has the encoding {encoding!r:.50}; expected base64 or none."
    )


def _decode_carefully(data: bytes) -> _Entry:
    """For entries with tagged values, NaN or lone surrogates in their headers, and for the wording of errors."""
    try:
        value = kombu_types.loads(data)
    except ValueError as exc:
        raise DecodeError(f"The queue entry is not JSON: {exc}. It begins with {data[:60]!r}.") from exc
    try:
        return msgspec.convert(value, _Entry)
    except (
        msgspec.ValidationError,
        UnicodeEncodeError,
        RecursionError,
    ) as exc:  # half a pair where none may be
        raise DecodeError(
            f"The queue entry is JSON, but not a message as Celery writes it: {exc}. It begins with {data[:60]!r}."
        ) from exc
