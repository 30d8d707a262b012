"""From a workflow to what is sent for it: single calls that can go at once, the joins that they arrive at, and its result.

::

    normal form   chains spliced, groups of one unrolled, "group | x" made a chord         canvas.join_steps
    freeze        every call gets its id, once; the last of a member its place in the group
    emit          the calls that have nothing before them; the rest travels in their messages

The rest of a chain travels in its first call, in reverse, as Celery's does. The body of a chord travels in every call of its
header. Nothing here sends, and nothing looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from umbel.core.frame import FLOW_HEADER
from umbel.errors import CallError
from umbel.flow.canvas import (
    ON_FAILURE,
    chain,
    chord,
    ends_in_group,
    group,
    join_steps,
    leaves,
    members_of,
)
from umbel.flow.signature import Signature, as_dicts, as_list, maybe_signature
from umbel.ids import new_id
from umbel.ports import Join

__all__ = ["Launch", "Promise", "freeze", "launch"]

_OWN = (
    ON_FAILURE,
    "task_id",
    "group_id",
    "group_index",
    "chord",
    "chain",
    "link",
    "link_error",
    "stamped_headers",
)
"""Options that say which call it is, or what follows it: a workflow does not hand them on to all of its calls."""
_DELAYS = ("countdown", "eta")


class Promise(msgspec.Struct):
    """The result to come of a call or of a group, by its id."""

    id: str
    parent: Promise | None = None
    members: list[Promise] | None = None
    """Of a group."""

    @property
    def oldest(self) -> Promise:
        """The one that has no parent."""
        found = self
        while found.parent is not None:
            found = found.parent
        return found


class Launch(msgspec.Struct):
    """What to do for a workflow to begin."""

    promise: Promise
    calls: list[Signature] = []
    """Single calls with all of their options."""
    joins: list[Join] = []
    """To be opened before the calls are sent."""
    nested: list[Promise] = []
    """Groups whose members end in groups of their own: who joins their values has to know their shape."""


Steps = tuple[Sequence[Signature], Sequence[dict[str, Any]]]
"""The steps of a chain, and those after them as they came: in Celery's form, in reverse."""
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Place(NamedTuple):
    """Where a workflow stands in another one. It is the last of its calls, or what joins them, that has this place."""

    id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    chord: Signature | None = None
    """The body that waits for it."""


_NOWHERE = Place()


def launch(
    canvas: Signature,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Launch:
    """What is sent for `canvas`, which is not changed. `args` and `kwargs` are for the calls that begin it; `options` as
    ``apply_async`` takes them. Raises CallError for what cannot be sent."""
    whole = canvas.clone()
    given = {**whole.options, **(options or {})}
    _refuse_links_of_a_group(whole, given)
    tail = as_dicts(given.pop("chain", None))
    place = Place(
        given.get("task_id"), given.get("group_id"), given.get("group_index"), given.pop("chord", None)
    )
    if type(whole) is Signature:
        whole.options = given
        steps = [whole]
    else:
        steps = _steps(whole, given)
    own = len(steps)
    if tail and steps and ends_in_group(steps[-1]):
        # What follows joins it. Otherwise the rest of a chain is passed on as it is: reading it at every step would cost
        # as much as the square of its length.
        steps = join_steps([*steps, *(maybe_signature(step, whole._app) for step in reversed(tail))])
        tail = []
    if not steps:
        raise CallError("There is nothing to send: the chain is empty.")
    promises = _freeze_steps(steps, place)
    if len(steps) > 1 or isinstance(steps[0], chord):
        _mark(steps[-1])
    begun = Launch(promises[min(own, len(promises)) - 1])
    _find_nested(begun, promises[-1])
    _emit(begun, (steps, tail), (tuple(args), dict(kwargs or {})), _common(whole, given))
    return begun


def freeze(canvas: Signature, ids: Mapping[str, Any]) -> Promise:
    """Give the calls of `canvas` their ids, in place, and return its result to come."""
    place = Place(ids.get("task_id"), ids.get("group_id"), ids.get("group_index"), ids.get("chord"))
    for name in ("root_id", "parent_id"):
        if ids.get(name):
            canvas.options[name] = ids[name]
    if isinstance(canvas, chain):
        canvas.tasks = join_steps(canvas.tasks)
        return _freeze_steps(canvas.tasks, place)[-1]
    return _freeze_one(canvas, place)


def _refuse_links_of_a_group(canvas: Signature, options: Mapping[str, Any]) -> None:
    if isinstance(canvas, group):
        if options.get("link"):
            raise TypeError("A callback of a group is called by no one: use chord(group, callback).")
        if options.get("link_error"):
            raise TypeError("Give an errback to each call of a group: group.link_error(errback) does.")


def _steps(canvas: Signature, options: dict[str, Any]) -> list[Signature]:
    """The steps of `canvas`, a copy, in normal form; its callbacks and errbacks among `options` are where they belong."""
    for name in ("link", "link_error"):
        if options.get(name):
            canvas.options[name] = [*map(maybe_signature, as_list(options[name]))]
    if isinstance(canvas, group):
        return [canvas]  # even one of a single call: its result is a list
    steps: list[Signature] = canvas.unchain_tasks()
    for step in steps:
        if isinstance(step, chord) and step.body is not None:
            _pass_to_body(step)
    return join_steps(steps)


def _pass_to_body(whole: chord) -> None:
    """Callbacks and errbacks of a chord are those of its body."""
    for callback in as_list(whole.options.pop("link", None)):
        whole.body.link(callback)
    for errback in as_list(whole.options.pop("link_error", None)):
        whole.body.link_error(errback)


def _common(canvas: Signature, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a workflow that those of its calls get which begin it."""
    return {} if type(canvas) is Signature else _handed_on(options)


# ---------------------------------------------------------------------------------------------------- ids


def _freeze_steps(steps: Sequence[Signature], place: Place) -> list[Promise]:
    """Freeze the steps of a chain; `place` is that of the last of them. Returns the promise of each."""
    if not steps:
        raise CallError("A chain without calls cannot be a part of another workflow.")
    promises: list[Promise] = []
    for number, step in enumerate(steps, 1):
        promise = _freeze_one(step, place if number == len(steps) else _NOWHERE)
        promise.oldest.parent = promises[-1] if promises else None
        promises.append(promise)
    return promises


def _freeze_one(step: Signature, place: Place) -> Promise:
    if isinstance(step, chain):
        step.tasks = join_steps(step.tasks)
        return _freeze_steps(step.tasks, place)[-1]
    if isinstance(step, chord):
        return _freeze_chord(step, place)
    if isinstance(step, group):
        return _freeze_group(step, place)
    options = step.options
    options["task_id"] = options.get("task_id") or place.id or new_id()
    if place.group_id is not None and options.get("group_id") is None:
        options["group_id"] = place.group_id
    if place.group_index is not None:
        options["group_index"] = place.group_index
    if place.chord is not None:
        options["chord"] = place.chord
    return Promise(options["task_id"])


def _freeze_group(step: group, place: Place) -> Promise:
    """A group that is a member of another one, or whose results a chord waits for, counts there call by call."""
    group_id = step.options["task_id"] = step.options.get("task_id") or place.id or new_id()
    counted_in = group_id if place.chord is None else place.group_id
    step.tasks = members_of(step)
    promises = [
        _freeze_one(member, Place(None, counted_in, index, place.chord))
        for index, member in enumerate(step.tasks)
    ]
    return Promise(group_id, members=promises)


def _freeze_chord(step: chord, place: Place) -> Promise:
    if step.body is None:
        raise CallError("A chord needs a body: the call that gets the results of the others.")
    header = step.header
    group_id = header.options.get("task_id") or new_id()
    header.options["task_id"] = step.options["task_id"] = group_id
    # Where the body of a chord is a member of another one, it is the body that counts there.
    promise = _freeze_one(step.body, place)
    members = _freeze_group(header, _NOWHERE)
    promise.oldest.parent = members
    return promise


# --------------------------------------------------------------------------------------------------- calls


def _emit(begun: Launch, steps: Steps, arguments: Arguments, common: dict[str, Any]) -> None:
    """Add to `begun` the calls with which `steps`, frozen, begin. What follows them travels in their messages."""
    (first, *rest), tail = steps
    following = [*tail, *(step.to_dict() for step in reversed(rest))]
    if isinstance(first, group):
        for member in first.tasks:
            inherited = {**_own_of(member), **_handed_on(first.options), **common}
            _emit(begun, (_member_steps(member), []), arguments, inherited)
    elif isinstance(first, chord):
        _emit_chord(begun, first, following, arguments, common)
    else:
        call = first.clone(*arguments)
        call.options = {**call.options, **common}
        if following:
            call.options["chain"] = following
        begun.calls.append(call)


def _emit_chord(
    begun: Launch,
    step: chord,
    following: list[dict[str, Any]],
    arguments: Arguments,
    common: dict[str, Any],
) -> None:
    body = step.body.clone()
    shared = {**_handed_on(step.options), **common}
    body.options.update({k: v for k, v in shared.items() if k not in (*_DELAYS, "parent_id")})
    if following:
        body.options["chain"] = [*following, *as_list(body.options.get("chain"))]
    header = step.header
    if not header.tasks:
        _emit(begun, ([body], as_dicts(body.options.pop("chain", None))), (([],), {}), {})
        return
    group_id = header.options["task_id"]
    begun.joins.append(Join(id=group_id, size=sum(map(leaves, header.tasks))))
    # Which group fires it: an errback, or a worker that finds it too late, can tell.
    body.options.setdefault("group_id", group_id)
    args, kwargs = arguments
    kwargs = {**(step.kwargs.get("kwargs") or {}), **kwargs}
    form = body.to_dict()
    if step.options.get(ON_FAILURE):
        form["options"][ON_FAILURE] = step.options[ON_FAILURE]
    for member in header.tasks:
        steps = _member_steps(member)
        _await(steps[-1], form, group_id)
        inherited = {**_own_of(member), **_handed_on(header.options), **shared}
        _emit(begun, (steps, []), (args, kwargs), inherited)


def _await(last: Signature, body: dict[str, Any], group_id: str) -> None:
    """Let `body` wait for `last`, or for what comes last in it."""
    if isinstance(last, group):
        for member in last.tasks:
            _await(_member_steps(member)[-1], body, group_id)
    elif isinstance(last, chord):
        _await(last.body, body, group_id)
    elif isinstance(last, chain):
        _await(last.tasks[-1], body, group_id)
    else:
        last.options["chord"] = body
        last.options["group_id"] = group_id


def _mark(last: Signature) -> None:
    """Let what comes last say so: when it has failed it is kept, as the calls before it are (``flow_keep_failed``)."""
    if isinstance(last, group | chain):
        for member in last.tasks:
            _mark(member)
    elif isinstance(last, chord):
        _mark(last.body)
    else:
        last.options["headers"] = {**(last.options.get("headers") or {}), FLOW_HEADER: 1}


def _find_nested(begun: Launch, promise: Promise) -> None:
    """Note the groups among the parents of `promise` of which a chord joins the results, and that are not flat."""
    for parent in _lineage(promise.parent):
        if parent.members and any(member.members is not None for member in parent.members):
            begun.nested.append(parent)
        for member in parent.members or ():
            _find_nested(begun, member)
    for member in promise.members or ():
        _find_nested(begun, member)


def _lineage(promise: Promise | None) -> Iterator[Promise]:
    while promise is not None:
        yield promise
        promise = promise.parent


def _member_steps(member: Signature) -> list[Signature]:
    steps: list[Signature] = member.tasks if isinstance(member, chain) else [member]
    return steps


def _own_of(member: Signature) -> dict[str, Any]:
    return _handed_on(member.options) if isinstance(member, chain) else {}


def _handed_on(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a workflow that are those of its calls."""
    stamps = options.get("stamped_headers") or ()
    return {k: v for k, v in options.items() if k not in _OWN and k not in stamps and v is not None}
