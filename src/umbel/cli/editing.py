"""Changing the arguments and headers of a message, as text in kombu's JSON."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

from umbel.cli.messages import READABLE
from umbel.codecs import compression, serializers
from umbel.codecs.protocol import decode_call
from umbel.codecs.reprs import safe_repr
from umbel.core import kombu_types
from umbel.core.envelope import Envelope
from umbel.errors import CallError, DecodeError
from umbel.ports import Frame

__all__ = ["Draft", "as_text", "draft_of", "from_text", "rewritten"]

_FIXED = ("id", "task")
"""Headers that say which call it is: another id or task would be another call."""


class Draft(NamedTuple):
    """What can be edited in a message."""

    args: list[Any]
    kwargs: dict[str, Any]
    headers: dict[str, Any]


def draft_of(frame: Frame) -> Draft:
    """The editable parts of `frame`. Raises MessageError when its body cannot be read."""
    call = decode_call(frame, READABLE)
    return Draft(list(call.args), dict(call.kwargs), dict(frame.headers))


def as_text(draft: Draft) -> str:
    """The draft as indented JSON. Dates and the like are ``{"__type__": …, "__value__": …}``, as in messages."""
    plain = json.loads(kombu_types.dumps(draft._asdict()))
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def from_text(text: str) -> Draft:
    """The draft that `text` says. Raises CallError that says what is wrong with it."""
    try:
        value = json.loads(text)
        form = kombu_types.loads(json.dumps(value).encode())
    except ValueError as exc:
        raise CallError(f"The text is not JSON: {exc}. Nothing was changed.") from exc
    expected: dict[str, type] = {"args": list, "kwargs": dict, "headers": dict}
    if not isinstance(form, dict) or set(form) != set(expected):
        raise CallError(
            'The text must be a JSON object with exactly "args", "kwargs" and "headers". Nothing was changed.'
        )
    for name, kind in expected.items():
        if not isinstance(form[name], kind):
            wanted = "an array" if kind is list else "an object"
            raise CallError(f'"{name}" must be {wanted}, not {json.dumps(value[name])}. Nothing was changed.')
    return Draft(**form)


def rewritten(frame: Frame, draft: Draft) -> tuple[Frame, Envelope]:
    """`frame` with the content of `draft`, checked by reading it back: the new frame and the call that it says.

    Serializer, compression, callbacks and the properties of the transport stay as they are.
    """
    for name in _FIXED:
        if draft.headers.get(name) != frame.headers.get(name):
            raise CallError(
                f"The header {name!r} says which call this is and cannot be edited "
                f"(it is {frame.headers.get(name)!r}). Nothing was changed."
            )
    headers = dict(draft.headers)
    if "argsrepr" in headers:
        headers |= {"argsrepr": safe_repr(tuple(draft.args)), "kwargsrepr": safe_repr(draft.kwargs)}
    changed = msgspec.structs.replace(frame, headers=headers, body=_body(frame, draft))
    try:
        return changed, decode_call(changed, READABLE)
    except DecodeError as exc:
        raise CallError(f"The message would not be readable any more: {exc} Nothing was changed.") from exc


def _body(frame: Frame, draft: Draft) -> bytes:
    method = frame.headers.get("compression")
    data = compression.decompress(frame.body, method) if method else frame.body
    body = serializers.decode(data, frame.content_type, frame.content_encoding, READABLE)
    if isinstance(body, dict):
        body = {**body, "args": draft.args, "kwargs": draft.kwargs}
    else:
        body = [draft.args, draft.kwargs, body[2]]
    (name,) = [n for n in READABLE if serializers.is_accepted(frame.content_type, {n})]
    _type, _encoding, written = serializers.encode(body, name)
    return compression.compress(written, method)[1] if method else written
