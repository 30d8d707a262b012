"""The messages that follow from an ending: the next try, callbacks, the rest of a chain, errbacks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from umbel.context import Request
from umbel.core.envelope import Envelope
from umbel.core.frame import FLOW_HEADER
from umbel.core.kombu_json import dump_frame
from umbel.errors import EncodeError, Retry, UmbelError
from umbel.execution import takes_failure
from umbel.flow.launch import Launch, launch
from umbel.flow.signature import Signature, maybe_signature
from umbel.groups import result_of
from umbel.options import CALL_OPTIONS
from umbel.ports import Outgoing, Record

if TYPE_CHECKING:
    from umbel.app import Umbel

logger = logging.getLogger("umbel.worker")

_ONCE = 86_400.0
"""Seconds for which a body that has been sent is not sent again."""
_decoder = msgspec.msgpack.Decoder(Outgoing)


class Failed(NamedTuple):
    """What an errback of three arguments gets."""

    request: Request
    exc: BaseException
    traceback: str


class Following(msgspec.Struct):
    """What follows from an ending."""

    messages: list[Outgoing] = []
    results: list[Any] = []
    """Of what they begin: the children of the call."""
    records: list[Record] = []
    """Of calls that will never be made."""
    joined: str = ""
    """The join that the call has completed: once the messages are stored, it can be closed."""

    def add(self, other: Following) -> None:
        """Put what `other` says after its own."""
        self.messages += other.messages
        self.results += other.results
        self.records += other.records
        self.joined = other.joined or self.joined


class FollowUps:
    """Makes messages; sends nothing: they travel with the settlement that causes them."""

    def __init__(self, app: Umbel) -> None:
        self._app = app

    def retry(self, envelope: Envelope, retry: Retry) -> Outgoing:
        """The message of the next try."""
        return _that_travels(self._app.client.next_try(envelope, retry))

    def success(self, envelope: Envelope, value: Any) -> Following:
        """The callbacks with `value` for their first argument, and the next step of the chain with the rest of it."""
        embed = envelope.embed
        following = Following()
        for form in embed.callbacks or ():
            following.add(self.call(form, (value,), envelope))
        if embed.chain:
            *rest, step = embed.chain
            following.add(self.call(step, (value,), envelope, chain=rest or None))
        return following

    def failure(self, envelope: Envelope, failed: Failed | None = None, *, once: str = "") -> Following:
        """The errbacks, each with the id of the failed call for its first argument.

        With `failed`, those that take request, exception and traceback instead are called here and now, as Celery
        does. Without it nothing of the kind may run here, and they too are sent with the id.

        `once`: as in ``call``. One that cannot be called is logged and left out: the failure that it was to hear of must not be lost for it.
        """
        following = Following()
        for form in envelope.embed.errbacks or ():
            try:
                if failed is None or not self._call(form, failed):
                    key = f"{once}:{len(following.messages)}" if once else ""
                    following.add(self.call(form, (envelope.id,), envelope, once=key))
            except (UmbelError, TypeError, ValueError) as exc:
                logger.error("An errback of %s[%s] cannot be called: %s", envelope.task, envelope.id, exc)
        return following

    def _call(self, form: Mapping[str, Any], failed: Failed) -> bool:
        """Call an errback in place, if it is one that wants that. Returns whether it was."""
        signature: Signature = maybe_signature(form, self._app)
        task = self._app.tasks.get(signature.task)
        if task is None or task.is_async or not takes_failure(task, signature):
            return False
        try:
            task(*signature.clone(failed).args, **signature.kwargs)
        except BaseException:
            # Whatever it is, an exit included: it is not the ending of the call that has failed.
            logger.exception("The errback %s of %s raised.", signature.task, failed.request.id)
        return True

    def call(
        self,
        form: Mapping[str, Any],
        values: Iterable[Any],
        parent: Envelope,
        *,
        chain: list[dict[str, Any]] | None = None,
        once: str = "",
    ) -> Following:
        """What is sent for a call or a workflow that follows `parent`. `chain`: what follows it in turn, in reverse.

        `once`: a key under which it is sent no second time within a day.
        """
        canvas: Signature = maybe_signature(form, self._app)
        options: dict[str, Any] = {
            "root_id": canvas.options.get("root_id") or parent.root_id or parent.id,
            "parent_id": canvas.options.get("parent_id") or parent.id,
        }
        if chain:
            options["chain"] = chain
        return self.begin(launch(canvas, tuple(values), options=options), once)

    def begin(self, begun: Launch, once: str = "", *, keep: bool = False) -> Following:
        """The messages with which a workflow begins; its joins are opened now. `keep`: they are of a workflow themselves."""
        messages = [self._message(call) for call in begun.calls]
        for message in messages if keep else ():
            message.frame.headers[FLOW_HEADER] = 1
        if once:
            for number, message in enumerate(messages):
                message.dedupe_key = f"{once}:{number}"
                message.dedupe_window = _ONCE
        self._app.client.open_joins(begun)
        return Following(messages, [result_of(begun.promise, self._app)])

    def _message(self, call: Signature) -> Outgoing:
        stamped = set(call.options.get("stamped_headers") or ())
        options = {
            name: value
            for name, value in call.options.items()
            if (name in CALL_OPTIONS or name in stamped) and value is not None
        }
        task = self._app.tasks.get(call.task)
        return _that_travels(
            self._app.client.prepare(call.task, call.args, call.kwargs, options, task).outgoing
        )


def _that_travels(message: Outgoing) -> Outgoing:
    """`message`, if it can be written and read. Were that found out by who has to do it, that process would end by it."""
    try:
        dump_frame(message.frame, routing_key=message.queue)
        written = msgspec.msgpack.encode(message)
    except (TypeError, ValueError, OverflowError) as exc:
        raise EncodeError(
            f"A header of the message to task {message.frame.task_name!r} cannot be written: {exc}. Nothing was sent."
        ) from exc
    try:
        _decoder.decode(written)
    except (ValueError, msgspec.MsgspecError) as exc:
        raise EncodeError(
            f"The message to task {message.frame.task_name!r} could not be read again: {exc}. Nothing was sent."
        ) from exc
    return message
