"""The messages that follow from an ending: the next try, callbacks, the rest of a chain, errbacks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from umbel.context import Request
from umbel.core.envelope import Envelope
from umbel.core.kombu_json import dump_frame
from umbel.errors import CapabilityError, EncodeError, Retry, UmbelError
from umbel.execution import takes_failure
from umbel.flow.signature import Signature
from umbel.options import CALL_OPTIONS
from umbel.ports import Outgoing

if TYPE_CHECKING:
    from umbel.app import Umbel

logger = logging.getLogger("umbel.worker")

_decoder = msgspec.msgpack.Decoder(Outgoing)


class Failed(NamedTuple):
    """What an errback of three arguments gets."""

    request: Request
    exc: BaseException
    traceback: str


class FollowUps:
    """Makes messages; sends nothing: they travel with the settlement that causes them."""

    def __init__(self, app: Umbel) -> None:
        self._app = app

    def retry(self, envelope: Envelope, retry: Retry) -> Outgoing:
        """The message of the next try."""
        return _that_travels(self._app.client.next_try(envelope, retry))

    def success(self, envelope: Envelope, value: Any) -> list[Outgoing]:
        """The callbacks with `value` for their first argument, and the next call of the chain with the rest of it."""
        embed = envelope.embed
        messages = [self._message(form, (value,), envelope) for form in embed.callbacks or ()]
        if embed.chain:
            *rest, following = embed.chain
            messages.append(self._message(following, (value,), envelope, chain=rest or None))
        return messages

    def failure(self, envelope: Envelope, failed: Failed | None = None) -> list[Outgoing]:
        """The errbacks, each with the id of the failed call for its first argument.

        With `failed`, those that take request, exception and traceback instead are called here and now, as Celery
        does. Without it nothing of the kind may run here, and they too are sent with the id.

        One that cannot be called is logged and left out: the failure that it was to hear of must not be lost for it.
        """
        messages = []
        for form in envelope.embed.errbacks or ():
            try:
                if failed is None or not self._call(form, failed):
                    messages.append(self._message(form, (envelope.id,), envelope))
            except (UmbelError, TypeError, ValueError) as exc:
                logger.error("An errback of %s[%s] cannot be called: %s", envelope.task, envelope.id, exc)
        return messages

    def _call(self, form: Mapping[str, Any], failed: Failed) -> bool:
        """Call an errback in place, if it is one that wants that. Returns whether it was."""
        signature = Signature.of(form, self._app)
        task = self._app.tasks.get(signature.task)
        if task is None or task.is_async or not takes_failure(task, signature):
            return False
        try:
            task(*signature.clone(failed).args, **signature.kwargs)
        except Exception:
            logger.exception("The errback %s of %s raised.", signature.task, failed.request.id)
        return True

    def _message(
        self, form: Mapping[str, Any], values: Iterable[Any], parent: Envelope, **extra: Any
    ) -> Outgoing:
        signature = Signature.of(form, self._app)
        if signature.subtask_type is not None:
            raise CapabilityError(
                f"Task {parent.task!r} is followed by a {signature.subtask_type}, which this version of Umbel cannot "
                "send; it can follow a task with single calls. Run this workflow on a Celery worker."
            )
        options = {
            "root_id": parent.root_id or parent.id,
            "parent_id": parent.id,
            **{
                key: value
                for key, value in signature.options.items()
                if key in CALL_OPTIONS and value is not None
            },
            **extra,
        }
        call = signature.clone(values)
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
