"""How calls of a chord's header meet, and what becomes of the body; and how a failure reaches what was to follow the call.

A call arrives at its join when it has ended for good, in the process that knows how: the child that ran it, or the node that
gave it up. Whoever completes the join makes the messages of the body, which are stored together with the removal of its own
message. Until then the join stays complete, so whoever comes after a crash makes them again, and the broker, which has seen
their keys, stores them once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel import faults
from umbel.codecs import serializers
from umbel.codecs.failures import exception_from_failure, failure_from_exception
from umbel.codecs.results import failure_from_form, form_of_failure
from umbel.context import Request
from umbel.core.envelope import Embed, Envelope
from umbel.core.frame import FLOW_HEADER, Frame
from umbel.core.outcome import FAILURE, PROPAGATE_STATES, SUCCESS
from umbel.errors import ChordError, OperationalError
from umbel.flow.canvas import ON_FAILURE, chain, chord, group
from umbel.flow.signature import Signature, as_dicts, as_list, maybe_signature
from umbel.groups import GroupResult
from umbel.ports import Arrival, Record
from umbel.result import AsyncResult
from umbel.worker.follow import Failed, Following, FollowUps
from umbel.worker.outcomes import Records

if TYPE_CHECKING:
    from umbel.app import Umbel

logger = logging.getLogger("umbel.worker")

PATIENCE, PAUSE = 10.0, 0.2
"""Seconds for which a call that has ended tries to reach the store, and between two attempts. After that it is delivered again."""


class Joining:
    """Arrives at joins for one process."""

    def __init__(self, app: Umbel, follow: FollowUps, records: Records, *, in_child: bool) -> None:
        """`in_child`: code of the application may run here, such as an errback that is called in place."""
        self._app = app
        self._in_child = in_child
        self._follow = follow
        self._records = records

    def succeeded(self, envelope: Envelope, value: Any) -> Following:
        """The call has returned `value`. Raises EncodeError when the value cannot be written, and OperationalError when the
        store is out of reach."""
        return self._arrive(envelope, SUCCESS, value)

    def failed(self, envelope: Envelope, state: str, exc: BaseException) -> Following:
        """The call has ended in `state` with `exc`: so have those that were to follow it in its chain. Their errbacks are not
        called; that of the call itself is its own affair."""
        following = Following()
        if envelope.embed.chord is not None:
            following.add(self._arrive(envelope, state, exc))
        for form in reversed(envelope.embed.chain or ()):
            following.add(self._given_up(maybe_signature(form, self._app), state, exc, envelope))
        return following

    # -- arriving

    def _arrive(self, envelope: Envelope, state: str, result: Any) -> Following:
        form = envelope.embed.chord
        if form is None or envelope.group_id is None:
            return Following()
        if isinstance(result, BaseException):
            failure = failure_from_exception(result, serializer=self._app.conf.result_serializer)
            result = form_of_failure(failure)
        arrival = Arrival(
            join=envelope.group_id,
            task_id=envelope.id,
            index=envelope.group_index,
            part=self._written([1, envelope.id, state, result]),
            failed=state in PROPAGATE_STATES,
        )
        parts = self._arrived(arrival)
        faults.point("joining.arrived")
        if parts is None:
            return Following()
        return self._complete(envelope, maybe_signature(form, self._app), parts)

    def _arrived(self, arrival: Arrival) -> Sequence[bytes] | None:
        """Raises OperationalError when the store has been out of reach for a while."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._app.store.arrive_now(arrival, ttl=self._app.conf.result_expires)
            except OperationalError as exc:
                if exc.refused or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)

    def _complete(self, last: Envelope, body: Signature, parts: Sequence[bytes]) -> Following:
        """What follows when all have arrived; `last` was the last of them."""
        read = [self._read(part) for part in parts]
        failures = [(task_id, value) for task_id, state, value in read if state in PROPAGATE_STATES]
        if failures and body.options.get(ON_FAILURE) != "collect":
            task_id, form = failures[0]
            cause = exception_from_failure(failure_from_form(form))
            error = ChordError(f"Dependency {task_id} raised {cause!r}")
            error.__cause__ = cause
            logger.error("The chord %s has failed: %s", last.group_id, error)
            following = self._body_failed(body, error, last)
            if not self._app.conf.flow_keep_failed:
                following.joined = str(last.group_id)  # else it stays open: what has failed may run again
            return following
        values = [value for _, _, value in read]
        saved = GroupResult.restore(str(last.group_id), self._app)
        if saved is not None:
            values = _shaped(saved, {task_id: value for task_id, _, value in read})
        try:
            following = self._follow.call(body, (values,), last, once=f"join:{last.group_id}")
        except OperationalError:
            raise
        except Exception as exc:
            logger.exception("The body of the chord %s cannot be called.", last.group_id)
            following = self._body_failed(body, ChordError(f"Callback error: {exc!r}"), last)
        following.joined = str(last.group_id)
        return following

    # -- giving up

    def _body_failed(self, body: Signature, error: BaseException, last: Envelope) -> Following:
        """The body will not be called. Its errbacks are, and what was to follow it has failed too."""
        following = Following()
        for part in body.tasks if isinstance(body, group) else [body]:
            part = maybe_signature(part, self._app)
            errbacks = [*as_list(part.options.get("link_error")), *_of_whole(body, part)]
            once = f"failed:{last.group_id}:{part.id}"
            following.add(self._tell(part, errbacks, error, last, once))
            following.add(self._given_up(part, FAILURE, error, last))
        return following

    def _tell(
        self, call: Signature, errbacks: Iterable[Any], error: BaseException, last: Envelope, once: str
    ) -> Following:
        unsent = self._unsent(call, last)
        embed = Embed(errbacks=as_dicts(list(errbacks)) or None)
        envelope = Envelope(id=unsent.id, task=unsent.task, embed=embed, root_id=unsent.root_id)
        failed = Failed(Request.from_envelope(envelope), error, "") if self._in_child else None
        return self._follow.failure(envelope, failed, once=once)

    def _given_up(self, call: Signature, state: str, error: BaseException, last: Envelope) -> Following:
        """`call`, or a workflow, has ended in `state` without being sent, and so has what was to follow it."""
        following = Following()
        if isinstance(call, chord):
            for part in (call.header, call.body):
                if part is not None:
                    following.add(self._given_up(part, state, error, last))
            return following
        if isinstance(call, group | chain):
            for member in call.tasks:
                following.add(self._given_up(maybe_signature(member, self._app), state, error, last))
            return following
        if not call.id:
            return following
        unsent = self._unsent(call, last)
        payload, ttl = self._records.ended(unsent, state, error)
        following.records.append(Record(task_id=unsent.id, state=state, payload=payload, ttl=ttl))
        following.add(self.failed(unsent, state, error))
        return following

    def _unsent(self, call: Signature, last: Envelope) -> Envelope:
        options = call.options
        return Envelope(
            id=str(call.id or last.id),
            task=str(call.task),
            embed=Embed(
                chain=as_dicts(options.get("chain")) or None,
                chord=as_dicts(options["chord"])[0] if options.get("chord") else None,
            ),
            root_id=last.root_id or last.id,
            parent_id=last.id,
            group_id=options.get("group_id"),
            group_index=options.get("group_index"),
        )

    # -- parts

    def _written(self, part: list[Any]) -> bytes:
        return serializers.encode(part, self._app.conf.result_serializer)[2]

    def _read(self, part: bytes) -> tuple[str, str, Any]:
        conf = self._app.conf
        known = serializers.check_serializer(conf.result_serializer)
        accept = conf.result_accept_content or conf.accept_content
        _, task_id, state, value = serializers.decode(
            part, known.content_type, known.content_encoding, accept
        )
        return str(task_id), str(state), value


def asks_the_store(embed: Embed) -> bool:
    """Whether the end of a call means to arrive at a join, or to open one."""
    following = (*(embed.callbacks or ()), *(embed.chain or ())[-1:])
    return embed.chord is not None or any(form.get("subtask_type") for form in following)


def is_in_workflow(envelope: Envelope, frame: Frame) -> bool:
    """Whether the call belongs to a chain or a chord, as far as it knows."""
    embed = envelope.embed
    return bool(embed.chain) or embed.chord is not None or FLOW_HEADER in frame.headers


def _of_whole(body: Signature, part: Signature) -> list[Any]:
    """The errbacks of a group that is the body, which hear of each of its calls."""
    return [] if part is body else as_list(body.options.get("link_error"))


def _shaped(result: Any, values: Mapping[str, Any]) -> Any:
    """The values in the shape of the saved group: where a member ends in a group of its own, a list."""
    if isinstance(result, AsyncResult):
        return values.get(result.id)
    return [_shaped(member, values) for member in result.results]
