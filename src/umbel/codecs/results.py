"""Result records to bytes and back, in the form in which Celery keeps them under ``celery-task-meta-<id>``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from umbel.codecs import compression as compressions
from umbel.codecs import serializers
from umbel.codecs.failures import failure_from_exception
from umbel.codecs.reprs import safe_repr
from umbel.core.outcome import EXCEPTION_STATES, Failure, ResultMeta
from umbel.errors import DecodeError, EncodeError

__all__ = [
    "COMPRESSED_MARK",
    "decode_result",
    "encode_result",
    "failure_from_form",
    "form_of_failure",
    "state_of",
]

COMPRESSED_MARK = b"\0celery-compressed\0"
"""In front of a compressed record; then come the content type of the compression, a NUL and the data."""

_EXTENDED = ("name", "args", "kwargs", "worker", "retries", "queue")


def encode_result(meta: ResultMeta, serializer: str = "json", compression: str | None = None) -> bytes:
    """The record that says `meta`. Uncompressed JSON begins with ``{"status": "<the state>"``.

    For the states whose result is an exception, ``meta.result`` is a ``Failure`` (an exception is turned into one).
    Raises ``EncodeError`` that names the part of the result which cannot be written, and ``ConfigurationError`` for an
    unknown serializer or compression.
    """
    result, traceback = meta.result, meta.traceback
    if meta.status in EXCEPTION_STATES:
        if isinstance(result, BaseException):
            result = failure_from_exception(result, serializer=serializer)
        if isinstance(result, Failure):
            traceback = traceback or result.traceback
            result = form_of_failure(result)
    record: dict[str, Any] = {
        "status": meta.status,
        "result": result,
        "traceback": traceback,
        "children": meta.children,
        "date_done": meta.date_done,
    }
    if meta.group_id is not None:
        record["group_id"] = meta.group_id
    if meta.parent_id is not None:
        record["parent_id"] = meta.parent_id
    if meta.name is not None:
        for field in _EXTENDED:
            record[field] = getattr(meta, field)
    if meta.stamps:
        record["stamped_headers"] = list(meta.stamps)
        for key, value in meta.stamps.items():
            record.setdefault(key, value)
    if meta.account is not None:
        record["account"] = meta.account
    record["task_id"] = meta.task_id
    try:
        data = serializers.encode(record, serializer)[2]
    except EncodeError as exc:
        found = serializers.find_unwritable(result, serializer)
        if found is None:
            raise
        subject = f"The result of task {meta.name or meta.task_id!r}"
        raise EncodeError(found.explain(subject, serializer)) from exc.__cause__
    if compression is None:
        return data
    content_type, compressed = compressions.compress(data, compression)
    return b"%b%b\0%b" % (COMPRESSED_MARK, content_type.encode("ascii"), compressed)


def decode_result(data: bytes, serializer: str = "json", accept: Collection[str] | None = None) -> ResultMeta:
    """The record that `data` holds, compressed or not.

    A record does not say how it was written: `serializer` does (the reader's ``result_serializer``). It has to be
    among `accept` (names or content types); None: only `serializer` itself is accepted, and pickle never without
    being listed. For the states whose result is an exception, ``result`` is a ``Failure``.

    Raises ``ContentDisallowed`` and ``DecodeError``.
    """
    known = serializers.check_serializer(serializer)
    if accept is None:
        accept = () if serializer == "pickle" else (serializer,)
    record = serializers.decode(_unpacked(data), known.content_type, known.content_encoding, accept)
    if not isinstance(record, dict) or not isinstance(record.get("status"), str):
        raise DecodeError(
            f"The stored result is {safe_repr(record, 80)}; expected a mapping with the key 'status'."
        )
    status, result, traceback = record["status"], record.get("result"), record.get("traceback")
    if status in EXCEPTION_STATES:
        result = failure_from_form(result, traceback)
    children, stamps = record.get("children"), record.get("stamped_headers")
    account = record.get("account")
    return ResultMeta(
        task_id=str(record.get("task_id") or ""),
        status=status,
        result=result,
        traceback=traceback,
        children=children if isinstance(children, list) else None,
        date_done=record.get("date_done"),
        parent_id=record.get("parent_id"),
        group_id=record.get("group_id"),
        name=record.get("name"),
        args=record.get("args"),
        kwargs=record.get("kwargs"),
        worker=record.get("worker"),
        retries=record.get("retries"),
        queue=record.get("queue"),
        stamps={key: record.get(key) for key in stamps if isinstance(key, str)}
        if isinstance(stamps, list)
        else None,
        account=account if isinstance(account, dict) else None,
    )


def state_of(data: bytes, serializer: str = "json", accept: Collection[str] | None = None) -> str:
    """The state in a record, for JSON without decoding the rest of it. Raises as ``decode_result`` does.

    >>> state_of(b'{"status": "SUCCESS", "result": 3}')
    'SUCCESS'
    """
    if data.startswith(b'{"status": "'):
        end = data.find(b'"', 12)
        if end > 0 and data[12:end].isalnum():
            return data[12:end].decode("ascii")
    return decode_result(data, serializer, accept).status


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(COMPRESSED_MARK):
        return data
    content_type, nul, compressed = data[len(COMPRESSED_MARK) :].partition(b"\0")
    if not nul:
        raise DecodeError("The stored result is marked as compressed, but does not say how.")
    return compressions.decompress(compressed, content_type.decode("ascii", "replace"))


def form_of_failure(failure: Failure) -> dict[str, Any]:
    """How a Failure stands in a record."""
    return {
        "exc_type": failure.exc_type,
        "exc_message": failure.exc_message,
        "exc_module": failure.exc_module,
    }


def failure_from_form(result: Any, traceback: Any = None) -> Failure:
    """The Failure that stands in a record as `result`, whoever wrote it."""
    text = traceback if isinstance(traceback, str) else None
    if isinstance(result, dict) and isinstance(result.get("exc_type"), str):
        message, module = result.get("exc_message"), result.get("exc_module")
        return Failure(
            exc_type=result["exc_type"],
            exc_module=module if isinstance(module, str) else "builtins",
            exc_message=list(message)
            if isinstance(message, list | tuple)
            else []
            if message is None
            else [message],
            traceback=text,
        )
    if isinstance(result, BaseException):  # pickled, by a Celery worker with result_serializer = "pickle"
        cls = type(result)
        return Failure(
            exc_type=cls.__qualname__,
            exc_module=cls.__module__,
            exc_message=list(result.args),
            traceback=text,
        )
    return Failure(
        exc_type="TaskError",
        exc_module="umbel.errors",
        exc_message=[] if result is None else [result],
        traceback=text,
    )
